#include "cpu/semantics/bit.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
// A count of 0 keeps all flags, so a shift by CL or by an immediate also reads them.
constexpr FlagEffect kShiftOnce = writes(kArithmetic).undefines(kAF);
constexpr FlagEffect kShift = writes(kArithmetic).undefines(kAF | kOF | kCF).reads(kArithmetic);
constexpr FlagEffect kRotateOnce = writes(kCF | kOF);
constexpr FlagEffect kRotate = writes(kCF | kOF).undefines(kOF).reads(kCF | kOF);
constexpr FlagEffect kRotateCarryOnce = kRotateOnce.reads(kCF);
constexpr FlagEffect kBitTest = writes(kCF).undefines(kOF | kSF | kAF | kPF);
constexpr FlagEffect kBitScan = writes(kArithmetic).undefines(kCF | kOF | kSF | kAF | kPF);

// The seven shifts and rotates share one pattern of opcodes: shift group 2 of SDM 2, Appendix A.
#define SHIFT_ROWS(EXT, NAME, ATTRIBUTES, ONCE, FLAGS)                       \
  CG_ROW("C0 /" EXT " ib", NAME, "Eb,Ib", ATTRIBUTES, FLAGS, ""),            \
      CG_ROW("C1 /" EXT " ib", NAME, "Ev,Ib", ATTRIBUTES, FLAGS, ""),        \
      CG_ROW("D0 /" EXT, NAME, "Eb,1", ATTRIBUTES, ONCE, ""),                \
      CG_ROW("D1 /" EXT, NAME, "Ev,1", ATTRIBUTES, ONCE, ""),                \
      CG_ROW("D2 /" EXT, NAME, "Eb,CL", ATTRIBUTES, FLAGS, ""),              \
      CG_ROW("D3 /" EXT, NAME, "Ev,CL", ATTRIBUTES, FLAGS, "")

const Row kRows[] = {
    SHIFT_ROWS("0", rol, kNoAttr, kRotateOnce, kRotate),
    SHIFT_ROWS("1", ror, kNoAttr, kRotateOnce, kRotate),
    SHIFT_ROWS("2", rcl, kNoAttr, kRotateCarryOnce, kRotate),
    SHIFT_ROWS("3", rcr, kNoAttr, kRotateCarryOnce, kRotate),
    SHIFT_ROWS("4", shl, kNoAttr, kShiftOnce, kShift),
    SHIFT_ROWS("5", shr, kNoAttr, kShiftOnce, kShift),
    SHIFT_ROWS("6", shl, kUndoc, kShiftOnce, kShift),
    SHIFT_ROWS("7", sar, kNoAttr, kShiftOnce, kShift),
    CG_ROW("0F A4 /r ib", shld, "Ev,Gv,Ib", kNoAttr, kShift, ""),
    CG_ROW("0F A5 /r", shld, "Ev,Gv,CL", kNoAttr, kShift, ""),
    CG_ROW("0F AC /r ib", shrd, "Ev,Gv,Ib", kNoAttr, kShift, ""),
    CG_ROW("0F AD /r", shrd, "Ev,Gv,CL", kNoAttr, kShift, ""),

    CG_ROW("0F A3 /r", bt, "Ev,Gv", kNoAttr, kBitTest, ""),
    CG_ROW("0F AB /r", bts, "Ev,Gv", kLock, kBitTest, ""),
    CG_ROW("0F B3 /r", btr, "Ev,Gv", kLock, kBitTest, ""),
    CG_ROW("0F BB /r", btc, "Ev,Gv", kLock, kBitTest, ""),
    CG_ROW("0F BA /4 ib", bt, "Ev,Ib", kNoAttr, kBitTest, ""),
    CG_ROW("0F BA /5 ib", bts, "Ev,Ib", kLock, kBitTest, ""),
    CG_ROW("0F BA /6 ib", btr, "Ev,Ib", kLock, kBitTest, ""),
    CG_ROW("0F BA /7 ib", btc, "Ev,Ib", kLock, kBitTest, ""),
    CG_ROW("0F BC /r", bsf, "Gv,Ev", kNoAttr, kBitScan, ""),
    CG_ROW("0F BD /r", bsr, "Gv,Ev", kNoAttr, kBitScan, ""),
    CG_ROW("0F C8 +r", bswap, "Zv", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 90 +cc /r", setcc, "Eb", kNoAttr, kNoFlags.reads(kArithmetic), ""),
};
#undef SHIFT_ROWS
}  // namespace

std::span<const Row> bit_rows() { return kRows; }

}  // namespace callgate
