// What a PC's firmware leaves for real-mode code and for kernels that look into the first 1 MiB: interrupt vectors, the
// BIOS data area and the reset entry. Data and a few bytes of code; no service is offered behind the vectors.
#pragma once

#include "mmu/physical_map.h"

namespace callgate {

/// Writes them. `base_memory` is where RAM below 640 KiB ends, in bytes.
void write_bios_area(PhysicalMap& memory, u64 base_memory);

}  // namespace callgate
