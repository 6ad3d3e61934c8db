// Memory in bulk. An instruction of the guest's would move as much between two interrupts as one step of REP: a call moves up to
// abi::kMostBytes, and then says kAgain.
#include <algorithm>
#include <array>

#include "paravirt/port_call.h"

namespace callgate::paravirt::calls {

using namespace abi;

namespace {

constexpr u8 kZeros[kPageSize] = {};

/// Writes `count` bytes of the pattern page by page.
Answer write_pattern(PortCall& call, u64 to, const u8* page, u64 count) {
  CallerMemory memory = call.memory();
  const u64 now = std::min<u64>(count, kMostBytes);
  for (u64 done = 0; done < now;) {
    const u64 n = std::min(now - done, memory.to_page_end(to + done));
    const u64 written = memory.write(to + done, page, n);
    done += written;
    if (written < n) return {kFault, done};
  }
  return {now < count ? kAgain : kOk, now};
}

/// CRC-32C, the polynomial of SSE4.2's CRC32, by bytes.
constexpr std::array<u32, 256> make_crc_table() {
  constexpr u32 kCastagnoli = 0x82F63B78;
  std::array<u32, 256> table{};
  for (u32 n = 0; n < 256; n++) {
    u32 v = n;
    for (unsigned bit = 0; bit < 8; bit++) v = v & 1 ? v >> 1 ^ kCastagnoli : v >> 1;
    table[n] = v;
  }
  return table;
}
constexpr std::array<u32, 256> kCrcTable = make_crc_table();

}  // namespace

// COPY(to, from, count)
Answer copy(PortCall& call) {
  const u64 to = call.arg[0], from = call.arg[1], count = call.arg[2];
  if (count > kMostRange) return {kTooBig, kMostRange};
  if (count != 0 && to - from < count) return {kInvalid, 0};
  if (count != 0 && from - to < count) return {kInvalid, 1};
  CallerMemory memory = call.memory();
  const u64 now = std::min<u64>(count, kMostBytes);
  u8 piece[kPageSize];
  for (u64 done = 0; done < now;) {
    const u64 n = std::min({now - done, memory.to_page_end(to + done), memory.to_page_end(from + done)});
    const u64 got = memory.read(from + done, piece, n);
    const u64 written = memory.write(to + done, piece, got);
    done += written;
    if (written < n) return {kFault, done};
  }
  return {now < count ? kAgain : kOk, now};
}

// FILL(to, byte, count)
Answer fill(PortCall& call) {
  const u64 to = call.arg[0], byte = call.arg[1], count = call.arg[2];
  if (byte > 0xFF) return {kInvalid, 1};
  if (count > kMostRange) return {kTooBig, kMostRange};
  u8 page[kPageSize];
  std::fill(std::begin(page), std::end(page), static_cast<u8>(byte));
  return write_pattern(call, to, page, count);
}

// CLEAR_PAGES(to, pages)
Answer clear_pages(PortCall& call) {
  const u64 to = call.arg[0], pages = call.arg[1];
  if (to & kPageMask) return {kInvalid, 0};
  if (pages > kMostRange / kPageSize) return {kTooBig, kMostRange / kPageSize};
  const Answer answer = write_pattern(call, to, kZeros, pages * kPageSize);
  return {answer.status, answer.value / kPageSize};
}

// CHECKSUM(bytes, count, seed): CRC-32C as the instruction CRC32 goes on with it; no inversions.
Answer checksum(PortCall& call) {
  const u64 from = call.arg[0], count = call.arg[1];
  if (count > kMostBytes) return {kTooBig, kMostBytes};
  CallerMemory memory = call.memory();
  u32 crc = static_cast<u32>(call.arg[2]);
  u8 piece[kPageSize];
  for (u64 done = 0; done < count;) {
    const u64 n = std::min(count - done, memory.to_page_end(from + done));
    const u64 got = memory.read(from + done, piece, n);
    if (got < n) return {kFault, done + got};
    for (u64 i = 0; i < n; i++) crc = crc >> 8 ^ kCrcTable[(crc ^ piece[i]) & 0xFF];
    done += n;
  }
  return {kOk, crc};
}

}  // namespace callgate::paravirt::calls
