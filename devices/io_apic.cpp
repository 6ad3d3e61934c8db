#include "devices/io_apic.h"

#include <utility>

#include "base/bits.h"

namespace callgate {
namespace {

// 82093AA, I/O APIC Registers; the EOI register is the ICH9's.
constexpr u64 kSelect = 0x00, kWindow = 0x10, kEoi = 0x40;
constexpr u8 kId = 0, kVersion = 1, kArbitration = 2, kFirstEntry = 0x10;
constexpr u32 kVersionValue = 0x20 | (IoApic::kInputs - 1) << 16;

// 82093AA, I/O Redirection Table Registers.
constexpr u64 kActiveLow = 1u << 13, kRemoteIrr = 1u << 14, kLevel = 1u << 15, kMasked = 1u << 16;
constexpr u64 kEntryWritable = 0xFF00'0000'0001'AFFF;

DeliveryMode mode_of(u64 entry) { return static_cast<DeliveryMode>(bits(entry, 10, 8)); }

/// Level-triggered in effect: the other modes have no EOI and are edges whatever bit 15 says.
bool is_level(u64 entry) {
  return (entry & kLevel) && (mode_of(entry) == DeliveryMode::Fixed || mode_of(entry) == DeliveryMode::LowestPriority);
}

}  // namespace

template <std::size_t... N>
IoApic::IoApic(ApicBus& bus, Log& log, u32 active_low, std::index_sequence<N...>)
    : bus_(bus), log_(log), active_low_(active_low), pins_{Pin(*this, N)...} {
  reset();
  bus_.attach(*this);
}

IoApic::IoApic(ApicBus& bus, Log& log, u32 active_low)
    : IoApic(bus, log, active_low, std::make_index_sequence<kInputs>()) {}

void IoApic::reset() {
  State fresh;
  fresh.asserted = s_.asserted;
  for (u64& entry : fresh.entry) entry = kMasked;
  s_ = fresh;
}

/// The input as its entry sees it: the voltage on the wire against the programmed polarity.
bool IoApic::active(unsigned n) const {
  const bool high = bit(s_.asserted, n) != bit(active_low_, n);
  return high != ((s_.entry[n] & kActiveLow) != 0);
}

bool IoApic::send(unsigned n) {
  const u64 entry = s_.entry[n];
  ApicMessage m;
  const u32 destination = static_cast<u32>(entry >> 56);
  m.destination = destination == 0xFF ? kApicBroadcast : destination;
  m.logical = bit(entry, 11);
  m.mode = mode_of(entry);
  m.vector = static_cast<u8>(entry);
  m.level_triggered = is_level(entry);
  const bool taken = bus_.deliver(m);
  if (!taken)
    log_.line(LogChannel::Interrupts, "ioapic: input {} (vector {:#x}, destination {:#x}): nobody took it", n, m.vector,
              destination);
  return taken;
}

void IoApic::line_changed(unsigned n, bool level) {
  const bool before = active(n);
  s_.asserted = (s_.asserted & ~(1u << n)) | static_cast<u32>(level) << n;
  if (is_level(s_.entry[n]))
    retry_level(n);
  else if (active(n) && !before && !(s_.entry[n] & kMasked))
    send(n);  // An edge on a masked input is lost (82093AA, Interrupt Mask).
}

/// A level-triggered input is sent once, and again after the EOI while it stays active.
void IoApic::retry_level(unsigned n) {
  u64& entry = s_.entry[n];
  if (!is_level(entry) || (entry & (kMasked | kRemoteIrr)) || !active(n)) return;
  if (send(n)) entry |= kRemoteIrr;
}

void IoApic::retry() {
  for (unsigned n = 0; n < kInputs; ++n) retry_level(n);
}

void IoApic::end_of_interrupt(u8 vector) {
  for (unsigned n = 0; n < kInputs; ++n) {
    u64& entry = s_.entry[n];
    if (static_cast<u8>(entry) != vector || !(entry & kRemoteIrr)) continue;
    entry &= ~kRemoteIrr;
    retry_level(n);
  }
}

u32 IoApic::read_register(u8 index) const {
  if (index >= kFirstEntry && index < kFirstEntry + 2 * kInputs) {
    const u64 entry = s_.entry[(index - kFirstEntry) / 2];
    return static_cast<u32>(index & 1 ? entry >> 32 : entry);
  }
  switch (index) {
    case kId:
    case kArbitration:  // Loaded from the id; there is no serial bus to arbitrate for.
      return s_.id;
    case kVersion:
      return kVersionValue;
    default:
      return 0;
  }
}

void IoApic::write_register(u8 index, u32 value) {
  if (index == kId) {
    s_.id = value & 0x0F00'0000;
    return;
  }
  if (index < kFirstEntry || index >= kFirstEntry + 2 * kInputs) return;
  const unsigned n = (index - kFirstEntry) / 2u;
  u64& entry = s_.entry[n];
  const u64 merged = index & 1 ? (entry & 0xFFFF'FFFF) | u64{value} << 32 : (entry & ~u64{0xFFFF'FFFF}) | value;
  entry = (merged & kEntryWritable) | (entry & kRemoteIrr);
  if (!(entry & kLevel)) entry &= ~kRemoteIrr;
  retry_level(n);
}

u64 IoApic::read(u64 offset, unsigned size) {
  u64 value = 0;
  if ((offset & ~u64{3}) == kSelect)
    value = s_.select;
  else if ((offset & ~u64{3}) == kWindow)
    value = read_register(s_.select);
  return (value >> (8 * (offset & 3))) & low_mask(size * 8);
}

void IoApic::write(u64 offset, unsigned size, u64 value) {
  if (offset == kSelect) {
    s_.select = static_cast<u8>(value);
  } else if (offset == kWindow && size >= 4) {
    write_register(s_.select, static_cast<u32>(value));
  } else if (offset == kEoi) {
    end_of_interrupt(static_cast<u8>(value));
  } else {
    log_.line(LogChannel::Devices, "ioapic: write of {} bytes at {:#x} ignored", size, offset);
  }
}

void IoApic::sync(StateIo& io) {
  io.section("io_apic");
  io.fields(s_.select, s_.id, s_.asserted, s_.entry);
  if (!io.loading()) return;
  io.limit(s_.id, u32{0x0F00'0000}, "io_apic: reserved bits set in the id");
  io.limit(s_.asserted, u32{0xFF'FFFF}, "io_apic: more inputs than there are");
  for (u64& entry : s_.entry)
    if (entry & ~(kEntryWritable | kRemoteIrr)) {
      io.damaged("io_apic: reserved bits set in a redirection entry");
      entry = kMasked;
    }
}

}  // namespace callgate
