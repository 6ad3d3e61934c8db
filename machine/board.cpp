#include "machine/board.h"

#include <algorithm>

#include "base/verify.h"
#include "devices/acpi_loader.h"
#include "machine/bios_area.h"

namespace callgate {

namespace {

// Inputs of the I/O APIC that are active low: 16 to 19 are PIRQ A to D, 20 to 23 the HPET's.
constexpr u32 kActiveLow = 0xFFu << 16;

CpuModel make_model(const MachineConfig& config) {
  CpuModel model;
  model.name = config.cpu_model;
  model.cpu_count = config.cpus;
  return model;
}

/// Input 2 of the 8259s is their cascade: a PC wires ISA IRQ 2 to input 9.
constexpr unsigned without_cascade(unsigned irq) { return irq == 2 ? 9 : irq; }

std::array<IrqLine*, PciBus::kPirqs> io_apic_pirqs(IoApic& io_apic) {
  return {&io_apic.line(16), &io_apic.line(17), &io_apic.line(18), &io_apic.line(19)};
}

std::array<IrqLine*, 16> pic_pirqs(std::vector<std::unique_ptr<WiredOr>>& inputs) {
  std::array<IrqLine*, 16> lines{};
  for (unsigned i = 3; i < 16; i++) lines[i] = &inputs[i]->input();
  return lines;
}

/// What firmware leaves in the MTRRs: memory is write-back, the PCI hole uncached. Without it Linux has no PAT.
/// SDM 3A, Memory Type Range Registers.
void set_memory_types(Msrs& msr) {
  constexpr u64 kEnable = 1u << 11, kWriteBack = 6, kUncached = 0, kValid = 1u << 11;
  constexpr u64 kHoleSize = (u64{1} << 32) - kPciHole;
  msr.mtrr_def_type = kEnable | kWriteBack;
  msr.mtrr_variable[0] = kPciHole | kUncached;
  msr.mtrr_variable[1] = (low_mask(kPhysicalBits) & ~(kHoleSize - 1)) | kValid;
}

}  // namespace

void PciWindows::map(PciSpace space, u64 first, u64 size, BusTarget& target) {
  if (space == PciSpace::Io) {
    if (first + size <= 0x10000) ports_.map(static_cast<u16>(first), static_cast<unsigned>(size), target);
    return;
  }
  windows_.push_back({first, size, &target, memory_.map_mmio(first, size, &target, RegionLayer::Window)});
}

void PciWindows::unmap(PciSpace space, u64 first, u64 size, BusTarget& target) {
  if (space == PciSpace::Io) {
    if (first + size <= 0x10000) ports_.unmap(static_cast<u16>(first), static_cast<unsigned>(size), target);
    return;
  }
  for (auto w = windows_.begin(); w != windows_.end(); ++w) {
    if (w->first != first || w->size != size || w->target != &target) continue;
    memory_.unmap(w->region);
    windows_.erase(w);
    return;
  }
}

Board::Board(const MachineConfig& config, std::unique_ptr<Ram> ram, Log& machine_log)
    : log(machine_log),
      model(make_model(config)),
      memory(std::move(ram), kPciHole),
      decoded(memory),
      ports(log),
      io_apic(apic_bus, log, kActiveLow),
      processors([&] {
        std::vector<std::unique_ptr<Processor>> list;
        for (unsigned i = 0; i < config.cpus; i++) list.push_back(std::make_unique<Processor>(i, *this, model));
        return list;
      }()),
      pic(processors[0]->apic.lint0()),
      pic_input([&] {
        std::vector<std::unique_ptr<WiredOr>> list;
        for (unsigned i = 0; i < 16; i++) list.push_back(std::make_unique<WiredOr>(pic.line(without_cascade(i))));
        return list;
      }()),
      isa_wire([&] {
        std::vector<std::unique_ptr<IsaIrq>> list;
        for (unsigned i = 0; i < 16; i++)
          list.push_back(
              std::make_unique<IsaIrq>(pic_input[i]->input(), io_apic.line(gsi_of_isa_irq(without_cascade(i)))));
        return list;
      }()),
      isa([&] {
        std::vector<std::unique_ptr<WiredOr>> list;
        for (unsigned i = 0; i < 16; i++) list.push_back(std::make_unique<WiredOr>(*isa_wire[i]));
        return list;
      }()),
      a20([this](bool passes) { memory.set_a20(passes); }),
      hpet(clock, {&io_apic.line(20), &io_apic.line(21), &io_apic.line(22), &io_apic.line(23)}, isa[0]->input(),
           isa[8]->input(), log),
      pit(clock, hpet.pit_input()),
      system_control_b(clock, pit),
      rtc(clock, hpet.rtc_input(), config.rtc_start),
      com1(clock, isa[4]->input(), serial_sink),
      keyboard(clock, isa[1]->input(), isa[12]->input(), a20, *this),
      port92(a20, *this),
      post(log),
      debug_port(debug_sink),
      debug_exit(*this),
      acpi_pm(clock, isa[kSciIrq]->input(), *this, log),
      reset_control(*this),
      fw_cfg(memory),
      pci_windows(memory, ports),
      isa_bridge(io_apic_pirqs(io_apic), pic_pirqs(pic_input)),
      pci(pci_windows, isa_bridge.pirqs(), reset_control, log),
      config_(config),
      ferr_(isa[13]->input()) {
  if (config.paravirt != 0) {
    paravirt = std::make_unique<paravirt::Paravirt>(config.paravirt, *this);
    for (auto& p : processors) p->cpu.hypervisor = paravirt.get();
  }
  processors[0]->apic.connect_pic(pic);
  pci.attach(0, 0, host_bridge);
  pci.attach(1, 0, isa_bridge);
  fill_fw_cfg();
  order_timers();
  map_devices();
  reset();
}

// The hypervisor comes after the APIC: it may look at what that has.
void Processor::tsc_adjusted(u64 adjust) {
  apic.set_tsc_offset(adjust);
  if (board_.paravirt) board_.paravirt->tsc_changed(cpu);
}

void Board::end_turn(Cpu& c) {
  if (processors.size() == 1) return;
  turn_given_up = end_slice = true;
  c.request_attention();
}

void Board::wish(Cpu& c, GuestSnapshots::Wish what, unsigned slot, u32 value) {
  guest_snapshots.wish = what;
  guest_snapshots.slot = slot;
  guest_snapshots.processor = c.index;
  guest_snapshots.value = value;
  end_slice = true;
  c.request_attention();
}

// Alarms of one moment fire in this order, whatever the order in which they were armed.
void Board::order_timers() {
  u32 order = 0;
  for (Timer* timer : {&pit.timer(), &rtc.timer(), &com1.timer(), &keyboard.timer()}) timer->order = order++;
  acpi_pm.set_timer_order(order++);
  hpet.set_timer_order(order);
  order += Hpet::kTimers;
  for (auto& p : processors) p->apic.set_timer_order(order++);
  if (paravirt) paravirt->order_timers(order);
}

void Board::map_devices() {
  memory.map_mmio(kVgaHole, kVgaHoleSize, nullptr);
  memory.map_mmio(kIoApicDefaultAddress, kPageSize, &io_apic);
  memory.map_mmio(kHpetDefaultAddress, 1024, &hpet);
  ports.map(0x20, 2, pic.master_ports());
  ports.map(0xA0, 2, pic.slave_ports());
  ports.map(0x4D0, 2, pic.elcr_ports());
  ports.map(0x40, 4, pit);
  ports.map(0x61, 1, system_control_b);
  ports.map(0x70, 4, rtc);
  ports.map(0x3F8, 8, com1);
  ports.map(0x60, 1, keyboard.data_port());
  ports.map(0x64, 1, keyboard.command_port());
  ports.map(0x92, 1, port92);
  ports.map(0x80, 1, post);
  ports.map(0xE9, 1, debug_port);
  ports.map(0xF4, 4, debug_exit);
  ports.map(kPmBase, kAcpiPmBlockSize, acpi_pm);
  ports.map(0x510, 12, fw_cfg);
  ports.map(0xCF8, 8, pci);
}

boot::MemoryMap Board::memory_map() const {
  const u64 total = memory.ram().size();
  const u64 low = std::min(total, kPciHole);
  boot::MemoryMap map;
  map.ranges.push_back({0, kVgaHole, boot::RangeType::Usable});
  map.ranges.push_back({kFirmwareArea, kFirmwareAreaSize, boot::RangeType::Reserved});
  map.ranges.push_back({0x10'0000, low - 0x10'0000, boot::RangeType::Usable});
  if (total > low) map.ranges.push_back({u64{1} << 32, total - low, boot::RangeType::Usable});
  map.rsdp = kFirmwareArea;
  return map;
}

AcpiConfig Board::acpi_config() const {
  AcpiConfig acpi;
  acpi.address = kFirmwareArea;
  acpi.apic_ids.clear();
  for (const auto& p : processors) acpi.apic_ids.push_back(p->apic.id());
  // A driver measures the HPET's speed for milliseconds; who gets the time elsewhere isn't told of it, as is usual for such guests.
  acpi.hpet_address = paravirt && paravirt->tells_time() ? 0 : kHpetDefaultAddress;
  acpi.hpet_id = kHpetId;
  acpi.pm_base = kPmBase;
  acpi.sci_irq = kSciIrq;
  acpi.i8042 = true;
  return acpi;
}

void Board::write_firmware_tables() {
  const std::vector<u8> tables = build_acpi_tables(acpi_config());
  VERIFY(tables.size() <= kFirmwareAreaSize, "the ACPI tables outgrew the firmware area");
  memory.write(kFirmwareArea, tables);
  write_bios_area(memory, kVgaHole);
  const u64 total = memory.ram().size();
  rtc.describe_memory(std::min(total, kPciHole), total > kPciHole ? total - kPciHole : 0);
}

// The items that firmware asks for. Ref: QEMU, docs/specs/fw_cfg; QEMU, hw/i386/fw_cfg.
void Board::fill_fw_cfg() {
  constexpr u16 kRamSize = 0x03, kCpuCount = 0x05, kMaxCpus = 0x0F;
  fw_cfg.add_u64(kRamSize, std::min(memory.ram().size(), kPciHole));
  fw_cfg.add_u16(kCpuCount, static_cast<u16>(config_.cpus));
  fw_cfg.add_u16(kMaxCpus, static_cast<u16>(config_.cpus));
  std::vector<u8> e820;
  const auto put = [&](u64 value, unsigned size) {
    for (unsigned i = 0; i < size; i++) e820.push_back(static_cast<u8>(value >> 8 * i));
  };
  for (const boot::MemoryRange& range : memory_map().ranges) {
    put(range.start, 8);
    put(range.size, 8);
    put(static_cast<u32>(range.type), 4);
  }
  const auto add = [&](const char* name, std::vector<u8> bytes) {
    VERIFY(fw_cfg.add_file(name, std::move(bytes)).has_value(), "fw_cfg takes each file once");
  };
  add("etc/e820", std::move(e820));
  AcpiLoaderFiles acpi = build_acpi_loader_files(acpi_config());
  add(kAcpiRsdpFile, std::move(acpi.rsdp));
  add(kAcpiTablesFile, std::move(acpi.tables));
  add(kAcpiLoaderFile, std::move(acpi.script));
}

void Board::reset() {
  power = {};
  guest_snapshots = {};
  io_apic.reset();
  pic.reset();
  hpet.reset();
  pit.reset();
  system_control_b.reset();
  rtc.reset();
  com1.reset();
  keyboard.reset();
  port92.reset();
  post.reset();
  acpi_pm.reset();
  reset_control.reset();
  fw_cfg.reset();
  pci.reset();
  isa_bridge.route_like_firmware(kPirqIsa);
  pci.assign_like_firmware(0xC000, 0xFFFF, 0xC000'0000, 0xFEBF'FFFF, kPirqIsa);
  for (auto& p : processors) {
    p->cpu.reset();
    p->apic.reset();
    p->was_shut_down = false;
  }
  if (paravirt) paravirt->reset();
  for (auto& p : processors) set_memory_types(p->cpu.s.msr);
  processors[0]->apic.enter_virtual_wire_mode();
  memory.set_a20(true);
  pic.elcr_ports().write(1, 1, 0x0E);  // IRQ 9 to 11, the SCI and the PIRQs, are level-triggered
  write_firmware_tables();
}

void Board::request(PowerEvent event, u32 code) {
  // The first request counts: a guest that powers off can't take it back.
  if (!power.any) power = {true, event, code};
  end_slice = true;
  attention();
}

void Board::attention() {
  for (auto& p : processors) p->cpu.request_attention();
}

void Board::sync(StateIo& io, bool with_ram) {
  io.section("board");
  if (io.loading()) clock.clear();
  clock.sync(io);
  for (auto& p : processors) {
    p->cpu.s.sync(io);
    p->apic.sync(io);
    io.field(p->was_shut_down);
  }
  io_apic.sync(io);
  pic.sync(io);
  // Before the devices, which may set their lines again: that changes nothing then.
  io.section("wires");
  for (auto& wire : pic_input) wire->sync(io);
  for (auto& wire : isa) wire->sync(io);
  a20.sync(io);
  hpet.sync(io);
  pit.sync(io);
  system_control_b.sync(io);
  rtc.sync(io);
  com1.sync(io);
  keyboard.sync(io);
  port92.sync(io);
  post.sync(io);
  acpi_pm.sync(io);
  reset_control.sync(io);
  fw_cfg.sync(io);
  pci.sync(io);
  host_bridge.sync(io);
  isa_bridge.sync(io);
  if (paravirt) paravirt->sync(io);
  if (with_ram) {
    memory.sync(io);
  } else {
    io.section("memory without its contents");
    u64 size = memory.ram().size();
    bool a20_on = memory.a20();
    io.fields(size, a20_on);
    if (io.loading() && size != memory.ram().size()) io.damaged("the saved memory has another size");
    if (io.loading()) memory.set_a20(a20_on);
  }
  if (!io.loading()) return;
  power = {};
  for (auto& p : processors) {
    p->cpu.refresh();
    p->place_apic_page();
  }
}

}  // namespace callgate
