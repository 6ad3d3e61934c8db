#include "devices/pci_chipset.h"

#include "base/bits.h"

namespace callgate {
namespace {

constexpr u32 kHostBridgeClass = 0x06'00'00, kIsaBridgeClass = 0x06'01'00;
constexpr unsigned kPirqRoute = 0x60;  // PIIX3, PIRQRC[A:D]
constexpr u8 kRouteDisabled = 0x80;
constexpr u16 kRoutableIrqs = 0xDEF8;  // 3 to 7, 9 to 12, 14, 15

}  // namespace

PciHostBridge::PciHostBridge()
    : PciDevice({.vendor = 0x8086, .device = 0x1237, .revision = 2, .class_code = kHostBridgeClass}) {}

PciIsaBridge::PciIsaBridge(const std::array<IrqLine*, PciBus::kPirqs>& io_apic, const std::array<IrqLine*, 16>& pic)
    : PciDevice({.vendor = 0x8086, .device = 0x7000, .class_code = kIsaBridgeClass}), io_apic_(io_apic), pic_(pic) {
  for (unsigned n = 0; n < PciBus::kPirqs; ++n) define(kPirqRoute + n, kRouteDisabled, 0x8F);
  set_multifunction();  // As the PIIX3 always says.
}

std::array<IrqLine*, PciBus::kPirqs> PciIsaBridge::pirqs() { return {&pirq_[0], &pirq_[1], &pirq_[2], &pirq_[3]}; }

void PciIsaBridge::route_like_firmware(const std::array<u8, PciBus::kPirqs>& irq) {
  for (unsigned n = 0; n < PciBus::kPirqs; ++n) config_write(kPirqRoute + n, 1, irq[n]);
}

void PciIsaBridge::config_written(unsigned, unsigned) { update_pic(); }

void PciIsaBridge::pirq_changed(unsigned n, bool level) {
  asserted_ = static_cast<u8>((asserted_ & ~(1u << n)) | static_cast<unsigned>(level) << n);
  if (io_apic_[n]) io_apic_[n]->set(level);
  update_pic();
}

void PciIsaBridge::update_pic() {
  u16 wanted = 0;
  for (unsigned n = 0; n < PciBus::kPirqs; ++n) {
    const u8 route = config_byte(kPirqRoute + n);
    if (bit(asserted_, n) && !(route & kRouteDisabled)) wanted |= static_cast<u16>(1u << (route & 0xF));
  }
  wanted &= kRoutableIrqs;
  const u16 changed = wanted ^ driven_;
  driven_ = wanted;
  for (unsigned irq = 0; irq < 16; ++irq)
    if (bit(changed, irq) && pic_[irq]) pic_[irq]->set(bit(wanted, irq));
}

void PciIsaBridge::reset() {
  PciDevice::reset();
  update_pic();
}

void PciIsaBridge::sync(StateIo& io) {
  sync_config(io);
  io.field(asserted_);
  io.limit(asserted_, u8{0xF}, "pci: more PIRQs than four");
  if (!io.loading()) return;
  for (unsigned n = 0; n < PciBus::kPirqs; ++n)
    if (io_apic_[n]) io_apic_[n]->set(bit(asserted_, n));
  update_pic();
}

}  // namespace callgate
