#include "mmu/register_access.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace callgate {

namespace {
/// The largest naturally aligned access of 1, 2, 4 or 8 bytes at `offset` that is no longer than `left`.
unsigned natural_piece(u64 offset, u64 left) {
  const u64 aligned = offset == 0 ? 8 : std::min<u64>(u64{1} << std::countr_zero(offset), 8);
  return static_cast<unsigned>(std::min<u64>(aligned, std::bit_floor(left)));
}
}  // namespace

void read_registers(BusTarget& target, u64 offset, std::span<u8> out) {
  while (!out.empty()) {
    const unsigned n = natural_piece(offset, out.size());
    const u64 value = target.read(offset, n);
    std::memcpy(out.data(), &value, n);
    out = out.subspan(n);
    offset += n;
  }
}

void write_registers(BusTarget& target, u64 offset, std::span<const u8> data) {
  while (!data.empty()) {
    const unsigned n = natural_piece(offset, data.size());
    u64 value = 0;
    std::memcpy(&value, data.data(), n);
    target.write(offset, n, value);
    data = data.subspan(n);
    offset += n;
  }
}

}  // namespace callgate
