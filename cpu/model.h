// The CPU model that a guest sees: what CPUID says. It claims what works and nothing else.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace callgate {

/// The vendor that CPUID shows, and whose rules hold where Intel and AMD differ (SYSCALL and SYSENTER by mode, SYSRET's
/// canonical check, null selectors, BSF of 0). "GenuineIntel", family 6, model 36h: an in-order core of a line that Linux
/// knows not to speculate (cpu_vuln_whitelist: NO_SPECULATION), which is the truth here. So no kernel pays for page-table
/// isolation, retpolines, VERW, IBPB or fences in its entry code. And Linux believes CPUID leaf 15h from Intel only: with
/// it neither TSC, nor local APIC timer, nor PIT are calibrated at boot.
constexpr bool kIntelVendor = true;
/// Family, model and stepping: CPUID leaf 1's EAX, and EDX after reset.
constexpr u32 kCpuidSignature = 0x00030661;

/// One CPUID answer.
struct CpuidLeaf {
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// The model: fixed when a machine is made, part of its identity (recordings and snapshots name it).
struct CpuModel {
  std::string name = "callgate";  ///< as given to --cpu
  unsigned cpu_count = 1;
};

/// CPUID for a leaf and sub-leaf as CPU `index` of the model answers it; state-dependent bits (OSXSAVE, APIC) are given.
CpuidLeaf cpuid(const CpuModel& model, unsigned index, u32 leaf, u32 subleaf, bool osxsave, u64 xcr0);

/// The model's features by their Linux names ("sse2", "x2apic", ...), for `callgate info` and --help.
std::vector<std::string> feature_names(const CpuModel& model);

/// True when the model has the feature that a row of the instruction table names ("" is always there).
bool has_feature(const CpuModel& model, const char* name);

}  // namespace callgate
