// The linker's script, executed as firmware does it: the tables that come out are those that the board writes itself.
#include "devices/acpi_loader.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

#include "base/bits.h"

using namespace callgate;

namespace {

using Blob = std::vector<u8>;

/// Firmware's side: places the files where it is told and follows the script, refusing what real firmware refuses.
struct Firmware {
  Firmware(const AcpiLoaderFiles& files, u64 rsdp_at, u64 tables_at) {
    const std::map<std::string, u64> places = {{kAcpiRsdpFile, rsdp_at}, {kAcpiTablesFile, tables_at}};
    const std::map<std::string, Blob> contents = {{kAcpiRsdpFile, files.rsdp}, {kAcpiTablesFile, files.tables}};
    REQUIRE(files.script.size() % 128 == 0);
    for (std::size_t at = 0; at < files.script.size(); at += 128) {
      const u8* c = &files.script[at];
      const auto name = [&](unsigned offset) { return std::string(reinterpret_cast<const char*>(c + offset)); };
      switch (load_as<u32>(c)) {
        case 1:
          REQUIRE(!blobs.count(name(4)));
          REQUIRE(places.at(name(4)) % load_as<u32>(c + 60) == 0);
          zones[name(4)] = c[64];
          blobs[name(4)] = contents.at(name(4));
          break;
        case 2: {
          Blob& blob = blobs.at(name(4));
          REQUIRE(blobs.count(name(60)));
          const u32 offset = load_as<u32>(c + 116);
          const u8 size = c[120];
          REQUIRE(offset + size <= blob.size());
          u64 value = 0;
          for (unsigned n = 0; n < size; n++) value |= u64{blob[offset + n]} << 8 * n;
          CHECK(value < blobs.at(name(60)).size());
          value += places.at(name(60));
          REQUIRE((size == 8 || value >> 8 * size == 0));
          for (unsigned n = 0; n < size; n++) blob[offset + n] = static_cast<u8>(value >> 8 * n);
          pointers++;
          break;
        }
        case 3: {
          Blob& blob = blobs.at(name(4));
          const u32 offset = load_as<u32>(c + 60), start = load_as<u32>(c + 64), length = load_as<u32>(c + 68);
          REQUIRE(u64{start} + length <= blob.size());
          REQUIRE(offset >= start);
          REQUIRE(offset < start + length);
          CHECK(blob[offset] == 0);  // some firmware adds to it, some replaces it
          u8 sum = 0;
          for (u32 n = start; n < start + length; n++) sum = static_cast<u8>(sum + blob[n]);
          blob[offset] = static_cast<u8>(blob[offset] - sum);
          checksums++;
          break;
        }
        default: FAIL("a command that firmware doesn't know");
      }
    }
  }
  std::map<std::string, Blob> blobs;
  std::map<std::string, u8> zones;
  unsigned pointers = 0, checksums = 0;
};

/// The outcome must be what the board writes at an address kAcpiFirstTable below the tables' file: checksums included.
void check_against_board(AcpiConfig config, u64 rsdp_at, u64 tables_at) {
  const Firmware firmware(build_acpi_loader_files(config), rsdp_at, tables_at);
  config.address = tables_at - kAcpiFirstTable;
  const Blob expected = build_acpi_tables(config);
  CHECK(firmware.blobs.at(kAcpiTablesFile) == Blob(expected.begin() + kAcpiFirstTable, expected.end()));
  CHECK(firmware.blobs.at(kAcpiRsdpFile) == Blob(expected.begin(), expected.begin() + 36));
}

}  // namespace

TEST_CASE("ACPI loader: firmware that follows the script gets the board's own tables, wherever it puts them") {
  for (const u64 tables_at : {u64{0x40}, u64{0xF0000}, u64{0x1FFE'0000}, u64{0xBFFF'0040}, u64{0xFFFE'0000}})
    check_against_board({}, 0xF59A0, tables_at);
}

TEST_CASE("ACPI loader: also with many processors, and without an HPET") {
  AcpiConfig config;
  config.apic_ids.clear();
  for (u32 id = 0; id < 300; id++) config.apic_ids.push_back(id);
  check_against_board(config, 0xF0000, 0x7FFF'0000);
  config.hpet_address = 0;
  check_against_board(config, 0xF0000, 0x7FFF'0000);
}

TEST_CASE("ACPI loader: the RSDP goes to the BIOS area, the tables high; every pointer and table is in the script") {
  const Firmware firmware(build_acpi_loader_files({}), 0xF0000, 0x1000'0000);
  CHECK(firmware.zones.at(kAcpiRsdpFile) == 2);
  CHECK(firmware.zones.at(kAcpiTablesFile) == 1);
  CHECK(firmware.pointers == 2 + 2 * 3 + 3);  // RSDP, RSDT and XSDT of three tables, FADT
  CHECK(firmware.checksums == 2 + 2 + 3 + 1);
}
