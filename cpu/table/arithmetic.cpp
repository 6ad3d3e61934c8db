#include "cpu/semantics/arithmetic.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kAll = writes(kArithmetic);
constexpr FlagEffect kWithCarry = kAll.reads(kCF);
constexpr FlagEffect kLogic = kAll.undefines(kAF);
constexpr FlagEffect kCount = writes(kArithmetic & ~kCF);
constexpr FlagEffect kMultiply = kAll.undefines(kSF | kZF | kAF | kPF);
constexpr FlagEffect kDivide = kAll.undefines(kArithmetic);
constexpr FlagEffect kDecimalAdjust = kAll.undefines(kOF).reads(kAF | kCF);
constexpr FlagEffect kAsciiAdjust = kAll.undefines(kOF | kSF | kZF | kPF).reads(kAF);
constexpr FlagEffect kAsciiScale = kAll.undefines(kOF | kAF | kCF);

// The eight operations that share one pattern of opcodes: SDM 2, Appendix A, opcodes 00 to 3D and immediate group 1.
// LOCK: kLock, or kNoAttr for CMP.
#define ALU_ROWS(OP0, OP1, OP2, OP3, OP4, OP5, EXT, NAME, LOCK, FLAGS)                       \
  CG_ROW(OP0 " /r", NAME, "Eb,Gb", LOCK, FLAGS, ""),                                         \
      CG_ROW(OP1 " /r", NAME, "Ev,Gv", LOCK, FLAGS, ""),                                     \
      CG_ROW(OP2 " /r", NAME, "Gb,Eb", kNoAttr, FLAGS, ""),                                  \
      CG_ROW(OP3 " /r", NAME, "Gv,Ev", kNoAttr, FLAGS, ""),                                  \
      CG_ROW(OP4 " ib", NAME, "AL,Ib", kNoAttr, FLAGS, ""),                                  \
      CG_ROW(OP5 " iz", NAME, "eAX,Iz", kNoAttr, FLAGS, ""),                                 \
      CG_ROW("80 /" EXT " ib", NAME, "Eb,Ib", LOCK, FLAGS, ""),                              \
      CG_ROW("81 /" EXT " iz", NAME, "Ev,Iz", LOCK, FLAGS, ""),                              \
      CG_ROW("82 /" EXT " ib", NAME, "Eb,Ib", (LOCK) | kNo64 | kUndoc, FLAGS, ""),           \
      CG_ROW("83 /" EXT " ib", NAME, "Ev,sIb", LOCK, FLAGS, "")

const Row kRows[] = {
    ALU_ROWS("00", "01", "02", "03", "04", "05", "0", add, kLock, kAll),
    ALU_ROWS("08", "09", "0A", "0B", "0C", "0D", "1", or_, kLock, kLogic),
    ALU_ROWS("10", "11", "12", "13", "14", "15", "2", adc, kLock, kWithCarry),
    ALU_ROWS("18", "19", "1A", "1B", "1C", "1D", "3", sbb, kLock, kWithCarry),
    ALU_ROWS("20", "21", "22", "23", "24", "25", "4", and_, kLock, kLogic),
    ALU_ROWS("28", "29", "2A", "2B", "2C", "2D", "5", sub, kLock, kAll),
    ALU_ROWS("30", "31", "32", "33", "34", "35", "6", xor_, kLock, kLogic),
    ALU_ROWS("38", "39", "3A", "3B", "3C", "3D", "7", cmp, kNoAttr, kAll),

    CG_ROW("84 /r", test, "Eb,Gb", kNoAttr, kLogic, ""),
    CG_ROW("85 /r", test, "Ev,Gv", kNoAttr, kLogic, ""),
    CG_ROW("A8 ib", test, "AL,Ib", kNoAttr, kLogic, ""),
    CG_ROW("A9 iz", test, "eAX,Iz", kNoAttr, kLogic, ""),
    CG_ROW("F6 /0 ib", test, "Eb,Ib", kNoAttr, kLogic, ""),
    CG_ROW("F7 /0 iz", test, "Ev,Iz", kNoAttr, kLogic, ""),
    CG_ROW("F6 /1 ib", test, "Eb,Ib", kUndoc, kLogic, ""),
    CG_ROW("F7 /1 iz", test, "Ev,Iz", kUndoc, kLogic, ""),

    CG_ROW("FE /0", inc, "Eb", kLock, kCount, ""),
    CG_ROW("FF /0", inc, "Ev", kLock, kCount, ""),
    CG_ROW("40 +r", inc, "Zv", kNo64, kCount, ""),
    CG_ROW("FE /1", dec, "Eb", kLock, kCount, ""),
    CG_ROW("FF /1", dec, "Ev", kLock, kCount, ""),
    CG_ROW("48 +r", dec, "Zv", kNo64, kCount, ""),
    CG_ROW("F6 /2", not_, "Eb", kLock, kNoFlags, ""),
    CG_ROW("F7 /2", not_, "Ev", kLock, kNoFlags, ""),
    CG_ROW("F6 /3", neg, "Eb", kLock, kAll, ""),
    CG_ROW("F7 /3", neg, "Ev", kLock, kAll, ""),

    CG_ROW("F6 /4", mul, "Eb", kNoAttr, kMultiply, ""),
    CG_ROW("F7 /4", mul, "Ev", kNoAttr, kMultiply, ""),
    CG_ROW("F6 /5", imul, "Eb", kNoAttr, kMultiply, ""),
    CG_ROW("F7 /5", imul, "Ev", kNoAttr, kMultiply, ""),
    CG_ROW("0F AF /r", imul, "Gv,Ev", kNoAttr, kMultiply, ""),
    CG_ROW("69 /r iz", imul, "Gv,Ev,Iz", kNoAttr, kMultiply, ""),
    CG_ROW("6B /r ib", imul, "Gv,Ev,sIb", kNoAttr, kMultiply, ""),
    CG_ROW("F6 /6", div, "Eb", kNoAttr, kDivide, ""),
    CG_ROW("F7 /6", div, "Ev", kNoAttr, kDivide, ""),
    CG_ROW("F6 /7", idiv, "Eb", kNoAttr, kDivide, ""),
    CG_ROW("F7 /7", idiv, "Ev", kNoAttr, kDivide, ""),

    CG_ROW("27", daa, "", kNo64, kDecimalAdjust, ""),
    CG_ROW("2F", das, "", kNo64, kDecimalAdjust, ""),
    CG_ROW("37", aaa, "", kNo64, kAsciiAdjust, ""),
    CG_ROW("3F", aas, "", kNo64, kAsciiAdjust, ""),
    CG_ROW("D4 ib", aam, "Ib", kNo64, kAsciiScale, ""),
    CG_ROW("D5 ib", aad, "Ib", kNo64, kAsciiScale, ""),
};
#undef ALU_ROWS
}  // namespace

std::span<const Row> arithmetic_rows() { return kRows; }

}  // namespace callgate
