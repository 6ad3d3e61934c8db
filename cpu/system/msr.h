// Model-specific registers by number: for RDMSR and WRMSR, and for a debugger. Ref: SDM 4, Model-Specific Registers.
#pragma once

#include "cpu/cpu.h"

namespace callgate {

constexpr u64 kMiscEnableFastStrings = 1, kMiscEnableMonitor = 1u << 18;
constexpr u64 kXcr0X87 = 1, kXcr0Sse = 2, kXcr0Avx = 4;
constexpr u32 kCpuid1EdxApic = 1u << 9, kCpuid1EcxMonitor = 1u << 3, kCpuid1EcxOsxsave = 1u << 27;

/// XCR0 bits that the model has (0: no XSAVE).
u64 supported_xcr0(const CpuModel& model);

/// Reads a register; raises #GP(0) for one that does not exist.
u64 read_msr(Cpu& c, u32 index);
/// Writes a register; raises #GP(0) for one that does not exist, is read-only, or for a value it does not take.
void write_msr(Cpu& c, u32 index, u64 value);

/// RDTSC's value now.
u64 time_stamp_counter(Cpu& c);
/// IA32_APIC_BASE's global enable: CPUID shows the APIC only then.
bool apic_enabled(Cpu& c);

}  // namespace callgate
