// Control registers: the checks and the mode changes behind MOV to CR0, CR3, CR4 and EFER. The task switch and the
// loader use them too. Refuses to know how paging translates: it only fills PDPTEs. Ref: SDM 3A, Control Registers.
#pragma once

#include "cpu/cpu.h"

namespace callgate {

/// CR4 bits that the model has; the others raise #GP(0).
u64 supported_cr4(const CpuModel& model);
/// EFER bits that can be written.
constexpr u64 kEferWritable = kEferSce | kEferLme | kEferNxe;

// All of these raise #GP(0) with the reason, and then nothing has changed; on success the CPU is refreshed.
void write_cr0(Cpu& c, u64 value);
/// CR3 as MOV loads it: reserved bits, PCID's bit 63, PDPTEs in PAE mode.
void write_cr3(Cpu& c, u64 value);
void write_cr4(Cpu& c, u64 value);
void write_efer(Cpu& c, u64 value);

/// PAE paging: reads the four PDPTEs that CR3 `value` points to; false (and nothing loaded) for reserved bits.
bool load_pdptes(Cpu& c, u64 value);

}  // namespace callgate
