// The hardware task switch of protected mode. Ref: SDM 3A, chapter 7 "Task Management".
#pragma once

#include "cpu/system/segments.h"

namespace callgate {

/// What caused a task switch: it decides busy bits, NT and the back link.
enum class TaskSwitch : u8 { Jump, Call, Iret, Event };

/// Switches to the task of TSS descriptor `tss`. The caller has checked that the selector may be used, the descriptor's
/// type with its busy bit, and that it's present. `return_eip` is saved in the old task. What is wrong with the TSSs
/// themselves is raised in the old task; what is wrong with the new task's segments in the new one, at its EIP.
/// `error_code` (of an event through a task gate) is pushed on the new task's stack.
void switch_task(Cpu& c, const Descriptor& tss, TaskSwitch how, u64 return_eip, u32 ext = 0,
                 std::optional<u32> error_code = std::nullopt);

/// The TSS behind a task gate, or named by a far JMP or CALL: checked to be available and present. `vector` is #GP.
Descriptor fetch_available_tss(Cpu& c, u16 selector, u32 ext = 0);

/// The task switch of IRET with NT set: to the back link's task.
void return_to_previous_task(Cpu& c, u64 return_eip);

}  // namespace callgate
