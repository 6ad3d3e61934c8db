// How an access of any length and alignment reaches a device's registers: in ascending, naturally aligned pieces.
#pragma once

#include <span>

#include "base/seam.h"

namespace callgate {

/// Reads `out.size()` bytes at `offset`.
void read_registers(BusTarget& target, u64 offset, std::span<u8> out);
/// Writes `data` at `offset`.
void write_registers(BusTarget& target, u64 offset, std::span<const u8> data);

}  // namespace callgate
