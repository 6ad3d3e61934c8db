// The DSDT: soft-off, processors, the PCI root with its windows and interrupts, and the devices that PCI can't show.
#include <fmt/format.h>

#include "base/verify.h"
#include "devices/acpi_header.h"
#include "devices/acpi_pm.h"
#include "devices/acpi_tables.h"
#include "devices/aml.h"

namespace callgate {
namespace {

using namespace aml;

/// ACPI 6.5, 6.2.13 _PRT: for each device and pin, (address, pin, 0 = a global interrupt, its number).
Bytes interrupt_routing(const AcpiConfig& config, bool io_apic) {
  std::vector<Bytes> rows;
  for (unsigned device = 1; device < 32; ++device)
    for (unsigned pin = 0; pin < 4; ++pin) {
      const unsigned pirq = (device + pin) & 3;
      const u32 number = io_apic ? config.pirq_gsi[pirq] : config.pirq_isa[pirq];
      rows.push_back(package({integer(device << 16 | 0xFFFF), integer(pin), integer(0), integer(number)}));
    }
  return package(rows);
}

Bytes isa_device(std::string_view name_segment, std::string_view id, const Bytes& resources) {
  return device(name_segment, join({name("_HID", eisa_id(id)), name("_CRS", resource_template(resources))}));
}

Bytes isa_bridge(const AcpiConfig& config) {
  Bytes terms = name("_ADR", integer(0x0001'0000));
  append(terms, isa_device("RTC", "PNP0B00", join({io_ports(0x70, 2), irq(1u << 8)})));
  append(terms, isa_device("PIC", "PNP0000", join({io_ports(0x20, 2), io_ports(0xA0, 2), irq(1u << 2)})));
  append(terms, isa_device("TMR", "PNP0100", join({io_ports(0x40, 4), irq(1u << 0)})));
  if (config.i8042)
    append(terms, isa_device("KBD", "PNP0303", join({io_ports(0x60, 1), io_ports(0x64, 1), irq(1u << 1)})));
  if (config.com1)
    append(terms, device("COM1", join({name("_HID", eisa_id("PNP0501")), name("_UID", integer(1)),
                                       name("_CRS", resource_template({io_ports(0x3F8, 8), irq(1u << 4)}))})));
  // Ports that no other device claims, so that nothing is placed there.
  append(terms, device("SYSR", join({name("_HID", eisa_id("PNP0C02")),
                                     name("_CRS", resource_template({io_ports(config.pm_base, kAcpiPmBlockSize)}))})));
  return device("ISA", terms);
}

Bytes pci_root(const AcpiConfig& config) {
  Bytes windows = join({bus_window(0, 0), io_ports(0xCF8, 8), io_window(0x0000, 0x0CF7), io_window(0x0D00, 0xFFFF),
                        memory_window32(config.pci_memory_first, config.pci_memory_last)});
  if (config.pci_memory64_first) append(windows, memory_window64(config.pci_memory64_first, config.pci_memory64_last));
  return device("PCI0",
                join({name("_HID", eisa_id("PNP0A03")), name("_UID", integer(0)), name("_ADR", integer(0)),
                      name("_BBN", integer(0)), name("_CRS", resource_template(windows)),
                      name("PRTA", interrupt_routing(config, true)), name("PRTP", interrupt_routing(config, false)),
                      method("_PRT", 0, if_else(path("\\PICM"), give_back(path("PRTA")), give_back(path("PRTP")))),
                      isa_bridge(config)}));
}

Bytes processors(const AcpiConfig& config) {
  VERIFY(config.apic_ids.size() <= 0x1000, "names for 4096 processors");
  Bytes out;
  for (std::size_t i = 0; i < config.apic_ids.size(); ++i)
    append(out, device(fmt::format("C{:03X}", i), join({name("_HID", string("ACPI0007")), name("_UID", integer(i))})));
  return out;
}

}  // namespace

std::vector<u8> build_dsdt(const AcpiConfig& config) {
  Bytes board = processors(config);
  append(board, pci_root(config));
  if (config.hpet_address)
    append(board,
           device("HPET",
                  join({name("_HID", eisa_id("PNP0103")),
                        name("_CRS", resource_template({memory32(static_cast<u32>(config.hpet_address), 0x400)}))})));

  // _PIC tells which interrupt controllers the guest uses: 0 the 8259s, 1 the I/O APIC (ACPI 6.5, 5.8.1).
  AcpiTable dsdt("DSDT", 2);
  dsdt.bytes(join({name("\\PICM", integer(0)), method("\\_PIC", 1, store(argument(0), path("\\PICM"))),
                   name("\\_S5", package({integer(kAcpiSleepTypeS5), integer(0), integer(0), integer(0)})),
                   scope("\\_SB", board)}));
  return dsdt.finish();
}

}  // namespace callgate
