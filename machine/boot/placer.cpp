#include "machine/boot/placer.h"

#include <algorithm>

namespace callgate::boot {

void Placer::subtract(std::vector<Interval>& from, Interval what) {
  if (what.start >= what.end) return;
  std::vector<Interval> left;
  left.reserve(from.size() + 1);
  for (const Interval& i : from) {
    if (what.end <= i.start || i.end <= what.start) {
      left.push_back(i);
      continue;
    }
    if (i.start < what.start) left.push_back({i.start, what.start});
    if (what.end < i.end) left.push_back({what.end, i.end});
  }
  from = std::move(left);
}

bool Placer::within(const std::vector<Interval>& intervals, u64 start, u64 size) {
  return std::any_of(intervals.begin(), intervals.end(),
                     [&](const Interval& i) { return i.start <= start && start <= i.end && size <= i.end - start; });
}

Placer::Placer(const MemoryMap& map) {
  std::vector<Interval> usable;
  for (const MemoryRange& range : map.ranges) {
    if (range.type == RangeType::Usable && range.size != 0) usable.push_back({range.start, range.end()});
  }
  std::sort(usable.begin(), usable.end(), [](const Interval& a, const Interval& b) { return a.start < b.start; });
  for (const Interval& i : usable) {
    if (!ram_.empty() && i.start <= ram_.back().end) {
      ram_.back().end = std::max(ram_.back().end, i.end);
    } else {
      ram_.push_back(i);
    }
  }
  for (const MemoryRange& range : map.ranges) {
    if (range.type != RangeType::Usable) subtract(ram_, {range.start, range.end()});
  }
  free_ = ram_;
  subtract(free_, {0, kPageSize});
}

bool Placer::is_ram(u64 start, u64 size) const { return within(ram_, start, size); }
bool Placer::is_free(u64 start, u64 size) const { return within(free_, start, size); }

void Placer::take(u64 start, u64 size) { subtract(free_, {start, size > ~u64{0} - start ? ~u64{0} : start + size}); }

std::optional<u64> Placer::take_low(u64 size, u64 align, u64 from, u64 limit) {
  for (const Interval& i : free_) {
    const u64 start = std::max(i.start, from);
    if (start > ~u64{0} - (align - 1)) continue;
    const u64 at = (start + align - 1) & ~(align - 1);
    const u64 end = std::min(i.end, limit);
    if (at > end || size > end - at) continue;
    take(at, size);
    return at;
  }
  return std::nullopt;
}

std::optional<u64> Placer::take_high(u64 size, u64 align, u64 limit) {
  for (auto i = free_.rbegin(); i != free_.rend(); ++i) {
    const u64 end = std::min(i->end, limit);
    if (end < i->start || size > end - i->start) continue;
    const u64 at = (end - size) & ~(align - 1);
    if (at < i->start) continue;
    take(at, size);
    return at;
  }
  return std::nullopt;
}

}  // namespace callgate::boot
