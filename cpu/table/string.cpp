#include "cpu/semantics/string.h"
#include "cpu/table/table.h"
#include "cpu/value_builder.h"

namespace callgate {

namespace {
constexpr FlagEffect kCompare = writes(kArithmetic).reads(kArithmetic);  // rCX = 0 keeps the flags

const Row kRows[] = {
    CG_HELPER("A4", movsb, "", kRep, kNoFlags, ""),
    CG_HELPER("A5", movs, "", kRep, kNoFlags, ""),
    CG_HELPER("A6", cmpsb, "", kRep, kCompare, ""),
    CG_HELPER("A7", cmps, "", kRep, kCompare, ""),
    CG_HELPER("AA", stosb, "", kRep, kNoFlags, ""),
    CG_HELPER("AB", stos, "", kRep, kNoFlags, ""),
    CG_HELPER("AC", lodsb, "", kRep, kNoFlags, ""),
    CG_HELPER("AD", lods, "", kRep, kNoFlags, ""),
    CG_HELPER("AE", scasb, "", kRep, kCompare, ""),
    CG_HELPER("AF", scas, "", kRep, kCompare, ""),
    CG_HELPER("6C", insb, "", kRep | kSystem, kNoFlags, ""),
    CG_HELPER("6D", ins, "", kRep | kSystem, kNoFlags, ""),
    CG_HELPER("6E", outsb, "", kRep | kSystem, kNoFlags, ""),
    CG_HELPER("6F", outs, "", kRep | kSystem, kNoFlags, ""),
};
}  // namespace

std::span<const Row> string_rows() { return kRows; }

}  // namespace callgate
