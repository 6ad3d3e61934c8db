#include "machine/boot/elf.h"

#include <doctest/doctest.h>

#include "machine/boot/test_images.h"

using namespace callgate;
using namespace callgate::boot;
using namespace callgate::boot::test;

namespace {

ElfSpec spec32() {
  ElfSpec spec;
  spec.is_64bit = false;
  spec.virtual_address = 0xC1000000;
  spec.entry = 0xC1000010;
  return spec;
}

std::string error_of(const Bytes& file) {
  const auto image = parse_elf(file, "vmlinux");
  return image ? "none" : image.error().message;
}

}  // namespace

TEST_CASE("segments, entry and PVH note are read, in 32 and 64 bits") {
  for (const ElfSpec& spec : {ElfSpec{}, spec32()}) {
    const auto image = parse_elf(make_elf(spec), "vmlinux");
    REQUIRE(image.has_value());
    CHECK(image->is_64bit == spec.is_64bit);
    CHECK(image->entry == spec.entry);
    CHECK(image->physical_entry == 0x200010);
    CHECK(image->pvh_entry == 0x200040);
    REQUIRE(image->segments.size() == 1);
    CHECK(image->segments[0].physical == 0x200000);
    CHECK(image->segments[0].file_size == 300);
    CHECK(image->segments[0].memory_size == 300 + 0x5000);
  }
}

TEST_CASE("an ELF file cut off anywhere is refused or lacks nothing") {
  for (const ElfSpec& spec : {ElfSpec{}, spec32()}) {
    const Bytes whole = make_elf(spec);
    for (std::size_t n = 0; n < whole.size(); n++) {
      CAPTURE(n);
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
      const std::string message = error_of(cut);
      CHECK(message.starts_with("vmlinux: "));
      if (n >= 4) CHECK(message.find("cut off") != std::string::npos);
    }
  }
}

TEST_CASE("what is not an x86 kernel is told by its kind") {
  Bytes f = make_elf({});
  put<u16>(f, 18, 183);
  CHECK(error_of(f) == "vmlinux: an ELF file for another processor than x86 (machine number 183)");
  f = make_elf({});
  put<u16>(f, 16, 1);
  CHECK(error_of(f) == "vmlinux: an object file or kernel module, not a linked kernel");
  f = make_elf({});
  put<u8>(f, 5, 2);
  CHECK(error_of(f) == "vmlinux: a big-endian ELF file, so not for x86");
  f = make_elf({});
  put<u16>(f, 56, 0);
  CHECK(error_of(f) == "vmlinux: the ELF file has no program headers, so nothing to load");
}

TEST_CASE("impossible sizes in a program header are refused") {
  constexpr u64 kHeader = 64;
  Bytes f = make_elf({});
  put<u64>(f, kHeader + 40, 10);  // memory size below file size
  CHECK(error_of(f) == "vmlinux: the ELF file is damaged (program header 0 has impossible sizes)");
  f = make_elf({});
  put<u64>(f, kHeader + 24, ~u64{0} - 100);  // physical address wraps
  CHECK(error_of(f) == "vmlinux: the ELF file is damaged (program header 0 has impossible sizes)");
  f = make_elf({});
  put<u64>(f, kHeader + 8, ~u64{0});  // offset
  CHECK(error_of(f).find("cut off") != std::string::npos);
}

TEST_CASE("segments that share the file's bytes many times over are refused") {
  Bytes f = make_elf({});
  constexpr u16 kCount = 200;
  const u64 table = f.size();
  put<u64>(f, 32, table);
  put<u16>(f, 56, kCount);
  for (u64 i = 0; i < kCount; i++) {
    for (u64 field = 0; field < 7; field++) {
      const u64 values[] = {1, 0, 0, 0x200000, table, table, 0};
      put<u64>(f, table + 56 * i + 8 * field, values[field]);
    }
  }
  CHECK(error_of(f) == "vmlinux: the ELF file is damaged (its segments overlap in the file)");
}

TEST_CASE("a note with sizes past its end is no note") {
  Bytes f = make_elf({});
  const u64 note = 64 + 2 * 56;
  put<u32>(f, note, 0xFFFFFFFF);
  CHECK(!parse_elf(f, "vmlinux")->pvh_entry);
  f = make_elf({});
  put<u32>(f, note + 4, 0xFFFFFFF0);
  CHECK(!parse_elf(f, "vmlinux")->pvh_entry);
}
