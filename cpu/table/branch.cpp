#include "cpu/semantics/branch.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr u32 kNear = kForce64 | kBranch;
constexpr FlagEffect kReadsAll = kNoFlags.reads(kArithmetic);
constexpr FlagEffect kReadsZero = kNoFlags.reads(kZF);

const Row kRows[] = {
    CG_ROW("70 +cc cb", jcc, "Jb", kNear, kReadsAll, ""),
    CG_ROW("0F 80 +cc cz", jcc, "Jz", kNear, kReadsAll, ""),
    CG_ROW("EB cb", jmp, "Jb", kNear, kNoFlags, ""),
    CG_ROW("E9 cz", jmp, "Jz", kNear, kNoFlags, ""),
    CG_ROW("FF /4", jmp, "Ev", kNear, kNoFlags, ""),
    CG_ROW("E8 cz", call, "Jz", kNear, kNoFlags, ""),
    CG_ROW("FF /2", call, "Ev", kNear, kNoFlags, ""),
    CG_ROW("C3", ret, "", kNear | kWidths, kNoFlags, ""),
    CG_ROW("C2 iw", ret, "Iw", kNear | kWidths, kNoFlags, ""),
    CG_ROW("E0 cb", loopne, "Jb", kNear, kReadsZero, ""),
    CG_ROW("E1 cb", loope, "Jb", kNear, kReadsZero, ""),
    CG_ROW("E2 cb", loop, "Jb", kNear, kNoFlags, ""),
    CG_ROW("E3 cb", jcxz, "Jb", kNear, kNoFlags, ""),
};
}  // namespace

std::span<const Row> branch_rows() { return kRows; }

}  // namespace callgate
