// The frame that every ACPI table has: header, length, checksum. Ref: ACPI Specification 6.5, 5.2.6.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace callgate {

/// The byte that makes all of `data` and itself add up to zero.
u8 acpi_checksum(std::span<const u8> data);

/// Collects one table's fields in order, little-endian.
class AcpiTable {
 public:
  AcpiTable(std::string_view signature, u8 revision);

  AcpiTable& u8_(u64 v) { return number(v, 1); }
  AcpiTable& u16_(u64 v) { return number(v, 2); }
  AcpiTable& u32_(u64 v) { return number(v, 4); }
  AcpiTable& u64_(u64 v) { return number(v, 8); }
  AcpiTable& zeros(std::size_t n);
  AcpiTable& bytes(std::span<const u8> data);
  /// A generic address of a register in I/O space (`ports` true) or memory; `width` in bits, `access` 1 to 4 for byte
  /// to quad word (ACPI 6.5, 5.2.3.2 Generic Address Structure).
  AcpiTable& address(bool ports, u64 where, u8 width, u8 access);

  std::size_t size() const { return data_.size(); }
  /// The table with its length and checksum filled in.
  std::vector<u8> finish();

 private:
  AcpiTable& number(u64 value, unsigned size);
  std::vector<u8> data_;
};

}  // namespace callgate
