#include "cpu/semantics/sse_integer.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
const Row kRows[] = {
    // Arithmetic, comparison, logic, packing.
    CG_ROW("66 0F 60 /r", punpcklbw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 61 /r", punpcklwd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 62 /r", punpckldq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 63 /r", packsswb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 64 /r", pcmpgtb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 65 /r", pcmpgtw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 66 /r", pcmpgtd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 67 /r", packuswb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 68 /r", punpckhbw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 69 /r", punpckhwd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 6A /r", punpckhdq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 6B /r", packssdw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 6C /r", punpcklqdq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 6D /r", punpckhqdq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 74 /r", pcmpeqb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 75 /r", pcmpeqw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 76 /r", pcmpeqd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D1 /r", psrlw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D2 /r", psrld, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D3 /r", psrlq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D4 /r", paddq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D5 /r", pmullw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D8 /r", psubusb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D9 /r", psubusw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F DA /r", pminub, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F DB /r", pand, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F DC /r", paddusb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F DD /r", paddusw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F DE /r", pmaxub, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F DF /r", pandn, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E0 /r", pavgb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E1 /r", psraw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E2 /r", psrad, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E3 /r", pavgw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E4 /r", pmulhuw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E5 /r", pmulhw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E8 /r", psubsb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F E9 /r", psubsw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F EA /r", pminsw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F EB /r", por, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F EC /r", paddsb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F ED /r", paddsw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F EE /r", pmaxsw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F EF /r", pxor, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F1 /r", psllw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F2 /r", pslld, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F3 /r", psllq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F4 /r", pmuludq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F5 /r", pmaddwd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F6 /r", psadbw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F8 /r", psubb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F9 /r", psubw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F FA /r", psubd, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F FB /r", psubq, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F FC /r", paddb, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F FD /r", paddw, "Vx,Wa", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F FE /r", paddd, "Vx,Wa", kSse, kNoFlags, "sse2"),

    // Shifts by an immediate.
    CG_ROW("66 0F 71 /2 /reg ib", psrlw, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 71 /4 /reg ib", psraw, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 71 /6 /reg ib", psllw, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 72 /2 /reg ib", psrld, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 72 /4 /reg ib", psrad, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 72 /6 /reg ib", pslld, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 73 /2 /reg ib", psrlq, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 73 /6 /reg ib", psllq, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 73 /3 /reg ib", psrldq, "Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F 73 /7 /reg ib", pslldq, "Ux,Ib", kSse, kNoFlags, "sse2"),

    // Lanes.
    CG_ROW("66 0F 70 /r ib", pshufd, "Vx,Wa,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("F3 0F 70 /r ib", pshufhw, "Vx,Wa,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("F2 0F 70 /r ib", pshuflw, "Vx,Wa,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F C4 /r ib", pinsrw, "Vx,Ew,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F C5 /r /reg ib", pextrw, "Gd,Ux,Ib", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F D7 /r /reg", pmovmskb, "Gd,Ux", kSse, kNoFlags, "sse2"),
    CG_ROW("66 0F F7 /r /reg", maskmovdqu, "Vx,Ux", kSse, kNoFlags, "sse2"),
};
}  // namespace

std::span<const Row> sse_integer_rows() { return kRows; }

}  // namespace callgate
