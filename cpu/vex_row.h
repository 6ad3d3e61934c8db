// Rows behind VEX. A row stands for both vector lengths unless its encoding says one: the operand size is the vector length
// then (16 or 32 bytes), so that a semantic written for SSE serves them all (cpu/value_builder.h, `Vex`).
#pragma once

#include <string_view>

#include "cpu/value_builder.h"

namespace callgate {

/// The operand sizes of a VEX row: both the same, or by VEX.W, or by VEX.L.
struct VexWidths {
  unsigned low, high;
};

constexpr VexWidths vex_widths(std::string_view encoding, std::string_view operands, u32 attributes) {
  if (operands.find('y') != operands.npos || (attributes & kWidths)) return {4, 8};
  const auto has = [&](std::string_view field) { return encoding.substr(0, encoding.find(' ')).find(field) != encoding.npos; };
  if (has(".256.")) return {32, 32};
  if (has(".128.") || has(".LIG.") || has(".LZ.")) return {16, 16};
  return {16, 32};
}

template <VexWidths Widths, FixedString Operands, u32 Attributes, class Semantic>
constexpr Handlers vex_handlers(Semantic) {
  Handlers h;
  if constexpr (allows_register(Operands.text)) {
    h.exec[1][0] = execute<Semantic, Operands, Attributes, Widths.low, false>;
    h.exec[2][0] = execute<Semantic, Operands, Attributes, Widths.high, false>;
  }
  if constexpr (has_rm(Operands.text) && allows_memory(Operands.text)) {
    h.exec[1][1] = execute<Semantic, Operands, Attributes, Widths.low, true>;
    h.exec[2][1] = execute<Semantic, Operands, Attributes, Widths.high, true>;
  }
  return h;
}

}  // namespace callgate

/// A row with the semantic template `callgate::semantics::NAME`.
#define CG_VEX_ROW(ENCODING, MNEMONIC, NAME, OPERANDS, ATTRIBUTES, FLAGS, FEATURE)                            \
  ::callgate::Row {                                                                                           \
    ENCODING, MNEMONIC, OPERANDS, (ATTRIBUTES) | ::callgate::kNoReal, FLAGS, FEATURE,                         \
        ::callgate::vex_handlers<::callgate::vex_widths(ENCODING, OPERANDS, ATTRIBUTES), OPERANDS,                   \
                                 static_cast<::callgate::u32>((ATTRIBUTES) | ::callgate::kNoReal)>(           \
            [](auto& b) { ::callgate::semantics::NAME(b); })                                                  \
  }
/// A row of AVX and its successors that leaves the flags alone; its mnemonic is the semantic's with a v before it.
#define CG_VEX(ENCODING, NAME, OPERANDS, FEATURE) \
  CG_VEX_ROW(ENCODING, "v" #NAME, NAME, OPERANDS, ::callgate::kAvx, ::callgate::kNoFlags, FEATURE)
