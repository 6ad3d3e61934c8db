// The x87's registers between the guest's state (CpuState::x87) and the host's unit. Parts of thunks.cpp.
#pragma once

#include "jit/x64/registers.h"

namespace callgate::jit::x64 {

/// Byte 1 of Slot::kVectors: the host's x87 is the guest's.
inline Mem x87_is_here() { return slot(kVectors, 1, 1); }
/// Bytes of FNSAVE's image, with what keeps the stack aligned.
constexpr unsigned kX87ImageBytes = 112;

/// The guest's x87 becomes the host's. A subroutine, with room for an image at [rsp + 8 + offset]; changes rax, rcx, rdx and
/// EFLAGS.
void emit_load_x87(x86::Assembler& a, i32 offset);
/// The host's x87 becomes the guest's state, all but the pointers, which are kept there anyway; and the host's is as C++
/// wants it. A subroutine, with room for an image at [rdi]; changes rdx, rsi, r8 and EFLAGS.
void emit_store_x87(x86::Assembler& a);

}  // namespace callgate::jit::x64
