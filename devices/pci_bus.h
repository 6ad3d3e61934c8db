// PCI bus 0 by configuration mechanism #1: the ports 0xCF8 to 0xCFF. Knows slots and INTx swizzling; refuses to know
// what the functions do. Ref: PCI Local Bus Specification 3.0, 3.2.2.3.2 Software Generation of Configuration
// Transactions.
#pragma once

#include <array>
#include <memory>

#include "base/log.h"
#include "base/seam.h"
#include "base/state_io.h"
#include "devices/pci_device.h"
#include "devices/wired_or.h"

namespace callgate {

constexpr u16 kPciConfigPorts = 0xCF8;

class PciBus final : public BusTarget {
 public:
  static constexpr unsigned kPirqs = 4;

  /// `pirq` are the wires PIRQ A to D; `reset_control` answers at 0xCF9, inside our ports.
  PciBus(PciDecoder& decoder, const std::array<IrqLine*, kPirqs>& pirq, BusTarget& reset_control, Log& log);

  /// The PIRQ of a device's INTx pin (0 is INTA#): the swizzle that the DSDT's _PRT states.
  static constexpr unsigned pirq_of(unsigned device, unsigned pin) { return (device + pin) % kPirqs; }

  /// Plugs `function` in; it has to outlive the bus. Function 0 of a device has to be there for the others to be seen.
  void attach(unsigned device, unsigned function, PciDevice& target);

  /// What firmware does at power-up: gives every BAR an address, turns decoding on, and writes the 8259 input of each
  /// PIRQ into the Interrupt Line registers. BARs that do not fit stay unassigned. Ranges are inclusive.
  void assign_like_firmware(u16 io_first, u16 io_last, u32 memory_first, u32 memory_last,
                            const std::array<u8, kPirqs>& isa_irq);

  /// Offsets 0 to 3 are CONFIG_ADDRESS, 4 to 7 CONFIG_DATA.
  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  /// Resets every function.
  void reset();
  /// The bus's own state; the functions have their own sync().
  void sync(StateIo& io);

 private:
  PciDevice* selected() const;

  PciDecoder& decoder_;
  BusTarget& reset_control_;
  Log& log_;
  std::array<std::unique_ptr<WiredOr>, kPirqs> pirq_;
  std::array<std::array<PciDevice*, 8>, 32> slots_{};
  u32 address_ = 0;  // CONFIG_ADDRESS
};

}  // namespace callgate
