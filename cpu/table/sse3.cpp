#include "cpu/semantics/sse3.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
// FISTTP, which came with SSE3, is in x87.cpp.
const Row kRows[] = {
    CG_ROW("66 0F 7C /r", haddpd, "Vx,Wa", kSse, kNoFlags, "pni"),
    CG_ROW("F2 0F 7C /r", haddps, "Vx,Wa", kSse, kNoFlags, "pni"),
    CG_ROW("66 0F 7D /r", hsubpd, "Vx,Wa", kSse, kNoFlags, "pni"),
    CG_ROW("F2 0F 7D /r", hsubps, "Vx,Wa", kSse, kNoFlags, "pni"),
    CG_ROW("66 0F D0 /r", addsubpd, "Vx,Wa", kSse, kNoFlags, "pni"),
    CG_ROW("F2 0F D0 /r", addsubps, "Vx,Wa", kSse, kNoFlags, "pni"),
    CG_ROW("F2 0F F0 /r /mem", lddqu, "Vx,Mx", kSse, kNoFlags, "pni"),
    CG_ROW("F2 0F 12 /r", movddup, "Vx,Wq", kSse, kNoFlags, "pni"),
    CG_ROW("F3 0F 12 /r", movsldup, "Vx,Wa", kSse, kNoFlags, "pni"),
    CG_ROW("F3 0F 16 /r", movshdup, "Vx,Wa", kSse, kNoFlags, "pni"),
};
}  // namespace

std::span<const Row> sse3_rows() { return kRows; }

}  // namespace callgate
