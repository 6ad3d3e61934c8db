// Which paravirtual interfaces a machine has, as a set and as words. Part of a machine's configuration.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace callgate::paravirt {

/// Bits of a set. In the order in which their CPUID blocks come: guests look for Hyper-V and VMware at 0x40000000 only, for the
/// others at every 0x100 from there.
enum Bit : u32 { kHyperv = 1, kVmware = 2, kKvm = 4, kCallgate = 8 };
using Set = u32;

/// "kvm,callgate" or "none" as a set. Error: BadArgument, with the names that there are.
Result<Set> parse(std::string_view text);
/// The set in words that parse() takes.
std::string text_of(Set set);
/// All interfaces of this build.
Set available();

}  // namespace callgate::paravirt
