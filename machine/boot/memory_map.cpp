#include "machine/boot/memory_map.h"

#include <fmt/format.h>

namespace callgate::boot {

u64 MemoryMap::usable_bytes() const {
  u64 sum = 0;
  for (const MemoryRange& range : ranges) {
    if (range.type == RangeType::Usable) sum += range.end() - range.start;
  }
  return sum;
}

std::string size_in_words(u64 bytes) {
  constexpr u64 kKiB = 1024;
  constexpr u64 kMiB = kKiB * kKiB;
  // One digit of a fraction while it says something: 1.5 MiB, but 40 MiB.
  auto scaled = [](u64 value, u64 unit, const char* name) {
    const u64 tenths = static_cast<u64>((u128{value} * 10 + unit / 2) / unit);
    if (tenths % 10 == 0 || tenths >= 1000) return fmt::format("{} {}", (tenths + 5) / 10, name);
    return fmt::format("{}.{} {}", tenths / 10, tenths % 10, name);
  };
  if (bytes >= kMiB) return scaled(bytes, kMiB, "MiB");
  if (bytes >= kKiB) return scaled(bytes, kKiB, "KiB");
  return fmt::format("{} byte{}", bytes, bytes == 1 ? "" : "s");
}

}  // namespace callgate::boot
