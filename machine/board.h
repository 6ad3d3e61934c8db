// The board: which devices a machine has, at which ports and addresses, on which interrupt lines. Wiring only: what a
// device does is in devices/, how time and processors run is in machine.cpp.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/log.h"
#include "cpu/cpu.h"
#include "cpu/decode_cache.h"
#include "devices/a20_gate.h"
#include "devices/acpi_pm.h"
#include "devices/acpi_tables.h"
#include "devices/debug_ports.h"
#include "devices/fw_cfg.h"
#include "devices/hpet.h"
#include "devices/i8042.h"
#include "devices/io_apic.h"
#include "devices/isa_irq.h"
#include "devices/local_apic.h"
#include "devices/pci_bus.h"
#include "devices/pci_chipset.h"
#include "devices/pic8259.h"
#include "devices/pit8254.h"
#include "devices/port92.h"
#include "devices/reset_control.h"
#include "devices/rtc_cmos.h"
#include "devices/system_control_b.h"
#include "devices/uart16550.h"
#include "devices/wired_or.h"
#include "machine/boot/memory_map.h"
#include "machine/guest_clock.h"
#include "machine/guest_snapshots.h"
#include "machine/machine.h"
#include "machine/port_map.h"
#include "paravirt/paravirt.h"

namespace callgate {

// Where things are. The PC's own places.
constexpr u64 kPciHole = 0xC000'0000;  ///< RAM below 4 GiB ends here at the latest
constexpr u64 kVgaHole = 0xA'0000, kVgaHoleSize = 0x2'0000;
constexpr u64 kFirmwareArea = 0xE'0000, kFirmwareAreaSize = 0x2'0000;  ///< ACPI tables; reserved in the memory map
constexpr u16 kPmBase = 0x600;
constexpr unsigned kSciIrq = 9;
constexpr std::array<u8, 4> kPirqIsa = {10, 11, 10, 11};  ///< 8259 inputs of PIRQ A to D, as firmware routes them

class Board;

/// Puts PCI functions' BARs into the machine's address spaces.
class PciWindows final : public PciDecoder {
 public:
  PciWindows(PhysicalMap& memory, PortMap& ports) : memory_(memory), ports_(ports) {}
  void map(PciSpace space, u64 first, u64 size, BusTarget& target) override;
  void unmap(PciSpace space, u64 first, u64 size, BusTarget& target) override;

 private:
  struct Window {
    u64 first, size;
    BusTarget* target;
    RegionId region;
  };
  PhysicalMap& memory_;
  PortMap& ports_;
  std::vector<Window> windows_;
};

/// One processor with its local APIC: the board's side of CpuPlatform and of CpuSignals.
class Processor final : public CpuPlatform, public CpuSignals {
 public:
  Processor(unsigned index, Board& board, const CpuModel& model);

  Cpu cpu;
  LocalApic apic;

  u32 io_read(u16 port, unsigned size) override;
  void io_write(u16 port, unsigned size, u32 value) override;
  bool apic_msr_read(u32 index, u64& value) override;
  bool apic_msr_write(u32 index, u64 value) override;
  u8 task_priority() override { return apic.cr8(); }
  void set_task_priority(u8 value) override { apic.set_cr8(value); }
  bool interrupt_pending() override { return apic.pending(); }
  u8 acknowledge_interrupt() override;
  u64 now() override;
  bool time_is_count() const override { return true; }
  void tsc_adjusted(u64 adjust) override;
  void set_ferr(bool level) override;
  void shutdown() override;

  void nmi() override;
  void init() override;
  void startup(u8 vector) override;
  void interrupt_line(bool asserted) override;

  /// Tells the processor where the local APIC's registers are, after they may have moved.
  void place_apic_page();

  u64 interrupts_taken = 0;
  bool was_shut_down = false;  ///< by a triple fault

 private:
  Board& board_;
};

class Board final : public PowerControl, public paravirt::Host {
 public:
  Board(const MachineConfig& config, std::unique_ptr<Ram> ram, Log& log);

  // The order is the order of construction: users after what they use.
  Log& log;
  GuestClock clock;
  CpuModel model;
  PhysicalMap memory;
  DecodeCache decoded;
  PortMap ports;
  ApicBus apic_bus;
  IoApic io_apic;
  std::vector<std::unique_ptr<Processor>> processors;

