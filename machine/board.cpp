#include "machine/board.h"

#include <algorithm>

#include "base/verify.h"
#include "devices/acpi_tables.h"

namespace callgate {

namespace {

constexpr u32 kPciInterrupts = 0xFu << 16;  // inputs 16 to 19 of the I/O APIC: PIRQ A to D, active low

CpuModel make_model(const MachineConfig& config) {
  CpuModel model;
  model.name = config.cpu_model;
  model.cpu_count = config.cpus;
  return model;
}

}  // namespace

Board::Board(const MachineConfig& config, std::unique_ptr<Ram> ram, Log& machine_log)
    : log(machine_log),
      model(make_model(config)),
      memory(std::move(ram), kPciHole),
      decoded(memory),
      ports(log),
      io_apic(apic_bus, log, kPciInterrupts),
      processors([&] {
        std::vector<std::unique_ptr<Processor>> list;
        for (unsigned i = 0; i < config.cpus; i++) list.push_back(std::make_unique<Processor>(i, *this, model));
        return list;
      }()),
      pic(processors[0]->apic.lint0()),
      isa([&] {
        std::vector<std::unique_ptr<IsaIrq>> list;
        for (unsigned i = 0; i < 16; i++)
          list.push_back(std::make_unique<IsaIrq>(pic.line(i == 2 ? 9 : i), io_apic.line(gsi_of_isa_irq(i == 2 ? 9 : i))));
        return list;
      }()),
      a20([this](bool passes) { memory.set_a20(passes); }),
      pit(clock, *isa[0]),
      system_control_b(clock, pit),
      rtc(clock, *isa[8], config.rtc_start),
      com1(clock, *isa[4], serial_sink),
      keyboard(clock, *isa[1], *isa[12], a20, *this),
      port92(a20, *this),
      post(log),
      debug_console(debug_sink),
      debug_exit(*this),
      acpi_pm(clock, *isa[kSciIrq], *this, log),
      reset_control(*this),
      config_(config) {
  processors[0]->apic.connect_pic(pic);
  map_devices();
  reset();
}

void Board::map_devices() {
  memory.map_mmio(kVgaHole, kVgaHoleSize, nullptr);
  memory.map_mmio(kIoApicDefaultAddress, kPageSize, &io_apic);
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
  ports.map(0xE9, 1, debug_console);
  ports.map(0xF4, 4, debug_exit);
  ports.map(kPmBase, kAcpiPmBlockSize, acpi_pm);
  ports.map(0xCF9, 1, reset_control);
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

void Board::write_firmware_tables() {
  AcpiConfig acpi;
  acpi.address = kFirmwareArea;
  acpi.apic_ids.clear();
  for (const auto& p : processors) acpi.apic_ids.push_back(p->apic.id());
  acpi.hpet_address = 0;
  acpi.pm_base = kPmBase;
  acpi.sci_irq = kSciIrq;
  acpi.i8042 = true;
  const std::vector<u8> tables = build_acpi_tables(acpi);
  VERIFY(tables.size() <= kFirmwareAreaSize, "the ACPI tables outgrew the firmware area");
  memory.write(kFirmwareArea, tables);
  const u64 total = memory.ram().size();
  rtc.describe_memory(std::min(total, kPciHole), total > kPciHole ? total - kPciHole : 0);
}

void Board::reset() {
  power = {};
  io_apic.reset();
  pic.reset();
  pit.reset();
  system_control_b.reset();
  rtc.reset();
  com1.reset();
  keyboard.reset();
  port92.reset();
  post.reset();
  acpi_pm.reset();
  reset_control.reset();
  for (auto& p : processors) {
    p->cpu.reset();
    p->apic.reset();
    p->was_shut_down = false;
  }
  processors[0]->apic.enter_virtual_wire_mode();
  memory.set_a20(true);
  write_firmware_tables();
}

void Board::request(PowerEvent event, u32 code) {
  // The first request counts: a guest that powers off can't take it back.
  if (!power.any) power = {true, event, code};
  attention();
}

void Board::attention() {
  for (auto& p : processors) p->cpu.request_attention();
}

void Board::sync(StateIo& io) {
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
  a20.sync(io);
  pit.sync(io);
  system_control_b.sync(io);
  rtc.sync(io);
  com1.sync(io);
  keyboard.sync(io);
  port92.sync(io);
  post.sync(io);
  acpi_pm.sync(io);
  reset_control.sync(io);
  memory.sync(io);
  if (io.loading())
    for (auto& p : processors) p->cpu.refresh();
}

}  // namespace callgate
