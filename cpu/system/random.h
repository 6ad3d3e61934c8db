// Where a processor's sequence of RDRAND and RDSEED begins.
#pragma once

#include "base/types.h"

namespace callgate {

/// The state at power-on of the generator of processor `index` (CpuState::random).
u64 first_random_place(unsigned index);

}  // namespace callgate
