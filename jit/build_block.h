// From guest code to IR: decodes instructions from one page until control may go elsewhere, and translates each by its row.
#pragma once

#include <span>

#include "cpu/cpu.h"
#include "cpu/ir/ir.h"
#include "cpu/system/msr.h"

namespace callgate::jit {

/// How many instructions a block has at most.
constexpr unsigned kMostInsns = 64;

/// Fills `block` (whose mode and rip are set) from the code bytes at its start. Instructions that don't lie in `code` as a
/// whole are left out, and those that begin at or behind `end`; a block may be empty.
void build_block(std::span<const u8> code, unsigned most, ir::Block& block, std::size_t end = ~std::size_t{0});

/// Appends the code at `rip` likewise, until the block has `most` instructions.
void append_block(std::span<const u8> code, u64 rip, unsigned most, ir::Block& block, std::size_t end = ~std::size_t{0});

/// A block of nothing but `insn`, which its handler executes.
void one_instruction(const Insn& insn, ir::Block& block);

/// From its first byte to its last one: what lies between is not all its code if it was made from several pieces.
inline u64 block_bytes(const ir::Block& b) { return b.insns.back().rip + b.insns.back().insn.length - b.rip; }

/// All SSE exceptions are masked: only then does the host execute vector instructions.
inline bool masks_all(u32 mxcsr) { return (mxcsr & 0x1F80) == 0x1F80; }
/// All x87 exceptions are masked, and the precision is one that exists: only then does the host execute x87 instructions.
inline bool x87_is_plain(u16 control) { return (control & 0x3F) == 0x3F && (control & 0x300) != 0x100; }
/// What of a mode unit instructions (LDMXCSR, FLDCW) can change: equal numbers, equal modes.
inline unsigned unit_modes(const CpuState& s) {
  return unsigned{masks_all(s.mxcsr)} | unsigned{x87_is_plain(s.x87.control)} << 1 | unsigned{(s.xcr0 & kXcr0Avx) != 0} << 2;
}
/// The mode of translations of `c`'s code now. Its flat segments include those of which only the limit must be looked at.
ir::Mode mode_of(const Cpu& c);
/// Outside 64-bit mode: bit i: segment i is writable and grows upwards, but has a limit. 0 in 64-bit mode.
u8 limited_segments(const Cpu& c);
/// The same from a mode's number.
constexpr u8 limited_segments(u32 mode_key) {
  return static_cast<u8>((mode_key >> 14 & 3) | (mode_key >> 22 & 3) << 2 | (mode_key >> 29 & 3) << 4);
}
/// Part of a block's key, not of a processor's mode: every access probes for itself.
constexpr u32 kModeUngrouped = 1u << 31;
/// Of a mode's number: AVX instructions may be executed.
constexpr u32 kModeAvx = 1u << 27;
/// A number that tells modes apart: mode_of(c), and what only a backend looks at.
u32 mode_key(const Cpu& c);
/// Of a mode's number: x87 instructions may be executed, and x87_is_plain().
constexpr u32 kModeX87 = 1u << 26;

}  // namespace callgate::jit
