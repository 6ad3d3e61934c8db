// What the translator makes of code, in words: each guest instruction with its IR and its host code (log channel "jit").
#pragma once

#include <span>
#include <string>

#include "cpu/ir/ir.h"

namespace callgate::jit {

/// `code` is the guest's bytes from the block's first instruction on, `host` what was emitted for it. `starts`: where the
/// code of each instruction begins in it, and then what is out of line.
std::string trace(const ir::Block& block, std::span<const u8> code, std::span<const u8> host, std::span<const u32> starts);

}  // namespace callgate::jit
