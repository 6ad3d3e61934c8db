#include "devices/pci_device.h"

#include <algorithm>
#include <bit>

#include "base/bits.h"
#include "base/verify.h"

namespace callgate {
namespace {

// PCI 3.0, 6.1 Configuration Space Organization.
constexpr unsigned kCommand = 0x04, kStatus = 0x06, kBar0 = 0x10, kCapabilities = 0x34, kInterruptLine = 0x3C,
                   kInterruptPin = 0x3D;
constexpr u16 kIoSpace = 1, kMemorySpace = 2, kIntxDisable = 1u << 10;
constexpr u16 kCommandWritable = 0x0547;  // I/O, memory, master, parity, SERR#, INTx disable
constexpr u8 kIntxStatus = 1u << 3, kHasCapabilities = 1u << 4;

}  // namespace

PciDevice::PciDevice(const PciIdentity& id) {
  store_as<u16>(&initial_[0x00], id.vendor);
  store_as<u16>(&initial_[0x02], id.device);
  initial_[0x08] = id.revision;
  for (unsigned i = 0; i < 3; ++i) initial_[0x09 + i] = static_cast<u8>(id.class_code >> (8 * i));
  store_as<u16>(&initial_[0x2C], id.subsystem_vendor);
  store_as<u16>(&initial_[0x2E], id.subsystem);
  initial_[kInterruptPin] = id.interrupt_pin;
  store_as<u16>(&writable_[kCommand], kCommandWritable);
  store_as<u16>(&clear_by_one_[kStatus], 0xF900);
  writable_[0x0C] = writable_[0x0D] = 0xFF;  // cache line size, latency timer
  if (id.interrupt_pin) writable_[kInterruptLine] = 0xFF;
  config_ = initial_;
}

PciDevice::~PciDevice() = default;

void PciDevice::define(unsigned offset, u8 value, u8 writable) {
  VERIFY(offset < 256, "configuration space has 256 bytes");
  config_[offset] = initial_[offset] = value;
  writable_[offset] = writable;
}

void PciDevice::add_bar(unsigned n, PciSpace space, u64 size, BusTarget& target, bool wide, bool prefetchable) {
  VERIFY(n + wide < 6 && !bars_[n].target, "six base address registers, each used once");
  VERIFY(std::has_single_bit(size) && size >= (space == PciSpace::Io ? 4 : 16), "a BAR's size is a power of two");
  bars_[n] = {&target, space, wide, size};
  u64 mask = ~(size - 1);
  const u8 type = space == PciSpace::Io ? 1 : static_cast<u8>((wide ? 4 : 0) | (prefetchable ? 8 : 0));
  if (space == PciSpace::Io) mask &= 0xFFFF;
  const unsigned at = kBar0 + 4 * n;
  for (unsigned i = 0; i < (wide ? 8u : 4u); ++i) define(at + i, i == 0 ? type : 0, static_cast<u8>(mask >> (8 * i)));
}

u8 PciDevice::add_capability(u8 id, std::span<const u8> body, std::span<const u8> writable) {
  const unsigned at = capability_end_;
  VERIFY(body.size() == writable.size() && at + 2 + body.size() <= 256, "capabilities fit into configuration space");
  define(at, id, 0);
  define(at + 1, 0, 0);
  for (unsigned i = 0; i < body.size(); ++i) define(at + 2 + i, body[i], writable[i]);
  define(last_capability_ ? last_capability_ + 1u : kCapabilities, static_cast<u8>(at), 0);
  initial_[kStatus] |= kHasCapabilities;
  config_[kStatus] |= kHasCapabilities;
  last_capability_ = static_cast<u8>(at);
  capability_end_ = static_cast<unsigned>(at + 2 + body.size() + 3) & ~3u;
  return last_capability_;
}

void PciDevice::connect(PciDecoder& decoder, IrqLine& intx) {
  decoder_ = &decoder;
  intx_line_ = &intx;
  update_decoding();
  update_intx();
}

void PciDevice::reset() {
  const u8 header = config_[0x0E];
  config_ = initial_;
  config_[0x0E] = header;
  intx_ = false;
  update_intx();
  update_decoding();
}

u32 PciDevice::config_read(unsigned offset, unsigned size) const {
  u32 value = 0;
  for (unsigned i = 0; i < size; ++i) value |= u32{config_[(offset + i) & 0xFF]} << (8 * i);
  return value;
}

void PciDevice::config_write(unsigned offset, unsigned size, u32 value) {
  for (unsigned i = 0; i < size; ++i) {
    const unsigned at = (offset + i) & 0xFF;
    const u8 byte = static_cast<u8>(value >> (8 * i));
    config_[at] = static_cast<u8>((config_[at] & ~writable_[at]) | (byte & writable_[at]));
    config_[at] &= static_cast<u8>(~(byte & clear_by_one_[at]));
  }
  update_decoding();
  update_intx();
  config_written(offset, size);
}

void PciDevice::config_written(unsigned, unsigned) {}

u64 PciDevice::bar_address(unsigned n) const {
  const u8* at = &config_[kBar0 + 4 * n];
  const u64 value = bars_[n].wide ? load_as<u64>(at) : load_as<u32>(at);
  return value & ~(bars_[n].size - 1) & (bars_[n].space == PciSpace::Io ? ~u64{3} : ~u64{15});
}

/// Maps what is newly decoded and unmaps what no longer is.
void PciDevice::update_decoding() {
  if (!decoder_) return;
  const u16 command = load_as<u16>(&config_[kCommand]);
  std::array<std::optional<u64>, 6> wanted{};
  for (unsigned n = 0; n < 6; ++n) {
    const Bar& b = bars_[n];
    if (!b.target || !(command & (b.space == PciSpace::Io ? kIoSpace : kMemorySpace))) continue;
    const u64 first = bar_address(n);
    const u64 top = b.space == PciSpace::Io ? 0xFFFF : b.wide ? ~u64{0} : 0xFFFF'FFFF;
    // Zero is "not assigned", and the very top is what a guest leaves there for a moment to learn the size.
    if (first == 0 || first > top - b.size) continue;
    wanted[n] = first;
  }
  // All old ranges go before new ones come: BARs may swap places.
  for (unsigned n = 0; n < 6; ++n)
    if (decoded_[n] && decoded_[n] != wanted[n]) {
      decoder_->unmap(bars_[n].space, *decoded_[n], bars_[n].size, *bars_[n].target);
      decoded_[n].reset();
    }
  for (unsigned n = 0; n < 6; ++n)
    if (wanted[n] && !decoded_[n]) {
      decoder_->map(bars_[n].space, *wanted[n], bars_[n].size, *bars_[n].target);
      decoded_[n] = wanted[n];
    }
}

void PciDevice::set_intx(bool asserted) {
  intx_ = asserted;
  update_intx();
}

void PciDevice::update_intx() {
  config_[kStatus] = static_cast<u8>((config_[kStatus] & ~kIntxStatus) | (intx_ ? kIntxStatus : 0));
  if (intx_line_) intx_line_->set(intx_ && !(load_as<u16>(&config_[kCommand]) & kIntxDisable));
}

void PciDevice::sync_config(StateIo& io) {
  io.section("pci_config");
  std::array<u8, 256> image = config_;
  io.field(image);
  io.field(intx_);
  if (!io.loading()) return;
  for (unsigned i = 0; i < 256; ++i) {
    // Only what a guest could have changed is taken over; the rest has to be this very device's.
    const u8 changeable = static_cast<u8>(writable_[i] | clear_by_one_[i] | (i == kStatus ? kIntxStatus : 0));
    if ((image[i] ^ config_[i]) & ~changeable) io.damaged("pci: the saved configuration space is another device's");
    config_[i] = static_cast<u8>((config_[i] & ~changeable) | (image[i] & changeable));
  }
  update_decoding();
  update_intx();
}

}  // namespace callgate
