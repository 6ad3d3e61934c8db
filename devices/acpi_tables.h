// ACPI tables: from a description of the board to the bytes that a guest finds. A pure function; it knows no device
// object and no RAM. Ref: ACPI Specification 6.5, 5.2 ACPI System Description Tables; IA-PC HPET
// Specification 1.0a, 3.2.4.
#pragma once

#include <cstddef>
#include <vector>

#include "base/types.h"

namespace callgate {

/// What the tables say. Addresses are guest physical, ranges are inclusive.
struct AcpiConfig {
  u64 address = 0xE0000;  ///< where the image goes; a multiple of 64, below 4 GiB. RSDP is first, so the BIOS area
                          ///< makes it discoverable by scan
  std::vector<u32> apic_ids = {
      0};  ///< one a processor, the bootstrap processor first; ids above 254 become x2APIC entries

  u32 local_apic_address = 0xFEE0'0000;
  u32 io_apic_address = 0xFEC0'0000;
  u8 io_apic_id = 0;
  u64 hpet_address = 0xFED0'0000;  ///< 0: no HPET
  u32 hpet_id = 0;                 ///< the low half of its capabilities register

  u16 pm_base = 0x600;  ///< AcpiPm's ports
  u8 sci_irq = 9;       ///< level-triggered, active high
  u16 reset_port = 0xCF9;
  u8 reset_value = 0x06;

  bool i8042 = true;  ///< a keyboard controller at 60h/64h
  bool com1 = true;   ///< a 16550 at 3F8h, IRQ 4

  u32 pci_memory_first = 0xC000'0000, pci_memory_last = 0xFEBF'FFFF;
  u64 pci_memory64_first = 0, pci_memory64_last = 0;  ///< first == 0: no window above 4 GiB
  /// The interrupt of PIRQ A to D: INTx pin p (A is 0) of device d is PIRQ (d + p) mod 4.
  u32 pirq_gsi[4] = {16, 17, 18, 19};  ///< I/O APIC inputs; level-triggered, active low
  u8 pirq_isa[4] = {10, 11, 10, 11};   ///< 8259 inputs, for a guest that does not use the I/O APIC
};

/// Where the first table is in the image, behind the RSDP.
constexpr std::size_t kAcpiFirstTable = 64;

/// The tables as one image for `config.address`: the RSDP is at its first byte.
std::vector<u8> build_acpi_tables(const AcpiConfig& config);

/// The definition block alone, with its header.
std::vector<u8> build_dsdt(const AcpiConfig& config);

}  // namespace callgate
