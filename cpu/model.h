// The CPU model that a guest sees: what CPUID says. It claims what works and nothing else.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace callgate {

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
