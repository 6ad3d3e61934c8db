// Structures in the guest's RAM that it shares with its hypervisor, by physical address. What is not RAM is refused: neither
// registers nor ROM are read or written. Writes are noticed by whoever keeps code or translations of the page.
#pragma once

#include <cstring>
#include <type_traits>

#include "mmu/physical_map.h"

namespace callgate::paravirt {

/// All of [physical, physical + size) is RAM; size is at most a page.
inline bool is_ram(const PhysicalMap& memory, u64 physical, u64 size) {
  if (physical >= kPhysicalEnd || size > kPhysicalEnd - physical) return false;
  return memory.page(physical).frame != kNoFrame && memory.page(physical + size - 1).frame != kNoFrame;
}

template <class T>
bool read_ram(PhysicalMap& memory, u64 physical, T& value) {
  static_assert(std::has_unique_object_representations_v<T>);
  if (!is_ram(memory, physical, sizeof value)) return false;
  memory.read(physical, {reinterpret_cast<u8*>(&value), sizeof value});
  return true;
}

template <class T>
bool write_ram(PhysicalMap& memory, u64 physical, const T& value) {
  static_assert(std::has_unique_object_representations_v<T>);
  if (!is_ram(memory, physical, sizeof value)) return false;
  memory.write(physical, {reinterpret_cast<const u8*>(&value), sizeof value});
  return true;
}

}  // namespace callgate::paravirt
