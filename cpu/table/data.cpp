#include "cpu/semantics/data.h"
#include "cpu/semantics/data_helpers.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kAll = writes(kArithmetic);
constexpr FlagEffect kCarry = writes(kCF);
constexpr FlagEffect kReadsAll = kNoFlags.reads(kArithmetic);

const Row kRows[] = {
    CG_ROW("88 /r", mov, "Eb,Gb", kNoAttr, kNoFlags, ""),
    CG_ROW("89 /r", mov, "Ev,Gv", kNoAttr, kNoFlags, ""),
    CG_ROW("8A /r", mov, "Gb,Eb", kNoAttr, kNoFlags, ""),
    CG_ROW("8B /r", mov, "Gv,Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("A0 mo", mov, "AL,Ob", kNoAttr, kNoFlags, ""),
    CG_ROW("A1 mo", mov, "eAX,Ov", kNoAttr, kNoFlags, ""),
    CG_ROW("A2 mo", mov, "Ob,AL", kNoAttr, kNoFlags, ""),
    CG_ROW("A3 mo", mov, "Ov,eAX", kNoAttr, kNoFlags, ""),
    CG_ROW("B0 +r ib", mov, "Zb,Ib", kNoAttr, kNoFlags, ""),
    CG_ROW("B8 +r iv", mov, "Zv,Iv", kNoAttr, kNoFlags, ""),
    CG_ROW("C6 /0 ib", mov, "Eb,Ib", kNoAttr, kNoFlags, ""),
    CG_ROW("C7 /0 iz", mov, "Ev,Iz", kNoAttr, kNoFlags, ""),
    CG_ROW("0F B6 /r", movzx, "Gv,Eb", kNoAttr, kNoFlags, ""),
    CG_ROW("0F B7 /r", movzx, "Gv,Ew", kNoAttr, kNoFlags, ""),
    CG_ROW("0F BE /r", movsx, "Gv,Eb", kNoAttr, kNoFlags, ""),
    CG_ROW("0F BF /r", movsx, "Gv,Ew", kNoAttr, kNoFlags, ""),
    CG_ROW("63 /r", movsxd, "Gv,Ez", kOnly64, kNoFlags, ""),
    CG_ROW("0F 40 +cc /r", cmovcc, "Gv,Ev", kNoAttr, kReadsAll, "cmov"),
    CG_ROW("NP 0F C3 /r /mem", movnti, "My,Gy", kNoAttr, kNoFlags, "sse2"),
    CG_ROW("8D /r /mem", lea, "Gv,M", kNoAttr, kNoFlags, ""),
    CG_ROW("86 /r", xchg, "Eb,Gb", kLock, kNoFlags, ""),
    CG_ROW("87 /r", xchg, "Ev,Gv", kLock, kNoFlags, ""),
    CG_ROW("90 +r", xchg, "Zv,eAX", kNoAttr, kNoFlags, ""),
    CG_ROW("90", nop_, "Zv,eAX", kNoAttr, kNoFlags, ""),
    CG_ROW("F3 90", pause, "Zv,eAX", kNoAttr, kNoFlags, ""),
    CG_ROW("0F B0 /r", cmpxchg, "Eb,Gb", kLock, kAll, ""),
    CG_ROW("0F B1 /r", cmpxchg, "Ev,Gv", kLock, kAll, ""),
    CG_HELPER("REX.W0 0F C7 /1 /mem", cmpxchg8b, "Mq", kLock, writes(kZF), "cx8"),
    CG_HELPER("REX.W 0F C7 /1 /mem", cmpxchg16b, "Mx", kLock, writes(kZF), "cx16"),
    CG_ROW("0F C0 /r", xadd, "Eb,Gb", kLock, kAll, ""),
    CG_ROW("0F C1 /r", xadd, "Ev,Gv", kLock, kAll, ""),
    CG_HELPER("D7", xlat, "", kNoAttr, kNoFlags, ""),

    // Hints. AMD gives #UD for 0F 0D with a register, Intel ignores it: canonically ignored.
    CG_ROW("0F 0D /r", prefetch, "Eb", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 0D /1", prefetchw, "Eb", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 18 /r", nop, "Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 18 /0 /mem", prefetchnta, "Mb", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 18 /1 /mem", prefetcht0, "Mb", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 18 /2 /mem", prefetcht1, "Mb", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 18 /3 /mem", prefetcht2, "Mb", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 19 /r", nop, "Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 1A /r", nop, "Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 1B /r", nop, "Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 1C /r", nop, "Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 1D /r", nop, "Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 1E /r", nop, "Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("0F 1F /r", nop, "Ev", kNoAttr, kNoFlags, ""),
    CG_ROW("NP 0F AE /5 /reg", lfence, "", kNoAttr, kNoFlags, "sse2"),
    CG_ROW("NP 0F AE /6 /reg", mfence, "", kNoAttr, kNoFlags, "sse2"),
    CG_ROW("NP 0F AE /7 /reg", sfence, "", kNoAttr, kNoFlags, "sse"),
    CG_ROW("NP 0F AE /7 /mem", clflush, "Mb", kNoAttr, kNoFlags, "clflush"),
    CG_HELPER("0F FF /r", ud0, "Gv,Ev", kNoAttr, kNoFlags, ""),
    CG_HELPER("0F B9 /r", ud1, "Gv,Ev", kNoAttr, kNoFlags, ""),
    CG_HELPER("0F 0B", ud2, "", kBranch, kNoFlags, ""),

    // The stack.
    CG_ROW("50 +r", push, "Zv", kDef64, kNoFlags, ""),
    CG_ROW("58 +r", pop, "Zv", kDef64, kNoFlags, ""),
    CG_ROW("FF /6", push, "Ev", kDef64, kNoFlags, ""),
    CG_ROW("8F /0", pop, "Ev", kDef64, kNoFlags, ""),
    CG_ROW("6A ib", push, "sIb", kDef64, kNoFlags, ""),
    CG_ROW("68 iz", push, "Iz", kDef64, kNoFlags, ""),
    CG_HELPER("60", pusha, "", kNo64, kNoFlags, ""),
    CG_HELPER("61", popa, "", kNo64, kNoFlags, ""),
    CG_HELPER("9C", pushf, "", kDef64, kReadsAll, ""),
    CG_HELPER("9D", popf, "", kDef64 | kBranch, kAll, ""),
    CG_HELPER("C8 iw ib", enter, "Iw,Ib", kDef64, kNoFlags, ""),
    CG_ROW("C9", leave, "", kDef64 | kWidths, kNoFlags, ""),
    CG_HELPER("62 /r /mem", bound, "Gv,M", kNo64, kNoFlags, ""),

    // Flags and sign extension of the accumulator.
    CG_ROW("9F", lahf, "", kNoAttr, kNoFlags.reads(kArithmetic & ~kOF), ""),
    CG_ROW("9E", sahf, "", kNoAttr, writes(kArithmetic & ~kOF), ""),
    CG_ROW("F8", clc, "", kNoAttr, kCarry, ""),
    CG_ROW("F9", stc, "", kNoAttr, kCarry, ""),
    CG_ROW("F5", cmc, "", kNoAttr, kCarry.reads(kCF), ""),
    CG_ROW("FC", cld, "", kNoAttr, kNoFlags, ""),
    CG_ROW("FD", std_, "", kNoAttr, kNoFlags, ""),
    CG_HELPER("FA", cli, "", kNoAttr, kNoFlags, ""),
    CG_HELPER("FB", sti, "", kBranch, kNoFlags, ""),
    CG_ROW("D6", salc, "", kNo64 | kUndoc, kNoFlags.reads(kCF), ""),
    CG_ROW("98", cbw, "", kWidths, kNoFlags, ""),
    CG_ROW("99", cwd, "", kWidths, kNoFlags, ""),
};
}  // namespace

std::span<const Row> data_rows() { return kRows; }

}  // namespace callgate
