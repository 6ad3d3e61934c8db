#include "machine/boot/plan_builder.h"

#include <fmt/format.h>

#include <algorithm>

namespace callgate::boot {

namespace {

// SDM 3A, Segment Descriptors: base 0, limit 4 GiB, DPL 0, accessed.
constexpr u64 kCode32Descriptor = 0x00CF9B000000FFFF;
constexpr u64 kCode64Descriptor = 0x00AF9B000000FFFF;
constexpr u64 kDataDescriptor = 0x00CF93000000FFFF;
constexpr u64 kTaskDescriptor = 0x00008B0000000067;  // busy 32-bit TSS at 0, of the smallest size

constexpr u64 kCr0Pe = 1 << 0;
constexpr u64 kCr0Et = 1 << 4;
constexpr u64 kCr0Pg = u64{1} << 31;
constexpr u64 kCr4Pae = 1 << 5;
constexpr u64 kEferLme = 1 << 8;
constexpr u64 kEferLma = 1 << 10;

constexpr u64 kPresent = 1 << 0;
constexpr u64 kWritable = 1 << 1;
constexpr u64 kLargePage = 1 << 7;

constexpr u64 kLowest = kPageSize;

// The hidden part that loading `descriptor` gives.
SegmentState loaded(u16 selector, u64 descriptor) {
  SegmentState s;
  s.selector = selector;
  s.attributes = static_cast<u16>((descriptor >> 40) & 0xF0FF);
  const u32 limit = static_cast<u32>((descriptor & 0xFFFF) | ((descriptor >> 32) & 0xF0000));
  s.limit = bit(descriptor, 55) ? (limit << 12) | 0xFFF : limit;
  return s;
}

}  // namespace

tl::unexpected<Error> PlanBuilder::no_room(const std::string& name, const std::string& what, u64 start,
                                           u64 size) const {
  u64 top = 0;
  for (const MemoryRange& r : memory_.ranges) {
    if (r.type == RangeType::Usable) top = std::max(top, r.end());
  }
  if (start < top && size <= top - start) {
    return fail(ErrorKind::BadFile, fmt::format("{}: {} of {} must be at 0x{:x}, where the guest has no free RAM", name,
                                                what, size_in_words(size), start));
  }
  return fail(ErrorKind::BadArgument,
              fmt::format("{}: {} of {} at 0x{:x} does not fit into {} of RAM: give the guest more with -m", name, what,
                          size_in_words(size), start, size_in_words(memory_.usable_bytes())));
}

void PlanBuilder::load_at(u64 physical, FilePart bytes, u64 zeros) {
  placer_.take(physical, bytes.size() + zeros);
  kernel_end_ = std::max(kernel_end_, physical + bytes.size() + zeros);
  plan_.loads.push_back({physical, std::move(bytes), zeros});
}

Result<> PlanBuilder::load_elf(const std::shared_ptr<const FileBytes>& file, const ElfImage& image,
                               const std::string& name) {
  for (const ElfSegment& s : image.segments) {
    if (!placer_.is_ram(s.physical, s.memory_size)) return no_room(name, "a segment", s.physical, s.memory_size);
    load_at(s.physical, {file, ByteView(*file).slice(s.file_offset, s.file_size)}, s.memory_size - s.file_size);
  }
  return {};
}

Result<u64> PlanBuilder::reserve_low(u64 size, u64 align) {
  if (const auto at = placer_.take_low(size, align, kLowest, k4GiB)) return *at;
  return fail(ErrorKind::BadArgument,
              fmt::format("{} of RAM leave no room for the boot structures: give the guest more with -m",
                          size_in_words(memory_.usable_bytes())));
}

Result<u64> PlanBuilder::put_low(FileBytes bytes, u64 align) {
  const auto at = reserve_low(bytes.size(), align);
  if (at) plan_.loads.push_back({*at, std::move(bytes), 0});
  return at;
}

Result<u64> PlanBuilder::put_file(std::optional<u64> at, BootFile file) {
  if (!at) {
    return fail(ErrorKind::BadArgument,
                fmt::format("{}: {} do not fit into {} of RAM beside the kernel: give the guest more with -m",
                            file.name, size_in_words(file.bytes.size()), size_in_words(memory_.usable_bytes())));
  }
  plan_.loads.push_back({*at, std::move(file.bytes), 0});
  return *at;
}

Result<u64> PlanBuilder::put_high(BootFile file, u64 last) {
  const u64 limit = last == ~u64{0} ? last : last + 1;
  const auto at = placer_.take_high(file.bytes.size(), kPageSize, limit);
  return put_file(at, std::move(file));
}

Result<u64> PlanBuilder::put_above_kernel(BootFile file) {
  const auto at = placer_.take_low(file.bytes.size(), kPageSize, kernel_end_, k4GiB);
  return put_file(at, std::move(file));
}

Result<> PlanBuilder::put_gdt(u64 code_descriptor) {
  ByteWriter gdt;
  for (u64 descriptor : {u64{0}, u64{0}, code_descriptor, kDataDescriptor, kTaskDescriptor, u64{0}}) {
    gdt.append(descriptor);  // the task descriptor has 16 bytes in long mode: the last 8 are zeros
  }
  auto bytes = gdt.take();
  const u16 limit = static_cast<u16>(bytes.size() - 1);
  const auto at = put_low(std::move(bytes), 16);
  if (!at) return tl::make_unexpected(at.error());

  EntryState& e = plan_.entry;
  e.gdtr = {*at, limit};
  e.cs = loaded(kCodeSelector, code_descriptor);
  e.ss = e.ds = e.es = e.fs = e.gs = loaded(kDataSelector, kDataDescriptor);
  e.tr = loaded(kTaskSelector, kTaskDescriptor);
  return {};
}

Result<> PlanBuilder::enter_protected_mode() {
  if (auto r = put_gdt(kCode32Descriptor); !r) return r;
  plan_.entry.cr0 = kCr0Pe | kCr0Et;
  return {};
}

Result<> PlanBuilder::enter_long_mode() {
  if (auto r = put_gdt(kCode64Descriptor); !r) return r;
  // One PML4, one page-directory-pointer table and four directories, in this order in six pages that follow one
  // another.
  constexpr unsigned kTables = 6;
  const auto at = reserve_low(kTables * kPageSize, kPageSize);
  if (!at) return tl::make_unexpected(at.error());
  ByteWriter tables(kTables * kPageSize);
  tables.put<u64>(0, (*at + kPageSize) | kPresent | kWritable);
  for (u64 i = 0; i < 4; i++) {
    tables.put<u64>(kPageSize + 8 * i, (*at + (2 + i) * kPageSize) | kPresent | kWritable);
  }
  for (u64 i = 0; i < 4 * 512; i++) {
    tables.put<u64>(2 * kPageSize + 8 * i, (i << 21) | kPresent | kWritable | kLargePage);
  }
  plan_.loads.push_back({*at, tables.take(), 0});

  EntryState& e = plan_.entry;
  e.cr0 = kCr0Pe | kCr0Et | kCr0Pg;
  e.cr3 = *at;
  e.cr4 = kCr4Pae;
  e.efer = kEferLme | kEferLma;
  return {};
}

FileBytes c_string(const std::string& text) {
  FileBytes bytes(text.begin(), text.end());
  bytes.push_back(0);
  return bytes;
}

}  // namespace callgate::boot
