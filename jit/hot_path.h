// A hot block's version goes on where its jumps usually go: so that what follows needs no probes, flags or budget of its own,
// and a loop of several blocks is a loop of one. The jumps that it takes instead leave it out of line.
#pragma once

#include <span>

#include "jit/block_cache.h"
#include "jit/build_block.h"

namespace callgate::jit {

/// Appends to `block`, made from the bytes of its page from its start on (`code`) and the plain block `number`, what its last
/// jump goes to, as far as the links of plain blocks have counted one way much more often than the other one. Only forwards,
/// in the same page; at most `most` instructions in all. The number of pieces that were appended.
unsigned follow_hot_path(const BlockCache& blocks, u32 number, std::span<const u8> code, unsigned most, ir::Block& block);

}  // namespace callgate::jit
