// A processor's state and how it came to its last faults, in words: what people who write kernels need most.
#pragma once

#include <string>

#include "machine/board.h"

namespace callgate {

/// Registers, segments, control registers, the chain of recent faults, and the instructions at their places.
std::string fault_report(Processor& processor);

/// The general registers, segments and control registers alone.
std::string describe_registers(const CpuState& s);

}  // namespace callgate
