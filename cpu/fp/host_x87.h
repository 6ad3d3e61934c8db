// For tests on an x86-64 host: x87 instructions run on the real processor under any control word, the whole outcome
// read without waiting for unmasked exceptions. Refuses to know: what the answers should be.
#pragma once

#if defined(__x86_64__)

#include <cstring>

#include "cpu/fp/f80.h"

namespace callgate::fp::host {

/// Everything that an instruction with ST(0), ST(1) and a memory operand can change.
struct X87Outcome {
  F80 st0, st1;
  u8 memory[10] = {};
  u8 flags = 0;
  bool c0 = false, c1 = false, c2 = false, c3 = false;
  bool operator==(const X87Outcome& other) const {
    return st0 == other.st0 && st1 == other.st1 && std::memcmp(memory, other.memory, sizeof memory) == 0 &&
           flags == other.flags && c0 == other.c0 && c1 == other.c1 && c2 == other.c2 && c3 == other.c3;
  }
};

/// The registers in memory.
struct X87Case {
  u16 control;
  u8 st0[10], st1[10];
  u8 memory[16];
  u8 saved[108];  ///< by FNSAVE
};

inline u16 control_of(const Env& env) {
  const u16 precision = env.precision_bits == 24 ? 0 : env.precision_bits == 53 ? 2 : 3;
  return static_cast<u16>(static_cast<u16>(env.round) << 10 | precision << 8 | 0x40 | (env.masks & 0x3F));
}

inline void store_f80(u8* to, F80 value) {
  std::memcpy(to, &value.significand, 8);
  std::memcpy(to + 8, &value.sign_exponent, 2);
}
inline F80 load_f80(const u8* from) {
  F80 value;
  std::memcpy(&value.significand, from, 8);
  std::memcpy(&value.sign_exponent, from + 8, 2);
  return value;
}

using X87Instruction = void (*)(X87Case& c);

/// An X87Instruction of assembler text, with %[m] the memory operand. FNSAVE does not wait and leaves the unit
/// initialised.
#define HOST_X87(text)                                                                                     \
  [](host::X87Case& x) {                                                                                   \
    asm volatile("fninit\n\tfldcw %[control]\n\tfldt %[st1]\n\tfldt %[st0]\n\t" text "\n\tfnsave %[saved]" \
                 : [m] "+m"(x.memory), [saved] "=m"(x.saved)                                               \
                 : [control] "m"(x.control), [st0] "m"(x.st0), [st1] "m"(x.st1)                            \
                 : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory");   \
  }

inline X87Outcome run(X87Instruction instruction, F80 st0, F80 st1, const u8 (&memory)[10], const Env& env) {
  X87Case x = {};
  x.control = control_of(env);
  store_f80(x.st0, st0);
  store_f80(x.st1, st1);
  std::memcpy(x.memory, memory, sizeof memory);
  instruction(x);
  // SDM 1 figure 8-9, Protected Mode x87 FPU State Image in Memory, 32-bit format.
  X87Outcome outcome;
  u16 status;
  std::memcpy(&status, x.saved + 4, 2);
  outcome.st0 = load_f80(x.saved + 28);
  outcome.st1 = load_f80(x.saved + 38);
  std::memcpy(outcome.memory, x.memory, sizeof outcome.memory);
  outcome.flags = status & 0x3F;
  outcome.c0 = status >> 8 & 1;
  outcome.c1 = status >> 9 & 1;
  outcome.c2 = status >> 10 & 1;
  outcome.c3 = status >> 14 & 1;
  return outcome;
}

}  // namespace callgate::fp::host

#endif
