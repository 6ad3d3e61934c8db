// The system instructions whose usual case emitted code does by itself: on the way into a kernel, inside it, and out again.
// Recognised by their rows, which have no IR. Emits nothing.
#pragma once

#include "cpu/ir/ir.h"

namespace callgate::jit::x64 {

enum class SystemForm : u8 { None, Syscall, Sysret, Swapgs, Cli, Sti, Clac, Stac, Rdtsc, Rdtscp, ReadSelector, Iretq, PortCall };

/// The form of an instruction that has no ops; None: its handler executes it.
SystemForm system_form(const ir::Mode& mode, const Insn& insn);

}  // namespace callgate::jit::x64
