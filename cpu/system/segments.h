// Segment descriptors: how they are found in the GDT and LDT, parsed, checked and marked accessed. Everything in the
// system half that loads a segment goes through here; it knows no instruction. Ref: SDM 3A, chapters 3.4, 3.5, 5
// and 7.2.
#pragma once

#include <optional>

#include "cpu/cpu.h"

namespace callgate {

/// Types of system descriptors. SDM 3A, Table 3-2; in long mode the 32-bit types are the 64-bit ones.
enum SystemType : u8 {
  kTss16Available = 1,
  kLdt = 2,
  kTss16Busy = 3,
  kCallGate16 = 4,
  kTaskGate = 5,
  kInterruptGate16 = 6,
  kTrapGate16 = 7,
  kTssAvailable = 9,
  kTssBusy = 11,
  kCallGate = 12,
  kInterruptGate = 14,
  kTrapGate = 15,
};

/// Selectors as error codes show them: without the RPL. The caller adds EXT.
constexpr u32 selector_error(u16 selector) { return selector & 0xFFFCu; }
/// A null selector: index 0 of the GDT.
constexpr bool is_null(u16 selector) { return (selector & 0xFFFC) == 0; }

/// Where a check belongs: added to the error code (EXT: the event came from outside the program).
constexpr u32 kExt = 1;

/// A descriptor of the GDT or LDT as found in memory.
struct Descriptor {
  u32 low = 0, high = 0;  ///< the two halves in the manual's drawings
  u64 address = 0;        ///< linear
  u16 selector = 0;       ///< the selector that found it

  unsigned type() const { return high >> 8 & 15; }
  bool is_code_or_data() const { return high >> 12 & 1; }
  bool is_system() const { return !is_code_or_data(); }
  unsigned dpl() const { return high >> 13 & 3; }
  bool present() const { return high >> 15 & 1; }
  bool is_code() const { return is_code_or_data() && (type() & 8); }
  bool conforming() const { return is_code() && (type() & 4); }
  bool is_data() const { return is_code_or_data() && !(type() & 8); }
  bool writable_data() const { return is_data() && (type() & 2); }
  bool readable() const { return is_data() || (type() & 2); }
  bool long_mode() const { return high >> 21 & 1; }
  bool big() const { return high >> 22 & 1; }
  u32 base() const { return low >> 16 | (high & 0xFF) << 16 | (high & 0xFF000000); }
  u32 limit() const {
    const u32 raw = (low & 0xFFFF) | (high & 0xF0000);
    return high >> 23 & 1 ? raw << 12 | 0xFFF : raw;
  }
  /// What a segment register holds after loading it.
  Segment segment() const { return {base(), limit(), high >> 8 & 0xF0FF, selector}; }

  // As a gate.
  u16 gate_selector() const { return static_cast<u16>(low >> 16); }
  u32 gate_offset() const { return (high & 0xFFFF0000) | (low & 0xFFFF); }
};

/// A segment register that holds a null selector.
constexpr Segment null_segment(u16 selector, unsigned dpl = 0) {
  return {0, 0, kRightsUnusable | static_cast<u32>(dpl << 5), selector};
}

/// The descriptor of a selector, or nothing when its table ends before it (or there is no LDT).
std::optional<Descriptor> find_descriptor(Cpu& c, u16 selector);

/// The same; raises `vector`(selector | ext) when it lies outside. A null selector finds the GDT's entry 0: look
/// before.
Descriptor fetch_descriptor(Cpu& c, u16 selector, Vector vector, u32 ext = 0);

/// The upper half of a 16-byte system descriptor of long mode: base or offset bits 63..32. Raises #GP(selector | ext)
/// when the table ends before it or its type field isn't 0.
u32 fetch_upper_half(Cpu& c, const Descriptor& d, u32 ext = 0);

/// Sets the accessed bit in memory, when it is 0, and in `d`. The last thing that may fault before a load commits.
void mark_accessed(Cpu& c, Descriptor& d);

/// Raises what loading `selector` into a data segment register (SS included) raises; null selectors are the caller's.
/// `bad` is the vector of failed checks: #GP for instructions, #TS for task switches.
Descriptor fetch_data_segment(Cpu& c, SegReg seg, u16 selector, unsigned cpl, Vector bad, u32 ext = 0);

/// A stack segment for privilege level `cpl` by the rules of an inner or outer stack: not null, RPL = DPL = cpl,
/// writable, present. `bad` is #TS for stacks of a TSS, #GP for returns.
Descriptor fetch_stack_segment(Cpu& c, u16 selector, unsigned cpl, Vector bad, u32 ext = 0);

/// For a far transfer's code segment: raises #GP(selector | ext) for L with D in long mode.
void check_code_size(Cpu& c, const Descriptor& d, u32 ext = 0);

/// After returning to an outer ring: a data segment register that the new CPL may not use becomes null.
void drop_inner_segments(Cpu& c);

/// A segment register as virtual-8086 mode has it.
constexpr Segment v86_segment(u16 selector) { return {u64{selector} << 4, 0xFFFF, 0xF3, selector}; }

/// Accesses to system tables that may wrap (32-bit) or leave the canonical range (long mode: #GP(ext)).
u64 system_linear(const Cpu& c, u64 base, u64 offset, u32 ext = 0);

/// Loads LDTR with all checks; errors by `bad` (#GP for LLDT, #TS for a task switch).
void load_ldtr(Cpu& c, u16 selector, Vector bad, u32 ext = 0);

}  // namespace callgate
