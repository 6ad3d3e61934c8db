// The soft TLB's slow path for whole loads and stores: any size, over page ends, to registers.
#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "mmu/register_access.h"
#include "mmu/soft_tlb.h"

namespace callgate {

namespace {
/// The part of an access of `size` bytes that lies in the page of its first byte.
unsigned in_first_page(u64 linear, unsigned size) {
  return static_cast<unsigned>(std::min<u64>(size, kPageSize - (linear & kPageMask)));
}
}  // namespace

bool SoftTlb::translate(AccessContext context, u64 linear, unsigned size, u64 wrap, AccessKind kind,
                        Translation (&parts)[2]) {
  VERIFY(size != 0 && size <= kPageSize, "an access of no bytes, or over three pages");
  parts[0] = fill(context, linear, kind);
  if (parts[0].fault) return false;
  const unsigned first = in_first_page(linear, size);
  if (first == size) return true;
  parts[1] = fill(context, (linear + first) & wrap, kind);
  return !parts[1].fault;
}

bool SoftTlb::read(AccessContext context, u64 linear, void* out, unsigned size, u64 wrap) {
  Translation parts[2];
  if (!translate(context, linear, size, wrap, AccessKind::Read, parts)) return false;
  u8* to = static_cast<u8*>(out);
  const unsigned first = in_first_page(linear, size);
  bus_read(parts[0].physical, {to, first});
  if (first != size) bus_read(parts[1].physical, {to + first, size - first});
  return true;
}

bool SoftTlb::write(AccessContext context, u64 linear, const void* data, unsigned size, u64 wrap) {
  Translation parts[2];
  if (!translate(context, linear, size, wrap, AccessKind::Write, parts)) return false;
  const u8* from = static_cast<const u8*>(data);
  const unsigned first = in_first_page(linear, size);
  bus_write(parts[0].physical, {from, first});
  if (first != size) bus_write(parts[1].physical, {from + first, size - first});
  return true;
}

// A table that no cached translation came through says nothing of these addresses either, which were translated through cached
// entries: unless nothing is cached, as tests have it.
bool SoftTlb::write_at_once(AccessContext context, u64 linear, const void* data, unsigned size) {
  VERIFY((linear & kPageMask) + size <= kPageSize, "stores in a row that leave their page");
  if (caching_ != TlbCaching::Full || context == AccessContext::Watched) return false;
  const Translation t = fill(context, linear, AccessKind::Write);
  if (t.fault || watched(linear, t.physical, AccessKind::Write)) return false;
  const u32 frame = memory_.page(t.physical).frame;
  const u32 offset = static_cast<u32>(t.physical & kPageMask);
  if (frame == kNoFrame || (local_ != nullptr && (t.physical & ~kPageMask) == local_page_)) return false;
  if ((memory_.ram().flags(frame) & kFrameTable) && memory_.tracker().entries_in_use(frame, offset, size)) return false;
  memory_.write_frame(frame, offset, data, size);
  return true;
}

bool SoftTlb::prepare_write(AccessContext context, u64 linear, unsigned size, u64 wrap) {
  Translation parts[2];
  return translate(context, linear, size, wrap, AccessKind::Write, parts);
}

void SoftTlb::bus_read(u64 physical, std::span<u8> out) {
  if (local_ == nullptr || (physical & ~kPageMask) != local_page_) return memory_.bus_read(physical, out);
  read_registers(*local_, physical & kPageMask, out);
}

void SoftTlb::bus_write(u64 physical, std::span<const u8> data) {
  if (local_ == nullptr || (physical & ~kPageMask) != local_page_) return memory_.bus_write(physical, data);
  write_registers(*local_, physical & kPageMask, data);
}

u64 SoftTlb::bus_read(u64 physical, unsigned size) {
  u64 value = 0;
  bus_read(physical, {reinterpret_cast<u8*>(&value), size});
  return value;
}

void SoftTlb::bus_write(u64 physical, unsigned size, u64 value) {
  bus_write(physical, {reinterpret_cast<const u8*>(&value), size});
}

}  // namespace callgate
