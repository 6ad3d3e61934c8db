#include "devices/acpi_tables.h"

#include <algorithm>

#include "base/bits.h"
#include "base/verify.h"
#include "devices/acpi_header.h"
#include "devices/acpi_pm.h"
#include "devices/isa_irq.h"

namespace callgate {
namespace {

// ACPI 6.5, 5.2.9 FADT: Fixed Feature Flags and IA-PC Boot Architecture Flags.
constexpr u32 kWbinvd = 1u << 0, kProcC1 = 1u << 2, kNoSleepButton = 1u << 5, kNoFixedRtcWake = 1u << 6,
              kTimer32 = 1u << 8, kResetRegister = 1u << 10;
constexpr u16 kLegacyDevices = 1u << 0, kHas8042 = 1u << 1, kNoVga = 1u << 2;
// ACPI 6.5, 5.2.12: interrupt flags of MADT entries.
constexpr u16 kConforming = 0, kActiveHighLevel = 0x0D;
constexpr u8 kAllProcessors = 0xFF;

std::vector<u8> fadt(const AcpiConfig& c, u32 facs, u32 dsdt) {
  const u16 event = c.pm_base + kAcpiPm1Event, control = c.pm_base + kAcpiPm1Control;
  const u16 timer = c.pm_base + kAcpiPmTimer, gpe0 = c.pm_base + kAcpiGpe0;
  AcpiTable t("FACP", 6);
  t.u32_(facs).u32_(dsdt);
  t.u8_(0).u8_(0);                // reserved, unspecified PM profile
  t.u16_(c.sci_irq).u32_(0);      // no SMI command port: always in ACPI mode
  t.u8_(0).u8_(0).u8_(0).u8_(0);  // ACPI enable and disable, S4BIOS, P-state control
  t.u32_(event).u32_(0).u32_(control).u32_(0).u32_(0).u32_(timer).u32_(gpe0).u32_(0);
  t.u8_(4).u8_(2).u8_(0).u8_(4);    // lengths: PM1 event, PM1 control, PM2 control, timer
  t.u8_(4).u8_(0).u8_(0);           // lengths of GPE0 and GPE1, GPE1's first event
  t.u8_(0);                         // no _CST notification
  t.u16_(0xFFFF).u16_(0xFFFF);      // no C2, no C3
  t.u16_(0).u16_(0).u8_(0).u8_(0);  // WBINVD works, so no flush size; no duty cycle
  t.u8_(0).u8_(0).u8_(0x32);        // RTC: no day or month alarm, the century is in byte 32h
  t.u16_(kLegacyDevices | kNoVga | (c.i8042 ? kHas8042 : 0)).u8_(0);
  t.u32_(kWbinvd | kProcC1 | kNoSleepButton | kNoFixedRtcWake | kTimer32 | kResetRegister);
  t.address(true, c.reset_port, 8, 1).u8_(c.reset_value);
  t.u16_(0).u8_(4);      // ARM boot flags; minor revision: 6.4
  t.u64_(0).u64_(dsdt);  // X_FIRMWARE_CTRL stays 0 while FIRMWARE_CTRL is used
  t.address(true, event, 32, 2).zeros(12);
  t.address(true, control, 16, 2).zeros(12);
  t.zeros(12);
  t.address(true, timer, 32, 3);
  t.address(true, gpe0, 32, 1).zeros(12);
  t.zeros(12).zeros(12);  // sleep control and status: not hardware-reduced
  t.zeros(8);             // hypervisor vendor
  VERIFY(t.size() == 276, "the FADT of revision 6 has 276 bytes");
  return t.finish();
}

std::vector<u8> madt(const AcpiConfig& c) {
  AcpiTable t("APIC", 5);
  t.u32_(c.local_apic_address).u32_(1);  // PCAT_COMPAT: there are 8259s too
  bool wide = false;
  for (std::size_t uid = 0; uid < c.apic_ids.size(); ++uid) {
    const u32 id = c.apic_ids[uid];
    if (id <= 254 && uid <= 254) {
      t.u8_(0).u8_(8).u8_(uid).u8_(id).u32_(1);
    } else {
      wide = true;
      t.u8_(9).u8_(16).u16_(0).u32_(id).u32_(1).u32_(uid);
    }
  }
  t.u8_(1).u8_(12).u8_(c.io_apic_id).u8_(0).u32_(c.io_apic_address).u32_(0);
  t.u8_(2).u8_(10).u8_(0).u8_(0).u32_(gsi_of_isa_irq(0)).u16_(kConforming);
  t.u8_(2).u8_(10).u8_(0).u8_(c.sci_irq).u32_(c.sci_irq).u16_(kActiveHighLevel);
  t.u8_(4).u8_(6).u8_(kAllProcessors).u16_(kConforming).u8_(1);  // LINT1 is NMI
  if (wide) t.u8_(0xA).u8_(12).u16_(kConforming).u32_(0xFFFF'FFFF).u8_(1).zeros(3);
  return t.finish();
}

std::vector<u8> hpet(const AcpiConfig& c) {
  AcpiTable t("HPET", 1);
  t.u32_(c.hpet_id).address(false, c.hpet_address, 64, 0);
  t.u8_(0);     // the first block
  t.u16_(100);  // the shortest period in ticks that software should ask for
  t.u8_(0);
  return t.finish();
}

/// ACPI 6.5, 5.2.10: where the global lock lives. No checksum.
std::vector<u8> facs() {
  std::vector<u8> out(64);
  std::copy_n("FACS", 4, out.begin());
  out[4] = 64;
  out[32] = 2;
  return out;
}

std::vector<u8> rsdp(u32 rsdt, u64 xsdt) {
  std::vector<u8> out(36);
  std::copy_n("RSD PTR ", 8, out.begin());
  std::copy_n("CALLGT", 6, out.begin() + 9);
  out[15] = 2;
  store_as<u32>(&out[16], rsdt);
  store_as<u32>(&out[20], 36);
  store_as<u64>(&out[24], xsdt);
  out[8] = acpi_checksum(std::span(out).first(20));
  out[32] = acpi_checksum(out);
  return out;
}

/// Places tables one after the other behind the RSDP.
class Image {
 public:
  explicit Image(u64 address) : address_(address), data_(kAcpiFirstTable) {}
  u32 place(const std::vector<u8>& table, std::size_t alignment = 16) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    const u32 where = static_cast<u32>(address_ + data_.size());
    data_.insert(data_.end(), table.begin(), table.end());
    return where;
  }
  std::vector<u8> finish(const std::vector<u8>& rsdp_bytes) {
    std::copy(rsdp_bytes.begin(), rsdp_bytes.end(), data_.begin());
    return data_;
  }

 private:
  u64 address_;
  std::vector<u8> data_;
};

}  // namespace

std::vector<u8> build_acpi_tables(const AcpiConfig& config) {
  VERIFY(config.address % 64 == 0 && config.address < 0xFFFF'0000, "the FACS is aligned to 64 bytes, below 4 GiB");
  VERIFY(!config.apic_ids.empty(), "a machine has a processor");
  Image image(config.address);
  const u32 facs_at = image.place(facs(), 64);
  const u32 dsdt_at = image.place(build_dsdt(config));
  std::vector<u32> tables;
  tables.push_back(image.place(fadt(config, facs_at, dsdt_at)));
  tables.push_back(image.place(madt(config)));
  if (config.hpet_address) tables.push_back(image.place(hpet(config)));

  AcpiTable rsdt("RSDT", 1), xsdt("XSDT", 1);
  for (u32 at : tables) {
    rsdt.u32_(at);
    xsdt.u64_(at);
  }
  const u32 rsdt_at = image.place(rsdt.finish());
  const u32 xsdt_at = image.place(xsdt.finish());
  return image.finish(rsdp(rsdt_at, xsdt_at));
}

}  // namespace callgate
