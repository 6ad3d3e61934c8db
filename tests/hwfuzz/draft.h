// A case while it is made, one instruction after the other. Inside the generator.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/table/encoding.h"
#include "cpu/table/table.h"
#include "cpu/value_builder.h"
#include "tests/hwfuzz/operands.h"

namespace callgate::hwfuzz {

inline bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  for (const auto n : names)
    if (n == name) return true;
  return false;
}

/// Instructions whose result depends on what earlier ones left in memory or in a fixed register: first in a run, or
/// alone.
bool wants_to_be_first(const Row& row);
/// Instructions whose E operand is a selector.
bool wants_selector(const Row& row);

/// How a displacement or an address is set once the whole run is known.
struct Fixup {
  enum Kind : u8 { Rel8, Rel32, RipRelative, Register, Memory } kind;
  u8 instruction;  ///< the one that jumps
  unsigned at;     ///< place in the code, register, or number of the patch
};

/// Bytes of XSAVE's area with AVX's component.
constexpr unsigned kXsaveSize = 576 + 256;

/// A case while it is made.
class Draft {
 public:
  Draft(Case& c, Random& random, bool alone) : c_(c), random_(random), alone_(alone) {
    c_.patches = 0;
    c_.instructions = 0;
    c_.start[0] = 0;
    c_.memory_seed = one_in(random, 2) ? 0 : 1 + random.below(1000);
    c_.code_at = kUsualCodeAt;
    random_state(random, c_.in);
    pin(RSP);
  }

  /// True when the flags that the row reads are defined at this point.
  bool flags_fit(const Row& row) const { return (row.flags.read & undefined_flags_) == 0; }
  void add(const Encoding& e);
  void finish();
  bool first() const { return c_.instructions == 0; }

 private:
  void pin(unsigned reg) { pinned_ |= 1u << reg; }
  bool pinned(unsigned reg) const { return pinned_ >> reg & 1; }
  void set(unsigned reg, u64 value) {
    c_.in.gpr[reg] = value;
    pin(reg);
  }
  void byte(unsigned b) { c_.code[at_++] = static_cast<u8>(b); }
  void bytes(u64 v, unsigned size) {
    for (unsigned i = 0; i < size; i++) byte(static_cast<u8>(v >> 8 * i));
  }
  u64 address(unsigned size, unsigned alignment) {
    return pick_address(random_, size, alignment, first() ? Place::Anywhere : Place::Good);
  }
  /// A register for an operand: mostly one that no address needs.
  unsigned operand_register() {
    unsigned reg = static_cast<unsigned>(random_.below(16));
    for (unsigned tries = 0; tries < 4 && pinned(reg); tries++) reg = static_cast<unsigned>(random_.below(16));
    return reg;
  }
  void prefixes(const Encoding& e);
  void vex(const Encoding& e);
  void finish_vex(const Encoding& e);
  void memory_operand(const Encoding& e, unsigned reg);
  void vector_memory_operand(const Encoding& e, unsigned reg, u64 ea);
  void fixed_operands(const Encoding& e);
  void fill_operand(const Encoding& e, u64 at, unsigned size);
  void image(u64 at, unsigned size);
  void immediate(const Encoding& e, ImmKind kind);
  unsigned memory_size(const Encoding& e) const;
  u64 selector() { return kSelectors[random_.below(std::size(kSelectors))]; }
  void far_frame();

  /// What both descriptor tables have: null, Linux's kernel and user segments with different RPLs, and what neither
  /// has.
  static constexpr u16 kSelectors[] = {0,    3,    1,    0x10, 0x13, 0x18, 0x2B, 0x2B,   0x2B,
                                       0x28, 0x2A, 0x33, 0x33, 0x33, 0x30, 0x31, 0xFFF8, 0xFFFC};

  Case& c_;
  Random& random_;
  const bool alone_;
  u32 pinned_ = 0;
  u32 undefined_flags_ = 0;
  bool anywhere_ = true;   ///< the code may run into the inaccessible page
  bool branched_ = false;  ///< an instruction so far may jump
  unsigned at_ = 0;
  std::vector<Fixup> fixups_;
  // Of the instruction being made:
  bool opsize_ = false, asize_ = false, gs_ = false, rep_ = false, memory_ = false;
  unsigned rex_at_ = 0;  ///< where REX or VEX stands
  u8 rex_ = 0;           ///< or what VEX has of it
  bool vex_l_ = false;
  u8 vvvv_ = 0;
  bool has_rex_ = false;
  unsigned width_ = 4;
  std::string name_;
};

}  // namespace callgate::hwfuzz
