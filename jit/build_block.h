// From guest code to IR: decodes instructions from one page until control may go elsewhere, and translates each by its row.
#pragma once

#include <span>

#include "cpu/cpu.h"
#include "cpu/ir/ir.h"

namespace callgate::jit {

/// How many instructions a block has at most.
constexpr unsigned kMostInsns = 64;

/// Fills `block` (whose mode and rip are set) from the code bytes at its start. Instructions that don't lie in `code` as a
/// whole are left out; a block may be empty.
void build_block(std::span<const u8> code, unsigned most, ir::Block& block);

/// All SSE exceptions are masked: only then does the host execute vector instructions.
inline bool masks_all(u32 mxcsr) { return (mxcsr & 0x1F80) == 0x1F80; }
/// The mode of translations of `c`'s code now.
ir::Mode mode_of(const Cpu& c);
/// True when code can be translated in this mode at all.
bool can_translate(const Cpu& c);
/// A number that tells modes apart.
u32 key_of(const ir::Mode& mode);
/// key_of(mode_of(c)).
u32 mode_key(const Cpu& c);

}  // namespace callgate::jit