  /// Where serial output and debug output go.
  struct Sink final : ByteSink {
    Machine::ByteHandler handler;
    bool muted = false;
    void write(std::span<const u8> bytes) override {
      if (handler && !muted) handler(bytes);
    }
  };
  Sink serial_sink, debug_sink;

  Pic8259Pair pic;
  std::vector<std::unique_ptr<WiredOr>>
      pic_input;  ///< the 8259s' 16 inputs: an ISA interrupt and what PIRQs are routed there
  std::vector<std::unique_ptr<IsaIrq>> isa_wire;  ///< the 16 ISA interrupts: to the 8259s and to the I/O APIC
  std::vector<std::unique_ptr<WiredOr>> isa;      ///< who pulls them; give a device isa[n]->input()
  A20Gate a20;
  Hpet hpet;
  Pit8254 pit;
  SystemControlB system_control_b;
  RtcCmos rtc;
  Uart16550 com1;
  I8042 keyboard;
  Port92 port92;
  PostPort post;
  DebugConsole debug_port;
  DebugExit debug_exit;
  AcpiPm acpi_pm;
  ResetControl reset_control;
  FwCfg fw_cfg;
  PciWindows pci_windows;
  PciHostBridge host_bridge;
  PciIsaBridge isa_bridge;
  PciBus pci;
  std::unique_ptr<paravirt::Paravirt> paravirt;  ///< nullptr: bare metal

  /// Power events asked for and not handled yet.
  struct PendingPower {
    bool any = false;
    PowerEvent event = PowerEvent::Off;
    u32 code = 0;
  } power;
  void request(PowerEvent event, u32 code) override;
  /// The guest's own; they are no part of sync().
  GuestSnapshots guest_snapshots;
  /// A debugger's: called before a processor enters the handler of a maskable interrupt.
  std::function<void(Cpu&)> on_interrupt;
  /// A debugger's: the guest asked for it.
  std::function<void(Cpu&)> on_guest_break;
  /// Set by what must end the running slice after the current instruction.
  bool end_slice = false;
  /// Set when the running processor gave up the rest of its turn.
  bool turn_given_up = false;

  boot::MemoryMap memory_map() const;
  /// Everything but RAM's contents as after power-on; then the firmware's leavings: ACPI tables, fw_cfg, CMOS.
  void reset();
  /// Processors, devices, timers and RAM. Without RAM's contents, they are kept elsewhere and put back by themselves.
  void sync(StateIo& io, bool with_ram = true);
  /// The processor that runs now, for what must reach it at once.
  void attention();

 private:
  // paravirt::Host
  unsigned cpus() const override { return static_cast<unsigned>(processors.size()); }
  Cpu& cpu_at(unsigned index) override { return processors[index]->cpu; }
  LocalApic& apic_at(unsigned index) override { return processors[index]->apic; }
  Clock& guest_clock() override { return clock; }
  i64 epoch() const override { return config_.rtc_start; }
  PowerControl& power_control() override { return *this; }
  ByteSink& console() override { return serial_sink; }
  ByteSink& debug_console() override { return debug_sink; }
  void end_turn(Cpu& c) override;
  void debug_break(Cpu& c) override {
    if (on_guest_break) on_guest_break(c);
  }
  void keep_snapshot(Cpu& c, unsigned slot) override { wish(c, GuestSnapshots::Wish::Keep, slot, 0); }
  void forget_snapshot(Cpu& c, unsigned slot) override { wish(c, GuestSnapshots::Wish::Forget, slot, 0); }
  bool has_snapshot(unsigned slot) const override { return guest_snapshots.slots[slot] != nullptr; }
  void go_back(Cpu& c, unsigned slot, u32 value) override { wish(c, GuestSnapshots::Wish::GoBack, slot, value); }
  void wish(Cpu& c, GuestSnapshots::Wish what, unsigned slot, u32 value);

  void order_timers();
  void map_devices();
  AcpiConfig acpi_config() const;
  void write_firmware_tables();
  void fill_fw_cfg();

  const MachineConfig config_;
  IrqLine& ferr_;

 public:
  /// FERR#: IRQ 13.
  IrqLine& ferr() { return ferr_; }
};

}  // namespace callgate
