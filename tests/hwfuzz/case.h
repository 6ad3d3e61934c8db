// What the hardware fuzzer runs: a few instructions, the state before them, and the state after, as plain data that a
// real processor and our engine both fill in. Knows the layout of the test's address space; knows no engine and no
// instruction.
#pragma once

#include <string>

#include "base/bits.h"
#include "base/types.h"

namespace callgate::hwfuzz {

// The address space, the same in the child process and in the guest. Everything around these pages is inaccessible.
constexpr u64 kRegion = 0x20000000, kRegionSize = 0x20000;
constexpr u64 kCode = kRegion;  ///< two pages: read and execute
constexpr unsigned kCodeBytes = 2 * 4096;
constexpr u8 kUnusedCode = 0xCC;          ///< what stands around a case's code (INT3)
constexpr u64 kExit = kRegion + 0x8000;   ///< a page: a run that reaches its end jumps here
constexpr u64 kData = kRegion + 0x10000;  ///< two pages to read and write, then one to read
constexpr unsigned kDataBytes = 3 * 4096;
constexpr u64 kReadOnly = kData + 2 * 4096;
constexpr u64 kDataEnd = kData + kDataBytes;
constexpr u64 kGsBase = kData + 0x400;  ///< the base of GS. (FS belongs to the child's own C library.)

/// The image of FXSAVE64. SDM 1, Layout of the 64-bit-mode FXSAVE64 Map.
struct alignas(16) FxImage {
  u16 control = 0x37F;
  u16 status = 0;
  u8 not_empty = 0;  ///< bit i: Ri is in use
  u8 reserved0 = 0;
  u16 opcode = 0;
  u64 instruction_pointer = 0;
  u64 data_pointer = 0;
  u32 mxcsr = 0x1F80;
  u32 mxcsr_mask = 0;
  struct {
    u64 significand;
    u16 sign_exponent;
    u16 reserved[3];
  } st[8] = {};  ///< ST(0) to ST(7)
  u64 xmm[16][2] = {};
  u8 reserved1[96] = {};
};
static_assert(sizeof(FxImage) == 512);

/// The registers before or after. The trampoline (host_x64.cpp) knows these offsets.
struct alignas(64) Registers {
  u64 gpr[16] = {};  ///< RAX, RCX, RDX, RBX, RSP, ...: the manual's order
  u64 rip = 0;
  u64 rflags = 0x202;
  u64 padding[6] = {};
  FxImage fx;
  u64 upper[16][2] = {};  ///< of the ymm registers; of no meaning on a host without AVX
};
static_assert(offsetof(Registers, rip) == 128 && offsetof(Registers, rflags) == 136 && offsetof(Registers, fx) == 192 &&
              offsetof(Registers, upper) == 704);

/// A few bytes of the data pages before the run.
struct Patch {
  u16 offset = 0;  ///< from kData
  u16 size = 0;
  u8 bytes[16] = {};
};

/// Where in the code pages a case's code usually is.
constexpr u16 kUsualCodeAt = 0x100;
constexpr unsigned kMostInstructions = 8;
constexpr unsigned kMostPatches = 40;

/// One run: instructions and the state before them.
struct Case {
  Registers in;
  u8 code[24 + 16 * kMostInstructions] = {};  ///< the jump to kExit at the end included
  u8 code_size = 0;
  u8 instructions = 0;
  u8 start[kMostInstructions + 1] = {};  ///< where each instruction starts in `code`; last, the jump to kExit
  u16 code_at = 0;                       ///< from kCode
  u8 patches = 0;
  u64 memory_seed = 0;  ///< what the data pages hold under the patches (0: zeros)
  Patch patch[kMostPatches];

  u64 address_of(unsigned instruction) const { return kCode + code_at + start[instruction]; }
  /// Puts `size` bytes at the linear address `at`; what lies outside the data pages is dropped.
  void put(u64 at, const void* bytes, unsigned size);
};

/// How a run ended.
enum class Ending : u8 { Finished, Faulted, Endless, Lost };

/// The state after a run.
struct Outcome {
  Registers out;
  Ending ending = Ending::Lost;
  u8 vector = 0;
  u32 error_code = 0;
  u64 cr2 = 0;  ///< of a page fault
  u8 memory[kDataBytes] = {};
};

/// The data pages before the run.
void fill_memory(const Case& c, u8* memory);

/// Ends the code with the jump to kExit.
void finish_code(Case& c);

/// The jump's size.
constexpr unsigned kExitJump = 5;

}  // namespace callgate::hwfuzz
