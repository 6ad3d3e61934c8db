// The ACPI tables: walked as a guest walks them, and read by ACPICA's disassembler.
#include "devices/acpi_tables.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/bits.h"
#include "devices/aml.h"

using namespace callgate;

namespace {

using Blob = std::vector<u8>;

u8 sum(const u8* p, std::size_t n) {
  u8 s = 0;
  for (std::size_t i = 0; i < n; ++i) s = static_cast<u8>(s + p[i]);
  return s;
}

/// Finds the tables from the RSDP, checking each frame on the way.
struct Walk {
  explicit Walk(const AcpiConfig& config) : base(config.address), image(build_acpi_tables(config)) {
    REQUIRE(std::string(image.begin(), image.begin() + 8) == "RSD PTR ");
    CHECK(sum(image.data(), 20) == 0);
    CHECK(sum(image.data(), 36) == 0);
    CHECK(image[15] == 2);
    const Blob rsdt = table(load_as<u32>(&image[16]), "RSDT");
    const Blob xsdt = table(load_as<u64>(&image[24]), "XSDT");
    REQUIRE((rsdt.size() - 36) / 4 == (xsdt.size() - 36) / 8);
    for (std::size_t i = 0; 36 + 8 * i < xsdt.size(); ++i) {
      const u64 at = load_as<u64>(&xsdt[36 + 8 * i]);
      CHECK(at == load_as<u32>(&rsdt[36 + 4 * i]));
      const Blob t = table(at, nullptr);
      tables[std::string(t.begin(), t.begin() + 4)] = t;
    }
    tables["DSDT"] = table(load_as<u64>(&tables.at("FACP")[140]), "DSDT");
    CHECK(load_as<u32>(&tables["FACP"][40]) == load_as<u64>(&tables["FACP"][140]));
  }
  Blob table(u64 at, const char* signature) {
    REQUIRE(at >= base);
    REQUIRE(at + 36 <= base + image.size());
    const u8* p = &image[at - base];
    const u32 length = load_as<u32>(p + 4);
    REQUIRE(at + length <= base + image.size());
    CHECK(sum(p, length) == 0);
    if (signature) CHECK(std::string(p, p + 4) == signature);
    return Blob(p, p + length);
  }
  u64 base;
  Blob image;
  std::map<std::string, Blob> tables;
};

/// The entries of a MADT by type.
std::multimap<u8, Blob> entries(const Blob& madt) {
  std::multimap<u8, Blob> out;
  std::size_t at = 44;
  while (at + 2 <= madt.size()) {
    const std::size_t length = madt[at + 1];
    REQUIRE(length >= 2);
    REQUIRE(at + length <= madt.size());
    out.emplace(madt[at], Blob(madt.begin() + static_cast<long>(at), madt.begin() + static_cast<long>(at + length)));
    at += length;
  }
  CHECK(at == madt.size());
  return out;
}

}  // namespace

TEST_CASE("every ACPI table is found from the RSDP by both roots, with right lengths and checksums") {
  Walk w(AcpiConfig{});
  CHECK(w.tables.size() == 4);
  for (const char* name : {"FACP", "APIC", "HPET", "DSDT"}) CHECK(w.tables.count(name) == 1);
}

TEST_CASE("the FADT names the fixed registers, the reset register and the legacy devices") {
  AcpiConfig config;
  Walk w(config);
  const Blob& f = w.tables.at("FACP");
  REQUIRE(f.size() == 276);
  CHECK(f[8] == 6);
  const u32 facs = load_as<u32>(&f[36]);
  CHECK(facs % 64 == 0);
  CHECK(std::string(&w.image[facs - w.base], &w.image[facs - w.base + 4]) == "FACS");
  CHECK(load_as<u16>(&f[46]) == 9);
  CHECK(load_as<u32>(&f[48]) == 0);  // no SMI command port
  CHECK(load_as<u32>(&f[56]) == 0x600);
  CHECK(load_as<u32>(&f[64]) == 0x604);
  CHECK(load_as<u32>(&f[76]) == 0x608);
  CHECK(load_as<u32>(&f[80]) == 0x620);
  CHECK(f[88] == 4);
  CHECK(f[89] == 2);
  CHECK(f[91] == 4);
  CHECK(f[92] == 4);
  CHECK(f[108] == 0x32);                  // century
  CHECK(load_as<u16>(&f[109]) == 0x7);    // legacy devices, 8042, no VGA
  CHECK(load_as<u32>(&f[112]) == 0x565);  // flags
  CHECK(load_as<u64>(&f[120]) == 0xCF9);  // reset register's address
  CHECK(f[128] == 6);                     // reset value
  CHECK(load_as<u64>(&f[152]) == 0x600);  // X_PM1a_EVT
  CHECK(load_as<u64>(&f[176]) == 0x604);  // X_PM1a_CNT
  CHECK(load_as<u64>(&f[212]) == 0x608);  // X_PM_TMR
  CHECK(load_as<u64>(&f[224]) == 0x620);  // X_GPE0
}

