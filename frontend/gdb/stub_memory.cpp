// Memory as the debugger reads, writes and searches it: linear as the chosen processor maps it, or physical in
// Qqemu.PhyMemMode. What can be read of a range is given; registers of devices are not touched.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "frontend/gdb/hex.h"
#include "frontend/gdb/stub.h"

namespace callgate::gdb {

namespace {

constexpr unsigned kInvalid = 22, kFault = 14;
/// How many pages one search or checksum looks at.
constexpr u64 kMostPages = u64{16} << 20;
constexpr u64 kPage = 4096;
/// The largest region of memory that is told of in one answer.
constexpr u64 kMostRegion = u64{256} << 20;

}  // namespace

std::size_t Stub::read_memory(u64 address, std::span<u8> out) const {
  return physical_memory_ ? debugger_.read_physical(address, out) : debugger_.read_linear(general_cpu_, address, out);
}

std::size_t Stub::write_memory(u64 address, std::span<const u8> data) {
  // What is there already is no change: GDB writes back what it read.
  std::vector<u8> now(data.size());
  if (read_memory(address, now) == data.size() && std::equal(now.begin(), now.end(), data.begin())) return data.size();
  const std::size_t done =
      physical_memory_ ? debugger_.write_physical(address, data) : debugger_.write_linear(general_cpu_, address, data);
  if (done != 0) changed();
  return done;
}

void Stub::read_packet(Reader r, bool binary) {
  const auto address = r.number_then(",");
  const auto size = address ? r.number() : std::nullopt;
  if (!size) return error(kInvalid);
  std::vector<u8> bytes(std::min<u64>(*size, kMostPayload / 2 - 8));
  const std::size_t have = read_memory(*address, bytes);
  if (have == 0 && *size != 0) return error(kFault);
  bytes.resize(have);
  if (binary) reply("b" + std::string(bytes.begin(), bytes.end()));
  else reply(to_hex(bytes));
}

void Stub::write_packet(Reader r, bool binary) {
  const auto address = r.number_then(",");
  const auto size = address ? r.number_then(":") : std::nullopt;
  if (!size) return error(kInvalid);
  std::optional<std::vector<u8>> bytes;
  if (binary) bytes = std::vector<u8>(r.rest().begin(), r.rest().end());
  else bytes = from_hex(r.rest());
  if (!bytes || bytes->size() != *size) return error(kInvalid);
  if (write_memory(*address, *bytes) != bytes->size()) return error(kFault);
  ok();
}

// qSearch:memory:ADDRESS;LENGTH;PATTERN. What isn't mapped is passed over: a pattern is never found there.
void Stub::search(Reader r) {
  const auto address = r.number_then(";");
  const auto size = address ? r.number_then(";") : std::nullopt;
  const std::string_view pattern = r.rest();
  if (!size || pattern.empty()) return error(kInvalid);
  const u64 end = *address + std::min(*size, ~*address);
  std::vector<u8> window;  // a page and what a pattern that begins in the one before it may need
  u64 at = *address;
  for (u64 pages = 0; at < end; pages++) {
    if (pages == kMostPages) return error(kInvalid);
    std::vector<u8> page(std::min(kPage - at % kPage, end - at));
    const std::size_t have = read_memory(at, page);
    page.resize(have);
    window.insert(window.end(), page.begin(), page.end());
    const auto found = std::search(window.begin(), window.end(), pattern.begin(), pattern.end(),
                                   [](u8 a, char b) { return a == static_cast<u8>(b); });
    at += have;
    if (found != window.end()) {
      return reply(fmt::format("1,{:x}", at - static_cast<u64>(window.end() - found)));
    }
    const bool whole = at % kPage == 0 && have != 0;
    if (whole) {
      const std::size_t keep = std::min(window.size(), pattern.size() - 1);
      window.erase(window.begin(), window.end() - static_cast<std::ptrdiff_t>(keep));
      continue;
    }
    window.clear();
    const u64 hole = physical_memory_ ? 0 : debugger_.unmapped_bytes(general_cpu_, at);
    const u64 step = std::max<u64>(hole, kPage - at % kPage);
    if (end - at <= step) break;
    at += step;
  }
  reply("0");
}

// GDB's CRC-32: most significant bit first, all ones to begin with, not inverted. Ref: Debugging with GDB, "compare-sections".
void Stub::checksum(Reader r) {
  const auto address = r.number_then(",");
  const auto size = address ? r.number() : std::nullopt;
  if (!size || *size / kPage > kMostPages) return error(kInvalid);
  static const std::array<u32, 256> kTable = [] {
    std::array<u32, 256> table{};
    for (u32 i = 0; i < 256; i++) {
      u32 c = i << 24;
      for (unsigned bit = 0; bit < 8; bit++) c = c & 0x80000000 ? c << 1 ^ 0x04C11DB7 : c << 1;
      table[i] = c;
    }
    return table;
  }();
  u32 crc = 0xFFFFFFFF;
  u8 bytes[kPage];
  for (u64 done = 0; done < *size;) {
    const std::span<u8> part(bytes, std::min<u64>(kPage, *size - done));
    if (read_memory(*address + done, part) != part.size()) return error(kFault);
    for (const u8 b : part) crc = crc << 8 ^ kTable[(crc >> 24 ^ b) & 0xFF];
    done += part.size();
  }
  reply(fmt::format("C{:08x}", crc));
}

// LLDB asks what is mapped before it reads.
void Stub::memory_region(Reader r) {
  const auto address = r.number();
  if (!address) return error(kInvalid);
  const u64 hole = debugger_.unmapped_bytes(general_cpu_, *address);
  if (hole != 0) return reply(fmt::format("start:{:x};size:{:x};", *address, hole));
  // It asks on from where an answer ends, through all that is mapped.
  const u64 start = *address & ~(kPage - 1);
  u64 size = kPage;
  while (size < kMostRegion && start + size != 0 && debugger_.unmapped_bytes(general_cpu_, start + size) == 0) size += kPage;
  reply(fmt::format("start:{:x};size:{:x};permissions:rwx;", start, size));
}

}  // namespace callgate::gdb
