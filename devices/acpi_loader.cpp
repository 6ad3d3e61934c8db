#include "devices/acpi_loader.h"

#include <algorithm>
#include <string_view>

#include "base/bits.h"
#include "base/verify.h"

namespace callgate {
namespace {

// Commands and zones of QEMU's linker.
constexpr u32 kAllocate = 1, kAddPointer = 2, kAddChecksum = 3;
constexpr u8 kZoneHigh = 1, kZoneFseg = 2;  // any RAM below 4 GiB; the BIOS area, where the RSDP is looked for
constexpr std::size_t kCommandBytes = 128, kNameBytes = 56;
// Offsets in tables. ACPI 6.5, 5.2.5.3 RSDP, 5.2.6 Description Header, 5.2.9 FADT.
constexpr std::size_t kRsdpBytes = 36, kRsdpBytesV1 = 20, kRsdpChecksum = 8, kRsdpRsdt = 16, kRsdpXsdt = 24,
                      kRsdpExtendedChecksum = 32, kHeaderLength = 4, kHeaderChecksum = 9, kHeaderBytes = 36,
                      kFadtFacs = 36, kFadtDsdt = 40, kFadtXDsdt = 140;

/// The script, command by command.
class Script {
 public:
  void allocate(std::string_view file, u32 alignment, u8 zone) {
    u8* command = next(kAllocate);
    name(command + 4, file);
    store_as<u32>(command + 4 + kNameBytes, alignment);
    command[8 + kNameBytes] = zone;
  }
  /// The `size` bytes at `offset` of `file` point into `target`: firmware adds the address where it put that.
  void add_pointer(std::string_view file, std::string_view target, std::size_t offset, u8 size) {
    u8* command = next(kAddPointer);
    name(command + 4, file);
    name(command + 4 + kNameBytes, target);
    store_as<u32>(command + 4 + 2 * kNameBytes, static_cast<u32>(offset));
    command[8 + 2 * kNameBytes] = size;
  }
  /// The byte at `offset` makes `length` bytes from `start` on add up to 0.
  void add_checksum(std::string_view file, std::size_t offset, std::size_t start, std::size_t length) {
    u8* command = next(kAddChecksum);
    name(command + 4, file);
    store_as<u32>(command + 4 + kNameBytes, static_cast<u32>(offset));
    store_as<u32>(command + 8 + kNameBytes, static_cast<u32>(start));
    store_as<u32>(command + 12 + kNameBytes, static_cast<u32>(length));
  }
  std::vector<u8> bytes() && { return std::move(bytes_); }

 private:
  u8* next(u32 command) {
    bytes_.resize(bytes_.size() + kCommandBytes);
    u8* at = &bytes_[bytes_.size() - kCommandBytes];
    store_as<u32>(at, command);
    return at;
  }
  static void name(u8* to, std::string_view file) {
    VERIFY(file.size() < kNameBytes, "a file's name in a command has up to 55 bytes");
    std::copy(file.begin(), file.end(), to);
  }
  std::vector<u8> bytes_;
};

/// Follows the pointers from the RSDP on, makes each relative to the tables' file, and writes the script.
class Linker {
 public:
  explicit Linker(const std::vector<u8>& image)
      : rsdp_(image.begin(), image.begin() + kRsdpBytes), tables_(image.begin() + kAcpiFirstTable, image.end()) {
    script_.allocate(kAcpiRsdpFile, 16, kZoneFseg);
    script_.allocate(kAcpiTablesFile, 64, kZoneHigh);
  }

  AcpiLoaderFiles run() && {
    const std::size_t rsdt = pointer(rsdp_, kAcpiRsdpFile, kRsdpRsdt, 4);
    const std::size_t xsdt = pointer(rsdp_, kAcpiRsdpFile, kRsdpXsdt, 8);
    std::size_t fadt = 0;
    for (std::size_t at = kHeaderBytes; at < length_of(rsdt); at += 4) table_pointer(rsdt + at, 4);
    for (std::size_t at = kHeaderBytes; at < length_of(xsdt); at += 8) {
      const std::size_t table = table_pointer(xsdt + at, 8);
      if (is(table, "FACP")) fadt = table;
      else add_checksum(table);
    }
    VERIFY(fadt != 0, "there is an FADT");
    table_pointer(fadt + kFadtFacs, 4);  // the FACS has no checksum
    add_checksum(table_pointer(fadt + kFadtDsdt, 4));
    table_pointer(fadt + kFadtXDsdt, 8);
    for (const std::size_t table : {fadt, rsdt, xsdt}) add_checksum(table);
    rsdp_[kRsdpChecksum] = rsdp_[kRsdpExtendedChecksum] = 0;
    script_.add_checksum(kAcpiRsdpFile, kRsdpChecksum, 0, kRsdpBytesV1);
    script_.add_checksum(kAcpiRsdpFile, kRsdpExtendedChecksum, 0, kRsdpBytes);
    return {std::move(rsdp_), std::move(tables_), std::move(script_).bytes()};
  }

 private:
  bool is(std::size_t table, std::string_view signature) const {
    return std::equal(signature.begin(), signature.end(), tables_.begin() + static_cast<std::ptrdiff_t>(table));
  }
  std::size_t length_of(std::size_t table) const { return load_as<u32>(&tables_[table + kHeaderLength]); }

  /// Makes the pointer at `offset` relative, and returns where it points to in the tables' file.
  std::size_t pointer(std::vector<u8>& bytes, std::string_view file, std::size_t offset, u8 size) {
    u8* at = &bytes[offset];
    const u64 target = (size == 8 ? load_as<u64>(at) : load_as<u32>(at)) - kAcpiFirstTable;
    VERIFY(target < tables_.size(), "a table points to another one");
    if (size == 8) store_as<u64>(at, target);
    else store_as<u32>(at, static_cast<u32>(target));
    script_.add_pointer(file, kAcpiTablesFile, offset, size);
    return target;
  }
  std::size_t table_pointer(std::size_t offset, u8 size) { return pointer(tables_, kAcpiTablesFile, offset, size); }

  void add_checksum(std::size_t table) {
    tables_[table + kHeaderChecksum] = 0;
    script_.add_checksum(kAcpiTablesFile, table + kHeaderChecksum, table, length_of(table));
  }

  std::vector<u8> rsdp_, tables_;
  Script script_;
};

}  // namespace

AcpiLoaderFiles build_acpi_loader_files(AcpiConfig config) {
  config.address = 0;  // so that pointers are offsets
  return Linker(build_acpi_tables(config)).run();
}

}  // namespace callgate
