// Debug registers: what the engine's loop and the memory path must ask. Knows DR0 to DR7 and the trap bookkeeping;
// refuses to know who executes. Ref: SDM 3B, Debug Registers, Debug Exceptions.
#pragma once

#include "cpu/cpu.h"

namespace callgate {

// DR6.
constexpr u32 kDr6Bd = 1u << 13;       ///< a debug register was accessed while DR7.GD was set
constexpr u32 kDr6Bs = 1u << 14;       ///< single step
constexpr u32 kDr6Bt = 1u << 15;       ///< task switch with the T bit
constexpr u32 kDr6Fixed = 0xFFFF0FF0;  ///< bits that read as ones
// DR7.
constexpr u32 kDr7Gd = 1u << 13;
constexpr u32 kDr7Fixed = 0x400;

/// What a breakpoint waits for: DR7's R/W field.
enum class BreakOn : u8 { Execute = 0, Write = 1, Io = 2, ReadWrite = 3 };

/// True when DR7 enables any breakpoint of this kind (ReadWrite: any data breakpoint). Cheap.
bool breakpoints_enabled(const Cpu& c, BreakOn kind);

/// Before an instruction at `linear` (CS.base + RIP) is executed: true when a code breakpoint matches and RF is clear.
/// Raise #DB then (with these DR6 bits, by `raise_debug_fault`) instead of executing. The loop clears RF after each
/// instruction that completes (but the ones that load it: IRET, POPF to RF never, task switches).
bool code_breakpoint_hit(const Cpu& c, u64 linear, u32& dr6_bits);

/// Raises the fault-like #DB of a code breakpoint or of DR7.GD: sets DR6 and throws. Nothing else is committed.
[[noreturn]] void raise_debug_fault(Cpu& c, u32 dr6_bits, const char* reason);

/// After a data access was checked and will be done: pends a debug trap for each data breakpoint that it overlaps.
/// Call it for every access of an instruction, implicit ones included; execute accesses are ignored.
void check_data_breakpoints(Cpu& c, u64 linear, unsigned size, Access access);

/// The same for ports; needs CR4.DE.
void check_io_breakpoints(Cpu& c, u16 port, unsigned size);

/// IA32_DEBUGCTL.BTF: single-step traps come after taken branches only.
constexpr u64 kDebugctlBtf = 2;
/// After an instruction that began with TF set completed: true when it ends in a single-step trap.
bool single_step_traps(const Cpu& c, const Insn& i);

/// Delivering #DB: moves the bits of a pending trap into DR6 and clears DR7.GD and BTF. BS is in the bits when it
/// stepped.
void take_debug_trap(Cpu& c, u32 dr6_bits);

}  // namespace callgate
