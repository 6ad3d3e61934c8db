// RDRAND and RDSEED. A run is a function of its start state, so what they give is no noise but a sequence: SplitMix64, one of
// its own for each processor, whose place is part of the saved and hashed state. Ref: Steele, Lea, Flood, "Fast Splittable
// Pseudorandom Number Generators" (2014).
#include "cpu/system/random.h"

#include "cpu/system/helpers.h"

namespace callgate {

namespace {

constexpr u64 mix(u64 z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

u64 next_random(Cpu& c) { return mix(c.s.random += 0x9E3779B97F4A7C15); }

}  // namespace

// Places of different processors are as good as random, so that their sequences don't meet.
u64 first_random_place(unsigned index) { return mix(0x43616C6C67617465 + index); }  // "Callgate"

namespace helpers {

// There is always a number: CF is set, the other flags are cleared.
void rdrand(Cpu& c, const Insn& i) {
  const u64 value = next_random(c);
  if (i.width == 2) c.set_gpr<u16>(i.rm, static_cast<u16>(value));
  else if (i.width == 4) c.set_gpr<u32>(i.rm, static_cast<u32>(value));
  else c.set_gpr<u64>(i.rm, value);
  c.s.flags.set_arithmetic(kCF);
}

void rdseed(Cpu& c, const Insn& i) { rdrand(c, i); }

}  // namespace helpers
}  // namespace callgate
