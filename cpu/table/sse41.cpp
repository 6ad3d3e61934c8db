#include "cpu/semantics/sse4.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kAll = writes(kArithmetic);

const Row kRows[] = {
    // Blends.
    CG_ROW("66 0F 38 10 /r", pblendvb, "Vx,Wa,XMM0", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 14 /r", blendvps, "Vx,Wa,XMM0", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 15 /r", blendvpd, "Vx,Wa,XMM0", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 0C /r ib", blendps, "Vx,Wa,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 0D /r ib", blendpd, "Vx,Wa,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 0E /r ib", pblendw, "Vx,Wa,Ib", kSse, kNoFlags, "sse4_1"),

    // Lanes made wider.
    CG_ROW("66 0F 38 20 /r", pmovsxbw, "Vx,Wq", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 21 /r", pmovsxbd, "Vx,Wd", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 22 /r", pmovsxbq, "Vx,Ww", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 23 /r", pmovsxwd, "Vx,Wq", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 24 /r", pmovsxwq, "Vx,Wd", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 25 /r", pmovsxdq, "Vx,Wq", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 30 /r", pmovzxbw, "Vx,Wq", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 31 /r", pmovzxbd, "Vx,Wd", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 32 /r", pmovzxbq, "Vx,Ww", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 33 /r", pmovzxwd, "Vx,Wq", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 34 /r", pmovzxwq, "Vx,Wd", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 35 /r", pmovzxdq, "Vx,Wq", kSse, kNoFlags, "sse4_1"),

    // Arithmetic and comparison.
    CG_ROW("66 0F 38 28 /r", pmuldq, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 29 /r", pcmpeqq, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 2B /r", packusdw, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 38 /r", pminsb, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 39 /r", pminsd, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 3A /r", pminuw, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 3B /r", pminud, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 3C /r", pmaxsb, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 3D /r", pmaxsd, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 3E /r", pmaxuw, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 3F /r", pmaxud, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 40 /r", pmulld, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 41 /r", phminposuw, "Vx,Wa", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 38 17 /r", ptest, "Vx,Wa", kSse, kAll, "sse4_1"),
    CG_ROW("66 0F 3A 42 /r ib", mpsadbw, "Vx,Wa,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 40 /r ib", dpps, "Vx,Wa,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 41 /r ib", dppd, "Vx,Wa,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 08 /r ib", roundps, "Vx,Wa,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 09 /r ib", roundpd, "Vx,Wa,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 0A /r ib", roundss, "Vd,Wd,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 0B /r ib", roundsd, "Vq,Wq,Ib", kSse, kNoFlags, "sse4_1"),

    // Lanes to and from general registers and memory.
    CG_ROW("66 0F 38 2A /r /mem", movntdqa, "Vx,Ma", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 14 /r /reg ib", pextrb, "Rd,Vx,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 14 /r /mem ib", pextrb, "Mb,Vx,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 15 /r /reg ib", pextrw, "Rd,Vx,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 15 /r /mem ib", pextrw, "Mw,Vx,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 REX.W0 0F 3A 16 /r ib", pextrd, "Ed,Vx,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 REX.W 0F 3A 16 /r ib", pextrq, "Eq,Vx,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 17 /r ib", extractps, "Ed,Vx,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 20 /r /reg ib", pinsrb, "Vx,Rd,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 20 /r /mem ib", pinsrb, "Vx,Mb,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 21 /r /reg ib", insertps, "Vx,Ux,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 0F 3A 21 /r /mem ib", insertps, "Vx,Md,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 REX.W0 0F 3A 22 /r ib", pinsrd, "Vx,Ed,Ib", kSse, kNoFlags, "sse4_1"),
    CG_ROW("66 REX.W 0F 3A 22 /r ib", pinsrq, "Vx,Eq,Ib", kSse, kNoFlags, "sse4_1"),
};
}  // namespace

std::span<const Row> sse41_rows() { return kRows; }

}  // namespace callgate