TEST_CASE("the MADT lists processors, the I/O APIC, the timer's override, the SCI and the NMI pin") {
  AcpiConfig config;
  config.apic_ids = {0, 1, 4};
  Walk w(config);
  const auto e = entries(w.tables.at("APIC"));
  CHECK(e.count(0) == 3);
  CHECK(std::prev(e.upper_bound(0))->second == Blob{0, 8, 2, 4, 1, 0, 0, 0});
  CHECK(e.find(1)->second == Blob{1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0});
  REQUIRE(e.count(2) == 2);
  CHECK(e.find(2)->second == Blob{2, 10, 0, 0, 2, 0, 0, 0, 0, 0});
  CHECK(std::next(e.find(2))->second == Blob{2, 10, 0, 9, 9, 0, 0, 0, 0x0D, 0});
  CHECK(e.find(4)->second == Blob{4, 6, 0xFF, 0, 0, 1});
  CHECK(e.count(9) == 0);
}

TEST_CASE("processors with ids above 254 are x2APIC entries") {
  AcpiConfig config;
  config.apic_ids = {0, 254, 255, 0x1000};
  Walk w(config);
  const auto e = entries(w.tables.at("APIC"));
  CHECK(e.count(0) == 2);
  REQUIRE(e.count(9) == 2);
  CHECK(e.find(9)->second == Blob{9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0});
  CHECK(e.find(0xA)->second == Blob{0xA, 12, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0});
}

TEST_CASE("without an HPET its table and its device are gone") {
  AcpiConfig config;
  config.hpet_address = 0;
  Walk w(config);
  CHECK(w.tables.count("HPET") == 0);
}

TEST_CASE("AML terms are encoded as the manual's grammar says") {
  using namespace callgate::aml;
  CHECK(integer(0) == Bytes{0x00});
  CHECK(integer(1) == Bytes{0x01});
  CHECK(integer(0x42) == Bytes{0x0A, 0x42});
  CHECK(integer(0x1234) == Bytes{0x0B, 0x34, 0x12});
  CHECK(integer(0x12345678) == Bytes{0x0C, 0x78, 0x56, 0x34, 0x12});
  CHECK(integer(0x1'0000'0000).size() == 9);
  CHECK(eisa_id("PNP0A03") == Bytes{0x0C, 0x41, 0xD0, 0x0A, 0x03});
  CHECK(path("\\_SB.PCI0") == Bytes{'\\', 0x2E, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'});
  CHECK(path("A.B.C").front() == 0x2F);
  CHECK(path("\\") == Bytes{'\\', 0});
  CHECK(package({integer(1)}) == Bytes{0x12, 0x03, 0x01, 0x01});
  // A package length of two and of three bytes.
  CHECK(scope("A", Bytes(100)).size() == 1 + 2 + 4 + 100);
  const Bytes big = scope("A", Bytes(5000));
  REQUIRE(big.size() == 1 + 3 + 4 + 5000);
  CHECK(big[1] == (0x80 | (5007 & 0xF)));
  CHECK((big[2] | big[3] << 8) == 5007 >> 4);
  // 63 is the first length that needs two bytes once it counts itself.
  CHECK(scope("A", Bytes(58))[1] == 63);
  CHECK(scope("A", Bytes(59))[1] == (0x40 | (65 & 0xF)));
}

TEST_CASE("ACPICA disassembles every table without an error, and compiles the DSDT again to the same bytes") {
  if (std::system("iasl -v > /dev/null 2>&1") != 0) {
    MESSAGE("skipped: iasl (package acpica-tools) is not installed");
    return;
  }
  namespace fs = std::filesystem;
  AcpiConfig config;
  config.apic_ids = {0, 1, 300};
  config.pci_memory64_first = 0x80'0000'0000;
  config.pci_memory64_last = 0xFF'FFFF'FFFF;
  config.hpet_id = 0x8086A201;
  Walk w(config);
  std::string pattern = (fs::temp_directory_path() / "callgate-acpi-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()));
  const fs::path dir = pattern;
  const auto run = [&](const std::string& arguments) {
    const std::string log = (dir / "log").string();
    const int status = std::system(("cd '" + dir.string() + "' && iasl " + arguments + " > log 2>&1").c_str());
    std::ifstream in(log);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    INFO(text);
    CHECK(status == 0);
    return text;
  };
  const auto slurp = [&](const std::string& file) {
    std::ifstream in(dir / file, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  for (const auto& entry : w.tables) {
    const std::string& name = entry.first;
    const Blob& bytes = entry.second;
    CAPTURE(name);
    std::ofstream(dir / (name + ".dat"), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    const std::string text = run("-d " + name + ".dat");
    CHECK(text.find("rror") == std::string::npos);
    const std::string source = slurp(name + ".dsl");
    CHECK(source.find("**** ") == std::string::npos);  // how it marks what it can't read
    CHECK(source.find("Incorrect checksum") == std::string::npos);
  }
  const std::string text = run("-oa -p again DSDT.dsl");  // -oa: keep every term as written
  CHECK(text.find(" 0 Errors") != std::string::npos);
  const std::string again = slurp("again.aml");
  const Blob& dsdt = w.tables.at("DSDT");
  REQUIRE(again.size() == dsdt.size());
  // The header differs by the compiler's id and the checksum.
  CHECK(std::equal(dsdt.begin() + 36, dsdt.end(), again.begin() + 36,
                   [](u8 a, char b) { return a == static_cast<u8>(b); }));
  fs::remove_all(dir);
}
