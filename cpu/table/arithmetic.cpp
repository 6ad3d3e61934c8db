#include "cpu/semantics/arithmetic.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kAll = writes(kArithmetic);

const Row kRows[] = {
    CG_ROW("00 /r", add, "Eb,Gb", kLock, kAll, ""),
    CG_ROW("01 /r", add, "Ev,Gv", kLock, kAll, ""),
    CG_ROW("02 /r", add, "Gb,Eb", kNoAttr, kAll, ""),
    CG_ROW("03 /r", add, "Gv,Ev", kNoAttr, kAll, ""),
    CG_ROW("04 ib", add, "AL,Ib", kNoAttr, kAll, ""),
    CG_ROW("05 iz", add, "eAX,Iz", kNoAttr, kAll, ""),
    CG_ROW("80 /0 ib", add, "Eb,Ib", kLock, kAll, ""),
    CG_ROW("81 /0 iz", add, "Ev,Iz", kLock, kAll, ""),
    CG_ROW("83 /0 ib", add, "Ev,sIb", kLock, kAll, ""),
    CG_ROW("82 /0 ib", add, "Eb,Ib", kLock | kNo64 | kUndoc, kAll, ""),
    CG_ROW("38 /r", cmp, "Eb,Gb", kNoAttr, kAll, ""),
};
}  // namespace

std::span<const Row> arithmetic_rows() { return kRows; }

}  // namespace callgate
