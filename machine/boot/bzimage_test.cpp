#include "machine/boot/bzimage.h"

#include <doctest/doctest.h>

#include "machine/boot/test_images.h"

using namespace callgate;
using namespace callgate::boot;
using namespace callgate::boot::test;

namespace {

Bytes image() { return make_bzimage(make_payload(make_elf({}), Compression::Gzip)); }

std::string error_of(const Bytes& file) {
  const auto parsed = parse_bzimage(file, "vmlinuz");
  return parsed ? "none" : parsed.error().message;
}

template <class T>
std::string error_with(u64 at, T value) {
  Bytes f = image();
  put<T>(f, at, value);
  return error_of(f);
}

}  // namespace

TEST_CASE("the fields of the setup header are where the boot protocol says") {
  const Bytes f = image();
  const auto parsed = parse_bzimage(f, "vmlinuz");
  REQUIRE(parsed.has_value());
  CHECK(parsed->version == 0x20F);
  CHECK(parsed->protected_mode_start == 1024);
  CHECK(parsed->protected_mode_size == f.size() - 1024);
  CHECK(parsed->header_end == 0x264);
  CHECK(parsed->has_64bit_entry);
  CHECK(parsed->alignment == 0x200000);
  CHECK(parsed->preferred_address == 0x400000);
  CHECK(parsed->init_size == 0x100000);
  CHECK(parsed->initrd_last == 0x7FFFFFFF);
  CHECK(parsed->command_line_limit == 2047);
  CHECK(parsed->payload_start == 1024 + 0x240);
}

TEST_CASE("a bzImage may end inside its last paragraph, as Memtest86+'s does") {
  Bytes f = image();
  put<u32>(f, 0x1F4, static_cast<u32>((f.size() - 1024) / 16 + 1));
  f.resize(f.size() + 8);
  const auto parsed = parse_bzimage(f, "vmlinuz");
  REQUIRE(parsed.has_value());
  CHECK(parsed->protected_mode_size == f.size() - 1024);
}

TEST_CASE("a bzImage cut off anywhere else is refused") {
  const Bytes whole = image();
  for (std::size_t n = 0; n + 16 <= whole.size(); n++) {
    CAPTURE(n);
    const std::string message = error_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)});
    CHECK(message.starts_with("vmlinuz: "));
    if (n >= 0x206) CHECK(message.find("cut off") != std::string::npos);
  }
}

TEST_CASE("a field that makes no sense is refused by name") {
  CHECK(error_with<u16>(0x1FE, 0) == "vmlinuz: the Linux kernel's setup header is damaged (boot flag)");
  CHECK(error_with<u32>(0x202, 0) == "vmlinuz: not a Linux kernel image (bzImage)");
  CHECK(error_with<u16>(0x206, 0x20B) ==
        "vmlinuz: a Linux kernel with boot protocol 2.11; 2.12 (Linux 3.8) is the oldest supported");
  CHECK(error_with<u8>(0x211, 0) == "vmlinuz: a zImage, which is loaded below 1 MiB; only bzImages work");
  CHECK(error_with<u8>(0x201, 0x20) == "vmlinuz: the Linux kernel's setup header is damaged (it ends at 0x222)");
  CHECK(error_with<u8>(0x201, 0xFF) == "vmlinuz: the Linux kernel's setup header is damaged (it ends at 0x301)");
  CHECK(error_with<u32>(0x1F4, 0) == "vmlinuz: the Linux kernel's setup header is damaged (no protected-mode code)");
  CHECK(error_with<u32>(0x1F4, 0xFFFFFFFF).find("cut off") != std::string::npos);
  CHECK(error_with<u8>(0x1F1, 200).find("cut off") != std::string::npos);
  CHECK(error_with<u32>(0x230, 3) == "vmlinuz: the Linux kernel's setup header is damaged (alignment 0x3)");
  const std::string outside =
      "vmlinuz: the Linux kernel's setup header is damaged (the compressed kernel lies outside of the image)";
  CHECK(error_with<u32>(0x248, 0xFFFFFFFF) == outside);
  CHECK(error_with<u32>(0x24C, 0xFFFFFFFF) == outside);
}

TEST_CASE("a setup_sects of 0 means 4") {
  Bytes f = image();
  put<u8>(f, 0x1F1, 0);
  const auto parsed = parse_bzimage(f, "vmlinuz");
  CHECK(!parsed.has_value());  // so the image is now too short
  f.resize(f.size() + 3 * 512);
  CHECK(parse_bzimage(f, "vmlinuz")->protected_mode_start == 5 * 512);
}

TEST_CASE("no byte of the header makes the parser read outside of the file") {
  const Bytes whole = image();
  for (std::size_t at = 0x1F1; at < 0x264; at++) {
    for (const u8 value : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
      Bytes f = whole;
      f[at] = value;
      const auto parsed = parse_bzimage(f, "vmlinuz");
      if (parsed) (void)unpack_payload(f, *parsed, 1 << 20, "vmlinuz");
    }
  }
}

TEST_CASE("a payload that isn't as large as it promises is damaged") {
  const Bytes elf = make_elf({});
  for (const Compression format :
       {Compression::Gzip, Compression::Xz, Compression::Lzma, Compression::Lz4, Compression::Zstd}) {
    CAPTURE(compression_name(format));
    Bytes payload = make_payload(elf, format);
    for (const int change : {-1, 1}) {
      put<u32>(payload, payload.size() - 4, static_cast<u32>(elf.size()) + static_cast<u32>(change));
      const Bytes f = make_bzimage(payload);
      const auto unpacked = unpack_payload(f, parse_bzimage(f, "vmlinuz").value(), 1 << 20, "vmlinuz");
      REQUIRE(!unpacked.has_value());
      CHECK(unpacked.error().message.starts_with("vmlinuz: the kernel inside"));
    }
    put<u32>(payload, payload.size() - 4, 0x40000000);
    const Bytes f = make_bzimage(payload);
    const auto unpacked = unpack_payload(f, parse_bzimage(f, "vmlinuz").value(), 1 << 20, "vmlinuz");
    CHECK(unpacked.error().message ==
          "vmlinuz: the kernel inside claims 1024 MiB unpacked; 1 MiB is the most that is allowed");
  }
}
