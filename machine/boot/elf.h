// ELF executables, 32 and 64 bit, as far as loading a kernel needs them: segments, entry, and Xen's PVH note.
// Places nothing; section headers and symbols are not looked at.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/boot/byte_view.h"

namespace callgate::boot {

/// One PT_LOAD program header. The file part is inside the file, and physical + memory_size does not wrap.
struct ElfSegment {
  u64 physical = 0;
  u64 virtual_address = 0;
  u64 file_offset = 0;
  u64 file_size = 0;
  u64 memory_size = 0;  ///< at least file_size; the rest is zeros
};

struct ElfImage {
  bool is_64bit = false;
  u64 entry = 0;           ///< e_entry, a virtual address
  u64 physical_entry = 0;  ///< e_entry moved to where its segment is loaded
  std::vector<ElfSegment> segments;
  std::optional<u64> pvh_entry;  ///< physical address out of XEN_ELFNOTE_PHYS32_ENTRY
};

/// True when the file starts as an ELF file does.
bool looks_like_elf(ByteView file);

/// Reads the headers. `name` is what errors call the file.
Result<ElfImage> parse_elf(ByteView file, const std::string& name);

}  // namespace callgate::boot
