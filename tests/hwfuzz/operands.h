// Values that arithmetic gets wrong, and addresses at the ends of pages. Knows sizes, not instructions.
#pragma once

#include "cpu/fp/hard_operands.h"
#include "tests/hwfuzz/case.h"

namespace callgate::hwfuzz {

using Random = fp::TestRandom;

inline bool one_in(Random& random, u64 n) { return random.below(n) == 0; }

/// Small numbers, powers of two and their neighbours, extremes of every width, and random ones.
u64 hard_integer(Random& random);
/// `size` bytes: integers, floating-point numbers of one format or another, random bytes.
void hard_bytes(Random& random, u8* out, unsigned size);

/// What an access is to meet.
enum class Place : u8 { Anywhere, Good };
/// An address for an operand of `size` bytes; `alignment` is what the instruction wants (1: nothing).
u64 pick_address(Random& random, unsigned size, unsigned alignment, Place place);

/// A random state: every register, flags, x87, SSE.
void random_state(Random& random, Registers& in);
/// FXSAVE's image alone.
void random_fx(Random& random, FxImage& fx);

}  // namespace callgate::hwfuzz
