// Faults in words.
#pragma once

#include <string>

#include "cpu/cpu.h"

namespace callgate {

/// "#GP(0x28) at 0x10:0xffffffff81000000 (count 4711): data segment 0x28 has DPL 0 < CPL 3"
std::string describe(const FaultRecord& record);

}  // namespace callgate
