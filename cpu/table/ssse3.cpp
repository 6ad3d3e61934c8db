#include "cpu/semantics/sse3.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
const Row kRows[] = {
    CG_ROW("NP 0F 38 00 /r", pshufb, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 01 /r", phaddw, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 02 /r", phaddd, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 03 /r", phaddsw, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 04 /r", pmaddubsw, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 05 /r", phsubw, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 06 /r", phsubd, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 07 /r", phsubsw, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 08 /r", psignb, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 09 /r", psignw, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 0A /r", psignd, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 0B /r", pmulhrsw, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 1C /r", pabsb, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 1D /r", pabsw, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 38 1E /r", pabsd, "Pq,Qq", kMmx, kNoFlags, "ssse3"),
    CG_ROW("NP 0F 3A 0F /r ib", palignr, "Pq,Qq,Ib", kMmx, kNoFlags, "ssse3"),

    CG_ROW("66 0F 38 00 /r", pshufb, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 01 /r", phaddw, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 02 /r", phaddd, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 03 /r", phaddsw, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 04 /r", pmaddubsw, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 05 /r", phsubw, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 06 /r", phsubd, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 07 /r", phsubsw, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 08 /r", psignb, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 09 /r", psignw, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 0A /r", psignd, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 0B /r", pmulhrsw, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 1C /r", pabsb, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 1D /r", pabsw, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 38 1E /r", pabsd, "Vx,Wa", kSse, kNoFlags, "ssse3"),
    CG_ROW("66 0F 3A 0F /r ib", palignr, "Vx,Wa,Ib", kSse, kNoFlags, "ssse3"),
};
}  // namespace

std::span<const Row> ssse3_rows() { return kRows; }

}  // namespace callgate
