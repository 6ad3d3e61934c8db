#include "cpu/semantics/sse4.h"
#include "cpu/table/table.h"

namespace callgate {

namespace {
constexpr FlagEffect kAll = writes(kArithmetic);

// The strings in memory need not be aligned. REX.W makes the explicit lengths 64 bits wide. CRC32, which came with SSE4.2,
// is in integer_extensions.cpp.
const Row kRows[] = {
    CG_ROW("66 0F 38 37 /r", pcmpgtq, "Vx,Wa", kSse, kNoFlags, "sse4_2"),
    CG_ROW("66 0F 3A 60 /r ib", pcmpestrm, "Vx,Wx,Ib,XMM0", kSse | kWidths, kAll, "sse4_2"),
    CG_ROW("66 0F 3A 61 /r ib", pcmpestri, "Vx,Wx,Ib", kSse | kWidths, kAll, "sse4_2"),
    CG_ROW("66 0F 3A 62 /r ib", pcmpistrm, "Vx,Wx,Ib,XMM0", kSse, kAll, "sse4_2"),
    CG_ROW("66 0F 3A 63 /r ib", pcmpistri, "Vx,Wx,Ib", kSse, kAll, "sse4_2"),
};
}  // namespace

std::span<const Row> sse42_rows() { return kRows; }

}  // namespace callgate
