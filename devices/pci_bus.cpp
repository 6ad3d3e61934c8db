#include "devices/pci_bus.h"

#include <algorithm>
#include <vector>

#include "base/bits.h"
#include "base/verify.h"

namespace callgate {
namespace {
constexpr u32 kEnable = 1u << 31;
constexpr u32 kAddressWritable = 0x80FF'FFFC;
}  // namespace

PciBus::PciBus(PciDecoder& decoder, const std::array<IrqLine*, kPirqs>& pirq, BusTarget& reset_control, Log& log)
    : decoder_(decoder), reset_control_(reset_control), log_(log) {
  for (unsigned n = 0; n < kPirqs; ++n) pirq_[n] = std::make_unique<WiredOr>(*pirq[n]);
}

void PciBus::attach(unsigned device, unsigned function, PciDevice& target) {
  VERIFY(device < 32 && function < 8 && !slots_[device][function], "a free slot of bus 0");
  slots_[device][function] = &target;
  const unsigned pin = target.interrupt_pin() ? target.interrupt_pin() - 1u : 0;
  target.connect(decoder_, pirq_[pirq_of(device, pin)]->input());
  const bool several = std::any_of(slots_[device].begin() + 1, slots_[device].end(), [](PciDevice* d) { return d; });
  if (several && slots_[device][0]) slots_[device][0]->set_multifunction();
}

void PciBus::assign_like_firmware(u16 io_first, u16 io_last, u32 memory_first, u32 memory_last,
                                  const std::array<u8, kPirqs>& isa_irq) {
  struct Request {
    PciDevice* device;
    unsigned bar;
  };
  std::vector<Request> requests;
  for (unsigned d = 0; d < 32; ++d)
    for (PciDevice* function : slots_[d]) {
      if (!function) continue;
      for (unsigned n = 0; n < 6; ++n)
        if (function->bar(n).target) requests.push_back({function, n});
      if (const u8 pin = function->interrupt_pin()) function->config_write(0x3C, 1, isa_irq[pirq_of(d, pin - 1u)]);
    }
  // Large ones first, so that alignment wastes nothing.
  std::stable_sort(requests.begin(), requests.end(), [](const Request& a, const Request& b) {
    return a.device->bar(a.bar).size > b.device->bar(b.bar).size;
  });
  u64 next[2] = {io_first, memory_first};
  const u64 last[2] = {io_last, memory_last};
  for (const Request& r : requests) {
    const PciDevice::Bar& bar = r.device->bar(r.bar);
    u64& from = next[bar.space == PciSpace::Memory];
    const u64 at = (from + bar.size - 1) & ~(bar.size - 1);
    if (at == 0 || at + bar.size - 1 > last[bar.space == PciSpace::Memory]) {
      log_.line(LogChannel::Boot, "pci: no room for BAR {} of {:#x} bytes", r.bar, bar.size);
      continue;
    }
    from = at + bar.size;
    r.device->config_write(0x10 + 4 * r.bar, 4, static_cast<u32>(at));
    if (bar.wide) r.device->config_write(0x14 + 4 * r.bar, 4, static_cast<u32>(at >> 32));
    const u32 command = r.device->config_read(0x04, 2);
    r.device->config_write(0x04, 2, command | (bar.space == PciSpace::Io ? 1 : 2));
  }
}

PciDevice* PciBus::selected() const {
  if (!(address_ & kEnable) || bits(address_, 23, 16) != 0) return nullptr;
  const auto& functions = slots_[bits(address_, 15, 11)];
  return functions[bits(address_, 10, 8)];
}

u64 PciBus::read(u64 offset, unsigned size) {
  if (offset >= 4) {
    const PciDevice* device = selected();
    if (!device || offset + size > 8) return low_mask(size * 8);
    return device->config_read((address_ & 0xFC) + static_cast<unsigned>(offset & 3), size);
  }
  if (offset == 0 && size == 4) return address_;
  // Narrower accesses are not CONFIG_ADDRESS's but ordinary ports.
  return offset == 1 && size == 1 ? reset_control_.read(0, 1) : low_mask(size * 8);
}

void PciBus::write(u64 offset, unsigned size, u64 value) {
  if (offset >= 4) {
    PciDevice* device = selected();
    if (device && offset + size <= 8)
      device->config_write((address_ & 0xFC) + static_cast<unsigned>(offset & 3), size, static_cast<u32>(value));
  } else if (offset == 0 && size == 4) {
    address_ = static_cast<u32>(value) & kAddressWritable;
  } else if (offset == 1 && size == 1) {
    reset_control_.write(0, 1, value);
  }
}

void PciBus::reset() {
  address_ = 0;
  for (auto& functions : slots_)
    for (PciDevice* device : functions)
      if (device) device->reset();
}

void PciBus::sync(StateIo& io) {
  io.section("pci_bus");
  io.field(address_);
  for (auto& wire : pirq_) wire->sync(io);
  if (io.loading() && (address_ & ~kAddressWritable)) {
    io.damaged("pci_bus: reserved bits set in CONFIG_ADDRESS");
    address_ = 0;
  }
}

}  // namespace callgate
