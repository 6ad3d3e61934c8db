#include "cpu/semantics/bmi.h"
#include "cpu/table/table.h"
#include "cpu/vex_row.h"

namespace callgate {

namespace {
constexpr FlagEffect kResult = writes(kArithmetic).undefines(kAF | kPF);
constexpr FlagEffect kExtract = writes(kArithmetic).undefines(kAF | kPF | kSF);

const Row kRows[] = {
    CG_VEX_ROW("VEX.LZ.0F38 F2 /r", "andn", andn, "Gy,By,Ey", kNoAttr, kResult, "bmi1"),
    CG_VEX_ROW("VEX.LZ.0F38 F3 /1", "blsr", blsr, "By,Ey", kNoAttr, kResult, "bmi1"),
    CG_VEX_ROW("VEX.LZ.0F38 F3 /2", "blsmsk", blsmsk, "By,Ey", kNoAttr, kResult, "bmi1"),
    CG_VEX_ROW("VEX.LZ.0F38 F3 /3", "blsi", blsi, "By,Ey", kNoAttr, kResult, "bmi1"),
    CG_VEX_ROW("VEX.LZ.0F38 F7 /r", "bextr", bextr, "Gy,Ey,By", kNoAttr, kExtract, "bmi1"),

    CG_VEX_ROW("VEX.LZ.0F38 F5 /r", "bzhi", bzhi, "Gy,Ey,By", kNoAttr, kResult, "bmi2"),
    CG_VEX_ROW("VEX.LZ.F2.0F38 F5 /r", "pdep", pdep, "Gy,By,Ey", kNoAttr, kNoFlags, "bmi2"),
    CG_VEX_ROW("VEX.LZ.F3.0F38 F5 /r", "pext", pext, "Gy,By,Ey", kNoAttr, kNoFlags, "bmi2"),
    CG_VEX_ROW("VEX.LZ.F2.0F38 F6 /r", "mulx", mulx, "Gy,By,Ey", kNoAttr, kNoFlags, "bmi2"),
    CG_VEX_ROW("VEX.LZ.66.0F38 F7 /r", "shlx", shlx, "Gy,Ey,By", kNoAttr, kNoFlags, "bmi2"),
    CG_VEX_ROW("VEX.LZ.F2.0F38 F7 /r", "shrx", shrx, "Gy,Ey,By", kNoAttr, kNoFlags, "bmi2"),
    CG_VEX_ROW("VEX.LZ.F3.0F38 F7 /r", "sarx", sarx, "Gy,Ey,By", kNoAttr, kNoFlags, "bmi2"),
    CG_VEX_ROW("VEX.LZ.F2.0F3A F0 /r ib", "rorx", rorx, "Gy,Ey,Ib", kNoAttr, kNoFlags, "bmi2"),
};
}  // namespace

std::span<const Row> bmi_rows() { return kRows; }

}  // namespace callgate
