// Code that is rewritten again and again, in immediates only: one block for all variants, which reads them when it is executed.
#pragma once

#include <span>

#include "cpu/ir/ir.h"
#include "jit/block_cache.h"

namespace callgate::jit {

/// What an immediate becomes that is read from the code: a Compute whose imm is its place, from the block's start. By its bytes
/// in the code and as a value; sign-extended.
extern const ir::OpInfo kCode4As4, kCode4As8, kCode8As8;

/// `rewritten`: by byte of code, 1 for those of immediates that are to be read from the code when they are executed.
void read_from_code(ir::Block& block, const std::vector<u8>& rewritten);

/// False if one of them is an instruction's whose handler gets it as it was when the code was decoded.
bool reads_all_of(const ir::Block& block, const std::vector<u8>& rewritten);

/// `block` was built from `code`, another variant of the checked block `head`. If it differs from an earlier one in immediates
/// only that can be read from the code, gives that one's number, and which they are; else kNoBlock.
u32 merge_variants(BlockCache& blocks, u32 head, std::span<const u8> code, const ir::Block& block, std::vector<u8>& rewritten);

}  // namespace callgate::jit
