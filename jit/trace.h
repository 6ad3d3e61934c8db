// What the translator makes of code, in words: guest instructions, their IR and the host's code (log channel "jit").
#pragma once

#include <span>
#include <string>

#include "cpu/ir/ir.h"

namespace callgate::jit {

/// `code` is the guest's bytes from the block's first instruction on, `host` what was emitted for it.
std::string trace(const ir::Block& block, std::span<const u8> code, std::span<const u8> host);

}  // namespace callgate::jit
