// Which guest memory is still free while a plan is made: hands out places, never twice.
#pragma once

#include <optional>
#include <vector>

#include "machine/boot/memory_map.h"

namespace callgate::boot {

class Placer {
 public:
  /// Starts with the usable ranges less everything that is not usable, and less page 0 (the real-mode vectors and the
  /// BIOS data area, which kernels look into).
  explicit Placer(const MemoryMap& map);

  /// True when [start, start + size) is RAM, taken or not.
  bool is_ram(u64 start, u64 size) const;
  /// True when [start, start + size) is RAM and wholly free.
  bool is_free(u64 start, u64 size) const;
  /// Marks [start, start + size) as taken; parts that are taken or no RAM are left alone.
  void take(u64 start, u64 size);

  /// Takes the lowest free place of `size` bytes within [from, limit). `align` is a power of two.
  std::optional<u64> take_low(u64 size, u64 align, u64 from, u64 limit);
  /// Takes the highest free place of `size` bytes below `limit`. `align` is a power of two.
  std::optional<u64> take_high(u64 size, u64 align, u64 limit);

 private:
  struct Interval {
    u64 start, end;
  };
  static void subtract(std::vector<Interval>& from, Interval what);
  static bool within(const std::vector<Interval>& intervals, u64 start, u64 size);

  std::vector<Interval> ram_;   // sorted, not adjacent
  std::vector<Interval> free_;  // sorted
};

}  // namespace callgate::boot
