// The two functions that a PC's PCI bus 0 always shows: an i440FX-like host bridge and a PIIX3-like ISA bridge, whose
// PIRQ route registers lead INTx to the 8259s. Know configuration space and wires only.
// Ref: Intel 82441FX (i440FX) datasheet 290549, Intel 82371SB (PIIX3) datasheet 290550.
#pragma once

#include <array>

#include "devices/pci_bus.h"

namespace callgate {

/// 8086:1237. Guests know it; its memory controls are not there: RAM is as the memory map says.
class PciHostBridge final : public PciDevice {
 public:
  PciHostBridge();
  void sync(StateIo& io) { sync_config(io); }
};

/// 8086:7000.
class PciIsaBridge final : public PciDevice {
 public:
  /// PIRQ n always drives `io_apic[n]`, and `pic[irq]` if PIRQRC[n] routes it there. Null: not connected.
  PciIsaBridge(const std::array<IrqLine*, PciBus::kPirqs>& io_apic, const std::array<IrqLine*, 16>& pic);

  /// The wires to give to PciBus.
  std::array<IrqLine*, PciBus::kPirqs> pirqs();

  /// What firmware does: routes PIRQ n to 8259 input `irq[n]`.
  void route_like_firmware(const std::array<u8, PciBus::kPirqs>& irq);

  void reset() override;
  void sync(StateIo& io);

 private:
  class Pirq final : public IrqLine {
   public:
    Pirq(PciIsaBridge& owner, unsigned n) : owner_(owner), n_(n) {}
    void set(bool level) override { owner_.pirq_changed(n_, level); }

   private:
    PciIsaBridge& owner_;
    unsigned n_;
  };

  void config_written(unsigned offset, unsigned size) override;
  void pirq_changed(unsigned n, bool level);
  void update_pic();

  std::array<IrqLine*, PciBus::kPirqs> io_apic_;
  std::array<IrqLine*, 16> pic_;
  Pirq pirq_[PciBus::kPirqs]{{*this, 0}, {*this, 1}, {*this, 2}, {*this, 3}};
  u8 asserted_ = 0;  // PIRQ levels, one bit each
  u16 driven_ = 0;   // 8259 inputs that we hold up
};

}  // namespace callgate
