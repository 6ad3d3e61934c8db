// The operand column of a row as template arguments: kinds and sizes of operands, known when C++ compiles. Both builders
// (cpu/value_builder.h, cpu/ir/ir_builder.h) stand on it.
#pragma once

#include <cstddef>

#include "cpu/table/row.h"

namespace callgate {

/// A string as a template argument: the operand column of a row.
template <std::size_t N>
struct FixedString {
  char text[N] = {};
  constexpr FixedString(const char (&s)[N]) {
    for (std::size_t i = 0; i < N; i++) text[i] = s[i];
  }
};

/// One operand of a row, parsed from the manual's letters (cpu/table/row.h).
struct OperandSpec {
  char kind = 0;      ///< the letter; 'F' for a fixed register, 'X' for XMM0, '1' for the constant one, 0 for none
  char size = 0;      ///< b w d q v y z x a h f e, o for dq, or 0
  bool sext = false;  ///< an immediate sign-extended to the operand size
  u8 fixed = 0;       ///< register number of a fixed register
};

constexpr OperandSpec parse_operand(const char* text, unsigned position) {
  while (position > 0 && *text != 0)
    if (*text++ == ',') position--;
  OperandSpec s;
  if (*text == 0) return s;
  const auto is = [&](const char* name) {
    const char* p = text;
    while (*name != 0)
      if (*p++ != *name++) return false;
    return *p == 0 || *p == ',';
  };
  constexpr const char* kLow[4] = {"AL", "CL", "DL", "BL"};
  constexpr const char* kWord[4] = {"AX", "CX", "DX", "BX"};
  constexpr const char* kFull[4] = {"eAX", "eCX", "eDX", "eBX"};
  for (u8 r = 0; r < 4; r++) {
    if (is(kLow[r])) return {'F', 'b', false, r};
    if (is(kWord[r])) return {'F', 'w', false, r};
    if (is(kFull[r])) return {'F', 'v', false, r};
  }
  if (is("XMM0")) return {'X', 'x', false, 0};
  if (is("1")) return {'1', 'b', false, 0};
  if (*text == 's') {
    s.sext = true;
    text++;
  }
  s.kind = *text++;
  if (*text != 0 && *text != ',') s.size = *text == 'd' && text[1] == 'q' ? 'o' : *text;
  return s;
}

/// Bytes of an operand at operand size `w`.
constexpr unsigned operand_bytes(OperandSpec s, unsigned w) {
  if (s.sext) return w;
  switch (s.size) {
    case 'b': return 1;
    case 'w': return 2;
    case 'd': return 4;
    case 'q': return 8;
    case 'o': return 16;
    case 'x':
    case 'a': return w == 32 ? 32 : 16;
    case 'h': return w == 32 ? 16 : 8;
    case 'f': return w == 32 ? 8 : 4;
    case 'e': return w == 32 ? 4 : 2;
    case 'y': return w == 8 ? 8 : 4;
    case 'z': return s.kind == 'E' && w == 8 ? 4 : w;  // an immediate is read sign-extended to the operand size
    default: return w;
  }
}

template <unsigned Bytes>
struct UintOf;
template <> struct UintOf<1> { using type = u8; };
template <> struct UintOf<2> { using type = u16; };
template <> struct UintOf<4> { using type = u32; };
template <> struct UintOf<8> { using type = u64; };
template <> struct UintOf<16> { using type = V128; };
template <> struct UintOf<32> { using type = V256; };

// Operand positions.
template <unsigned N>
struct OperandTag {};
inline constexpr OperandTag<0> dst;
inline constexpr OperandTag<1> src;
inline constexpr OperandTag<2> src2;
inline constexpr OperandTag<3> src3;

/// What both builders know of a row's operands, at operand size W, with r/m in memory or in a register.
///
/// `Vex`: an instruction of AVX and its successors. A row with an H operand is then its SSE sibling with a separate source: the
/// semantic says `dst` for both, reads the source and writes the destination, and its other operands are one further in the
/// column ("Vx,Hx,Wx" has dst and src).
template <FixedString Operands, unsigned W, bool Memory, bool Vex = false>
struct OperandTypes {
  static constexpr bool is_vex = Vex;
  static constexpr bool has_separate_source =
      Vex && (parse_operand(Operands.text, 0).kind == 'H' || parse_operand(Operands.text, 1).kind == 'H');
  /// True when the r/m operand is in memory.
  static constexpr bool is_memory = Memory;
  /// The operand size in bytes.
  static constexpr unsigned width = W;
  /// Unsigned integer of the operand size.
  using Word = typename UintOf<W>::type;

  static constexpr bool is_memory_kind(char k) {
    return k == 'M' || k == 'O' || (Memory && (k == 'E' || k == 'W' || k == 'Q'));
  }

  /// The operand as it is read; `written` as it is written.
  template <unsigned N>
  static constexpr OperandSpec spec = parse_operand(Operands.text, N + has_separate_source);
  template <unsigned N>
  static constexpr OperandSpec written = N == 0 ? parse_operand(Operands.text, 0) : spec<N>;
  template <unsigned N>
  static constexpr bool in_memory = is_memory_kind(spec<N>.kind);
  template <unsigned N>
  using Type = typename UintOf<operand_bytes(spec<N>, W)>::type;
};

/// True when an operand's size depends on the operand size.
constexpr bool depends_on_width(const char* operands) {
  for (unsigned n = 0; n < 4; n++) {
    const OperandSpec s = parse_operand(operands, n);
    if (s.size == 'v' || s.size == 'y' || s.size == 'z' || s.sext) return true;
  }
  return false;
}
/// Which forms of r/m a row's operands allow.
constexpr bool allows_memory(const char* operands) {
  for (unsigned n = 0; n < 4; n++) {
    const char k = parse_operand(operands, n).kind;
    if (k == 'R' || k == 'U' || k == 'N') return false;
  }
  return true;
}
constexpr bool allows_register(const char* operands) {
  for (unsigned n = 0; n < 4; n++)
    if (parse_operand(operands, n).kind == 'M') return false;
  return true;
}
constexpr bool has_rm(const char* operands) {
  for (unsigned n = 0; n < 4; n++) {
    const char k = parse_operand(operands, n).kind;
    if (k == 'E' || k == 'M' || k == 'R' || k == 'W' || k == 'U' || k == 'Q' || k == 'N') return true;
  }
  return false;
}

}  // namespace callgate
