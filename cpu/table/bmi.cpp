#include "cpu/semantics/bmi.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kResult = writes(kArithmetic).undefines(kAF | kPF);
constexpr FlagEffect kExtract = writes(kArithmetic).undefines(kAF | kPF | kSF);

const Row kRows[] = {
    CG_ROW("VEX.LZ.0F38 F2 /r", andn, "Gy,By,Ey", kNoReal, kResult, "bmi1"),
    CG_ROW("VEX.LZ.0F38 F3 /1", blsr, "By,Ey", kNoReal, kResult, "bmi1"),
    CG_ROW("VEX.LZ.0F38 F3 /2", blsmsk, "By,Ey", kNoReal, kResult, "bmi1"),
    CG_ROW("VEX.LZ.0F38 F3 /3", blsi, "By,Ey", kNoReal, kResult, "bmi1"),
    CG_ROW("VEX.LZ.0F38 F7 /r", bextr, "Gy,Ey,By", kNoReal, kExtract, "bmi1"),

    CG_ROW("VEX.LZ.0F38 F5 /r", bzhi, "Gy,Ey,By", kNoReal, kResult, "bmi2"),
    CG_ROW("VEX.LZ.F2.0F38 F5 /r", pdep, "Gy,By,Ey", kNoReal, kNoFlags, "bmi2"),
    CG_ROW("VEX.LZ.F3.0F38 F5 /r", pext, "Gy,By,Ey", kNoReal, kNoFlags, "bmi2"),
    CG_ROW("VEX.LZ.F2.0F38 F6 /r", mulx, "Gy,By,Ey", kNoReal, kNoFlags, "bmi2"),
    CG_ROW("VEX.LZ.66.0F38 F7 /r", shlx, "Gy,Ey,By", kNoReal, kNoFlags, "bmi2"),
    CG_ROW("VEX.LZ.F2.0F38 F7 /r", shrx, "Gy,Ey,By", kNoReal, kNoFlags, "bmi2"),
    CG_ROW("VEX.LZ.F3.0F38 F7 /r", sarx, "Gy,Ey,By", kNoReal, kNoFlags, "bmi2"),
    CG_ROW("VEX.LZ.F2.0F3A F0 /r ib", rorx, "Gy,Ey,Ib", kNoReal, kNoFlags, "bmi2"),
};
}  // namespace

std::span<const Row> bmi_rows() { return kRows; }

}  // namespace callgate
