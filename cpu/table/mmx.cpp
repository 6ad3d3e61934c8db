#include "cpu/semantics/fpu_state.h"
#include "cpu/semantics/sse_integer.h"
#include "cpu/semantics/sse_move.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
const Row kRows[] = {
    // Moves.
    CG_ROW("NP REX.W0 0F 6E /r", movd, "Pq,Ed", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP REX.W 0F 6E /r", movq, "Pq,Eq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP REX.W0 0F 7E /r", movd, "Ed,Pd", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP REX.W 0F 7E /r", movq, "Eq,Pq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 6F /r", movq, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 7F /r", movq, "Qq,Pq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F E7 /r /mem", movntq, "Mq,Pq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F F7 /r /reg", maskmovq, "Pq,Nq", kMmx, kNoFlags, "sse"),
    CG_ROW("F3 0F D6 /r /reg", movq2dq, "Vx,Nq", kSse | kMmx, kNoFlags, "sse2"),
    CG_ROW("F2 0F D6 /r /reg", movdq2q, "Pq,Uq", kSse | kMmx, kNoFlags, "sse2"),
    CG_HELPER("NP 0F 77", emms, "", kMmx, kNoFlags, "mmx"),

    // Lanes.
    CG_ROW("NP 0F 70 /r ib", pshufw, "Pq,Qq,Ib", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F C4 /r ib", pinsrw, "Pq,Ew,Ib", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F C5 /r /reg ib", pextrw, "Gd,Nq,Ib", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F D7 /r /reg", pmovmskb, "Gd,Nq", kMmx, kNoFlags, "sse"),

    // Arithmetic, comparison, logic, packing.
    CG_ROW("NP 0F 60 /r", punpcklbw, "Pq,Qd", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 61 /r", punpcklwd, "Pq,Qd", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 62 /r", punpckldq, "Pq,Qd", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 63 /r", packsswb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 64 /r", pcmpgtb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 65 /r", pcmpgtw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 66 /r", pcmpgtd, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 67 /r", packuswb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 68 /r", punpckhbw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 69 /r", punpckhwd, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 6A /r", punpckhdq, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 6B /r", packssdw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 74 /r", pcmpeqb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 75 /r", pcmpeqw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 76 /r", pcmpeqd, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F D1 /r", psrlw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F D2 /r", psrld, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F D3 /r", psrlq, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F D4 /r", paddq, "Pq,Qq", kMmx, kNoFlags, "sse2"),
    CG_ROW("NP 0F D5 /r", pmullw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F D8 /r", psubusb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F D9 /r", psubusw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F DA /r", pminub, "Pq,Qq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F DB /r", pand, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F DC /r", paddusb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F DD /r", paddusw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F DE /r", pmaxub, "Pq,Qq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F DF /r", pandn, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F E0 /r", pavgb, "Pq,Qq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F E1 /r", psraw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F E2 /r", psrad, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F E3 /r", pavgw, "Pq,Qq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F E4 /r", pmulhuw, "Pq,Qq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F E5 /r", pmulhw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F E8 /r", psubsb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F E9 /r", psubsw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F EA /r", pminsw, "Pq,Qq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F EB /r", por, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F EC /r", paddsb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F ED /r", paddsw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F EE /r", pmaxsw, "Pq,Qq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F EF /r", pxor, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F F1 /r", psllw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F F2 /r", pslld, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F F3 /r", psllq, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F F4 /r", pmuludq, "Pq,Qq", kMmx, kNoFlags, "sse2"),
    CG_ROW("NP 0F F5 /r", pmaddwd, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F F6 /r", psadbw, "Pq,Qq", kMmx, kNoFlags, "sse"),
    CG_ROW("NP 0F F8 /r", psubb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F F9 /r", psubw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F FA /r", psubd, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F FB /r", psubq, "Pq,Qq", kMmx, kNoFlags, "sse2"),
    CG_ROW("NP 0F FC /r", paddb, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F FD /r", paddw, "Pq,Qq", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F FE /r", paddd, "Pq,Qq", kMmx, kNoFlags, "mmx"),

    // Shifts by an immediate.
    CG_ROW("NP 0F 71 /2 /reg ib", psrlw, "Nq,Ib", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 71 /4 /reg ib", psraw, "Nq,Ib", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 71 /6 /reg ib", psllw, "Nq,Ib", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 72 /2 /reg ib", psrld, "Nq,Ib", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 72 /4 /reg ib", psrad, "Nq,Ib", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 72 /6 /reg ib", pslld, "Nq,Ib", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 73 /2 /reg ib", psrlq, "Nq,Ib", kMmx, kNoFlags, "mmx"),
    CG_ROW("NP 0F 73 /6 /reg ib", psllq, "Nq,Ib", kMmx, kNoFlags, "mmx"),
};
}  // namespace

std::span<const Row> mmx_rows() { return kRows; }

}  // namespace callgate
