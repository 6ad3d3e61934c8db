// The guest's physical memory as firmware would report it, in the vocabulary of E820.
// Written by the board, read by the loaders; knows nothing of who else uses the addresses.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace callgate::boot {

/// The kinds of memory range that E820, PVH and Multiboot agree on. // ACPI specification, Address Range Types
enum class RangeType : u32 { Usable = 1, Reserved = 2, AcpiTables = 3, AcpiNvs = 4 };

/// One range of guest-physical addresses, in bytes.
struct MemoryRange {
  u64 start = 0;
  u64 size = 0;
  RangeType type = RangeType::Usable;

  /// The first address past the range, or the top of the address space when the range would wrap.
  u64 end() const { return size > ~u64{0} - start ? ~u64{0} : start + size; }
};

/// All of the ranges, sorted by address and without overlaps, and where the board put the ACPI root pointer.
struct MemoryMap {
  std::vector<MemoryRange> ranges;
  u64 rsdp = 0;  ///< guest-physical address of the RSDP, or 0 without ACPI

  /// The sum of all usable bytes.
  u64 usable_bytes() const;
};

/// "40 MiB", "12 KiB" or "7 bytes": sizes as the error messages write them.
std::string size_in_words(u64 bytes);

}  // namespace callgate::boot
