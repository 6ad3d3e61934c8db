#include "machine/boot/elf.h"

#include <fmt/format.h>

#include <algorithm>

namespace callgate::boot {

namespace {

// System V ABI, ELF Header and Program Header; AMD64 supplement for EM_X86_64.
constexpr u32 kMagic = 0x464C457F;
constexpr u8 kClass32 = 1;
constexpr u8 kClass64 = 2;
constexpr u8 kLittleEndian = 1;
constexpr u16 kTypeRelocatable = 1;
constexpr u16 kTypeExecutable = 2;
constexpr u16 kTypeShared = 3;
constexpr u16 kTypeCore = 4;
constexpr u16 kMachine386 = 3;
constexpr u16 kMachineX86_64 = 62;
constexpr u32 kSegmentLoad = 1;
constexpr u32 kSegmentNote = 4;
constexpr u32 kNotePhys32Entry = 18;  // Xen, public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY

// Kernels have a handful of program headers and notes; more than this is damage, or an attempt to keep us busy.
constexpr u16 kMaxProgramHeaders = 256;
constexpr unsigned kMaxNotes = 4096;

struct ProgramHeader {
  u32 type;
  u64 offset, virtual_address, physical, file_size, memory_size, align;
};

ProgramHeader program_header(ByteView file, u64 at, bool is_64bit) {
  if (is_64bit) {
    return {file.at<u32>(at),      file.at<u64>(at + 8),  file.at<u64>(at + 16), file.at<u64>(at + 24),
            file.at<u64>(at + 32), file.at<u64>(at + 40), file.at<u64>(at + 48)};
  }
  return {file.at<u32>(at),      file.at<u32>(at + 4),  file.at<u32>(at + 8), file.at<u32>(at + 12),
          file.at<u32>(at + 16), file.at<u32>(at + 20), file.at<u32>(at + 28)};
}

// The PVH entry out of one note segment, which is inside the file.
std::optional<u64> find_pvh_entry(ByteView file, const ProgramHeader& header, unsigned& budget) {
  const u64 align = header.align == 8 ? 8 : 4;
  auto padded = [align](u64 n) { return (n + align - 1) & ~(align - 1); };
  u64 at = header.offset;
  const u64 end = header.offset + header.file_size;
  while (end - at >= 12 && budget > 0) {
    budget--;
    const u32 name_size = file.at<u32>(at);
    const u32 value_size = file.at<u32>(at + 4);
    const u32 type = file.at<u32>(at + 8);
    const u64 value_at = at + 12 + padded(name_size);
    if (value_at > end || value_size > end - value_at) return std::nullopt;
    if (type == kNotePhys32Entry && name_size == 4 && file.at<u32>(at + 12) == 0x006E6558 /* "Xen" */) {
      if (value_size == 4) return file.at<u32>(value_at);
      if (value_size == 8) return file.at<u64>(value_at);
    }
    at = std::min(end, value_at + padded(value_size));
  }
  return std::nullopt;
}

}  // namespace

bool looks_like_elf(ByteView file) { return file.has(0, 4) && file.at<u32>(0) == kMagic; }

Result<ElfImage> parse_elf(ByteView file, const std::string& name) {
  auto bad = [&name](const std::string& what) { return fail(ErrorKind::BadFile, name + ": " + what); };
  if (!looks_like_elf(file)) return bad("not an ELF file");
  if (!file.has(0, 16)) return bad("the ELF header is cut off");
  const u8 elf_class = file.at<u8>(4);
  if (elf_class != kClass32 && elf_class != kClass64) return bad("the ELF header is damaged (neither 32 nor 64 bit)");
  if (file.at<u8>(5) != kLittleEndian) return bad("a big-endian ELF file, so not for x86");

  ElfImage image;
  image.is_64bit = elf_class == kClass64;
  const u64 header_size = image.is_64bit ? 64 : 52;
  if (!file.has(0, header_size)) return bad("the ELF header is cut off");
  const u16 type = file.at<u16>(16);
  const u16 machine = file.at<u16>(18);
  if (machine != kMachine386 && machine != kMachineX86_64) {
    return bad(fmt::format("an ELF file for another processor than x86 (machine number {})", machine));
  }
  if (type == kTypeRelocatable) return bad("an object file or kernel module, not a linked kernel");
  if (type == kTypeCore) return bad("a core dump, not a kernel");
  if (type != kTypeExecutable && type != kTypeShared) return bad(fmt::format("an ELF file of unknown type {}", type));

  image.entry = image.is_64bit ? file.at<u64>(24) : file.at<u32>(24);
  const u64 table = image.is_64bit ? file.at<u64>(32) : file.at<u32>(28);
  const u16 entry_size = file.at<u16>(image.is_64bit ? 54 : 42);
  const u16 count = file.at<u16>(image.is_64bit ? 56 : 44);
  if (count == 0) return bad("the ELF file has no program headers, so nothing to load");
  if (count > kMaxProgramHeaders) return bad(fmt::format("the ELF header is damaged ({} program headers)", count));
  if (entry_size < (image.is_64bit ? 56 : 32)) {
    return bad(fmt::format("the ELF header is damaged (program headers of {} bytes)", entry_size));
  }
  if (!file.has(table, u64{entry_size} * count)) return bad("the ELF file is cut off before its program headers' end");

  unsigned note_budget = kMaxNotes;
  u64 file_bytes = 0;
  bool entry_found = false;
  for (u16 i = 0; i < count; i++) {
    const ProgramHeader h = program_header(file, table + u64{entry_size} * i, image.is_64bit);
    if (h.type != kSegmentLoad && h.type != kSegmentNote) continue;
    if (!file.has(h.offset, h.file_size)) {
      return bad(fmt::format("the ELF file is cut off: program header {} wants bytes 0x{:x} to 0x{:x} of {}", i,
                             h.offset, u128{h.offset} + h.file_size > ~u64{0} ? ~u64{0} : h.offset + h.file_size,
                             file.size()));
    }
    if (h.type == kSegmentNote) {
      if (!image.pvh_entry) image.pvh_entry = find_pvh_entry(file, h, note_budget);
      continue;
    }
    if (h.memory_size < h.file_size || h.memory_size > ~u64{0} - h.physical) {
      return bad(fmt::format("the ELF file is damaged (program header {} has impossible sizes)", i));
    }
    if (h.memory_size == 0) continue;
    image.segments.push_back({h.physical, h.virtual_address, h.offset, h.file_size, h.memory_size});
    file_bytes += h.file_size;
    if (!entry_found && image.entry >= h.virtual_address && image.entry - h.virtual_address < h.memory_size) {
      image.physical_entry = image.entry - h.virtual_address + h.physical;
      entry_found = true;
    }
  }
  if (image.segments.empty()) return bad("the ELF file has no segments to load");
  // Segments may share a page of the file at their seams, no more; else a small file could fill the host's memory.
  if (file_bytes > 2 * file.size()) return bad("the ELF file is damaged (its segments overlap in the file)");
  if (!entry_found) image.physical_entry = image.entry;
  return image;
}

}  // namespace callgate::boot
