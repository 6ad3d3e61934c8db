// Which host register holds what while emitted code runs. Guest registers without one live in the register file
// (CpuState::gpr), which the state register points to.
#pragma once

#include <asmjit/x86.h>

#include "jit/context.h"

namespace callgate::jit::x64 {

using asmjit::x86::Gp;
using asmjit::x86::Mem;
namespace x86 = asmjit::x86;

/// &CpuState::gpr[0]; the engine's slots are in front of it.
inline const Gp kState = x86::rbp;
/// TlbTable* of data accesses.
inline const Gp kTlb = x86::r15;
/// In a loop's rounds, which probe nothing: how many are left. (A counter in memory would make every round wait for the one
/// before on hosts that don't rename it.)
inline const Gp kRoundsLeft = x86::r15d;
/// Free within an instruction. The address, and then the host pointer, of a memory operand is in the first one.
inline const Gp kScratch[3] = {x86::rax, x86::rcx, x86::rdx};
inline const Gp kAddress = x86::rax;

/// Host register of a guest register by number, or -1: in memory. The ten that compilers use most; five of them survive
/// calls (rbx, r12 to r15 are the callee's to save).
constexpr int kHostOf[16] = {
    /*rax*/ 8, /*rcx*/ 9, /*rdx*/ 10, /*rbx*/ 3, /*rsp*/ 12, /*rbp*/ 13, /*rsi*/ 6, /*rdi*/ 7,
    /*r8*/ 11, /*r9*/ -1, /*r10*/ -1, /*r11*/ -1, /*r12*/ 14, /*r13*/ -1, /*r14*/ -1, /*r15*/ -1,
};
constexpr bool is_pinned(unsigned guest) { return kHostOf[guest] >= 0; }
/// A host register that a C++ callee may overwrite.
constexpr bool is_caller_saved(int host) { return host >= 6 && host <= 11; }

inline Gp gp(int host, unsigned size) {
  switch (size) {
    case 1: return x86::gpb_lo(static_cast<u32>(host));
    case 2: return x86::gpw(static_cast<u32>(host));
    case 4: return x86::gpd(static_cast<u32>(host));
    default: return x86::gpq(static_cast<u32>(host));
  }
}
inline Gp resize(const Gp& r, unsigned size) { return gp(static_cast<int>(r.id()), size); }

/// A guest register's home in the register file.
inline Mem home(unsigned guest, unsigned size = 8, unsigned byte = 0) {
  return x86::ptr(kState, static_cast<i32>(guest * 8 + byte), size);
}
inline Mem slot(Slot s, unsigned size = 8, unsigned byte = 0) {
  constexpr i32 kSlots = static_cast<i32>(offsetof(EngineSlots, slot)) - static_cast<i32>(sizeof(EngineSlots));
  return x86::ptr(kState, kSlots + static_cast<i32>(s) * 8 + static_cast<i32>(byte), size);
}
/// Of EngineSlots, at a byte offset.
inline Mem engine_field(std::size_t offset, unsigned size = 8) {
  return x86::ptr(kState, static_cast<i32>(offset) - static_cast<i32>(sizeof(EngineSlots)), size);
}
inline Mem far_slot(FarSlot s, unsigned size = 8) { return engine_field(offsetof(EngineSlots, far) + s * 8, size); }
/// A field of CpuState at a byte offset.
inline Mem field(std::size_t offset, unsigned size = 8) {
  return x86::ptr(kState, static_cast<i32>(offset) - static_cast<i32>(offsetof(CpuState, gpr)), size);
}
/// A field of a segment register (Segment) at a byte offset.
inline Mem segment_field(SegReg seg, std::size_t offset, unsigned size) {
  return field(offsetof(CpuState, seg) + seg * sizeof(Segment) + offset, size);
}
static_assert(offsetof(CpuState, gpr) == 0);

}  // namespace callgate::jit::x64
