// Where a Linux kernel is, for symbols: KASLR moves it by a multiple of 2 MiB that this finds.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/gdb/stub.h"

namespace callgate::gdb {

namespace {

// Linux, Documentation/arch/x86/x86_64/mm.rst: the kernel's text mapping; CONFIG_PHYSICAL_START is 16 MiB.
constexpr u64 kTextMapping = 0xFFFF'FFFF'8000'0000, kTextMappingEnd = 0xFFFF'FFFF'C000'0000;
constexpr u64 kLinkedAt = 0xFFFF'FFFF'8100'0000;
constexpr u64 kAlignment = u64{2} << 20;
constexpr u64 kMostImage = u64{128} << 20;
constexpr std::string_view kBanner = "Linux version ";

}  // namespace

std::string Stub::find_kernel() const {
  const unsigned cpu = general_cpu_;
  if (!(machine_.cpu_state(cpu).msr.efer & kEferLma))
    return "the processor is not in long mode yet: a 64-bit Linux is not where it will be. A physical breakpoint (monitor "
           "pbreak) works before that\n";
  u64 base = 0;
  for (u64 at = kTextMapping; at < kTextMappingEnd && base == 0; at += kAlignment)
    if (debugger_.unmapped_bytes(cpu, at) == 0) base = at;
  if (base == 0) return "nothing is mapped where Linux runs: its kernel is not in this address space (yet)\n";

  // The banner tells that it is Linux, and which.
  std::string version;
  std::vector<u8> page(4096 + 256);
  for (u64 at = base; at < base + kMostImage && version.empty(); at += 4096) {
    const std::size_t have = debugger_.read_linear(cpu, at, page);
    for (auto from = page.begin(); version.empty();) {
      const auto end = page.begin() + static_cast<std::ptrdiff_t>(have);
      const auto found = std::search(from, end, kBanner.begin(), kBanner.end(), [](u8 a, char b) { return a == static_cast<u8>(b); });
      if (found == end || found - page.begin() >= 4096) break;
      const auto digit = found + static_cast<std::ptrdiff_t>(kBanner.size());
      if (digit != end && *digit >= '0' && *digit <= '9')
        for (auto c = found; c != end && *c >= 32 && *c < 127; ++c) version += static_cast<char>(*c);
      from = found + 1;
    }
  }
  if (version.empty())
    return fmt::format("something is mapped at {:#x}, but Linux's banner is not in it: this may be a user's address space "
                       "with few of the kernel's pages; try again in the kernel\n",
                       base);
  const i64 offset = static_cast<i64>(base - kLinkedAt);
  return fmt::format("{}\nits text begins at {:#x}: KASLR offset {}{:#x}\ntype: symbol-file -o {}{:#x} vmlinux\n", version, base,
                     offset < 0 ? "-" : "", static_cast<u64>(offset < 0 ? -offset : offset), offset < 0 ? "-" : "",
                     static_cast<u64>(offset < 0 ? -offset : offset));
}

}  // namespace callgate::gdb
