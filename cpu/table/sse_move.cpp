#include "cpu/semantics/sse_move.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
const Row kRows[] = {
    // Whole registers. The "a" operands must be aligned in memory.
    CG_ROW("NP 0F 10 /r", movups, "Vx,Wx", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 11 /r", movups, "Wx,Vx", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 10 /r", movupd, "Vx,Wx", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 11 /r", movupd, "Wx,Vx", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 28 /r", movaps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 29 /r", movaps, "Wa,Vx", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 28 /r", movapd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 29 /r", movapd, "Wa,Vx", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 6F /r", movdqa, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 7F /r", movdqa, "Wa,Vx", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 6F /r", movdqu, "Vx,Wx", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 7F /r", movdqu, "Wx,Vx", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 2B /r /mem", movntps, "Ma,Vx", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 2B /r /mem", movntpd, "Ma,Vx", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E7 /r /mem", movntdq, "Ma,Vx", kSse, kNoFlags, "sse2"),

    // Scalars: a load clears the rest of the register, a move between registers keeps it (movq clears it).
    CG_ROW("F3 0F 10 /r /mem", movss, "Vx,Md", kSse, kNoFlags, "sse"),
    CG_ROW("F3 0F 10 /r /reg", movss, "Vd,Ud", kSse, kNoFlags, "sse"),
    CG_ROW("F3 0F 11 /r", movss, "Wd,Vd", kSse, kNoFlags, "sse"),
    CG_ROW("F2 0F 10 /r /mem", movsd, "Vx,Mq", kSse, kNoFlags, "sse2"),
    CG_ROW("F2 0F 10 /r /reg", movsd, "Vq,Uq", kSse, kNoFlags, "sse2"),
    CG_ROW("F2 0F 11 /r", movsd, "Wq,Vq", kSse, kNoFlags, "sse2"),
    CG_ROW("66 REX.W0 0F 6E /r", movd, "Vx,Ed", kSse, kNoFlags, "sse2"),
    CG_ROW("66 REX.W 0F 6E /r", movq, "Vx,Eq", kSse, kNoFlags, "sse2"),
    CG_ROW("66 REX.W0 0F 7E /r", movd, "Ed,Vd", kSse, kNoFlags, "sse2"),
    CG_ROW("66 REX.W 0F 7E /r", movq, "Eq,Vq", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 7E /r", movq, "Vx,Wq", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D6 /r /mem", movq, "Mq,Vq", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D6 /r /reg", movq, "Ux,Vq", kSse, kNoFlags, "sse2"),

    // Halves: the other one is kept.
    CG_ROW("NP 0F 12 /r /mem", movlps, "Vq,Mq", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 13 /r /mem", movlps, "Mq,Vq", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 16 /r /mem", movhps, "Vx,Mq", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 17 /r /mem", movhps, "Mq,Vx", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 12 /r /mem", movlpd, "Vq,Mq", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 13 /r /mem", movlpd, "Mq,Vq", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 16 /r /mem", movhpd, "Vx,Mq", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 17 /r /mem", movhpd, "Mq,Vx", kSse, kNoFlags, "sse2"),
    CG_ROW("NP 0F 12 /r /reg", movhlps, "Vq,Ux", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 16 /r /reg", movlhps, "Vx,Uq", kSse, kNoFlags, "sse"),

    // Shuffles and masks.
    CG_ROW("NP 0F 14 /r", unpcklps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 15 /r", unpckhps, "Vx,Wa", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F C6 /r ib", shufps, "Vx,Wa,Ib", kSse, kNoFlags, "sse"),
    CG_ROW("NP 0F 50 /r /reg", movmskps, "Gd,Ux", kSse, kNoFlags, "sse"),
    CG_ROW("66 0F 14 /r", unpcklpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 15 /r", unpckhpd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F C6 /r ib", shufpd, "Vx,Wa,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 50 /r /reg", movmskpd, "Gd,Ux", kSse, kNoFlags, "sse2"),
};
}  // namespace

std::span<const Row> sse_move_rows() { return kRows; }

}  // namespace callgate
