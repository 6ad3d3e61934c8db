// The bus: how accesses of any size and place meet RAM, ROM, registers and holes.
#include <algorithm>
#include <cstring>

#include "mmu/physical_map.h"
#include "mmu/register_access.h"

namespace callgate {

void PhysicalMap::read_bytes(u64 physical, std::span<u8> out, bool registers) {
  while (!out.empty()) {
    if (physical >= kPhysicalEnd) {  // nothing from here on; the address does not wrap to 0
      std::memset(out.data(), 0xFF, out.size());
      return;
    }
    // A copy: the target may change the map.
    const Piece p = find(physical);
    u64 n = std::min<u64>(out.size(), p.end - physical);
    const u64 at = physical - p.base;
    if (p.kind == Kind::Ram) {
      const u64 offset = p.offset + at;
      n = std::min(n, kPageSize - (offset & kPageMask));
      std::memcpy(out.data(), ram_->frame(static_cast<u32>(offset >> kPageShift)) + (offset & kPageMask), n);
    } else if (p.kind == Kind::Rom) {
      std::memcpy(out.data(), p.rom + at, n);
    } else if (p.kind == Kind::Mmio && registers) {
      read_registers(*p.target, p.offset + at, out.first(n));
    } else {
      std::memset(out.data(), 0xFF, n);
    }
    out = out.subspan(n);
    physical += n;
  }
}

void PhysicalMap::write_bytes(u64 physical, std::span<const u8> data, bool registers) {
  while (!data.empty() && physical < kPhysicalEnd) {
    const Piece p = find(physical);
    u64 n = std::min<u64>(data.size(), p.end - physical);
    if (p.kind == Kind::Ram) {
      const u64 offset = p.offset + (physical - p.base);
      n = std::min(n, kPageSize - (offset & kPageMask));
      write_frame(static_cast<u32>(offset >> kPageShift), static_cast<u32>(offset & kPageMask), data.data(),
                  static_cast<u32>(n));
    } else if (p.kind == Kind::Mmio && registers) {
      write_registers(*p.target, p.offset + (physical - p.base), data.first(n));
    }
    data = data.subspan(n);
    physical += n;
  }
}

u64 PhysicalMap::bus_read(u64 physical, unsigned size) {
  u64 value = 0;
  read_bytes(physical, {reinterpret_cast<u8*>(&value), size}, true);
  return value;
}

void PhysicalMap::bus_write(u64 physical, unsigned size, u64 value) {
  write_bytes(physical, {reinterpret_cast<const u8*>(&value), size}, true);
}

void PhysicalMap::bus_read(u64 physical, std::span<u8> out) { read_bytes(physical, out, true); }
void PhysicalMap::bus_write(u64 physical, std::span<const u8> data) { write_bytes(physical, data, true); }
void PhysicalMap::read(u64 physical, std::span<u8> out) { read_bytes(physical, out, false); }
void PhysicalMap::write(u64 physical, std::span<const u8> data) { write_bytes(physical, data, false); }

}  // namespace callgate
