#include "machine/boot/bzimage.h"

#include <fmt/format.h>

#include <algorithm>

#include "machine/boot/memory_map.h"

namespace callgate::boot {

namespace {

// Offsets in the file. // Linux, Documentation/arch/x86/boot.rst, The Real-Mode Kernel Header
constexpr u64 kSetupSects = 0x1F1;
constexpr u64 kSyssize = 0x1F4;
constexpr u64 kBootFlag = 0x1FE;
constexpr u64 kHeaderLength = 0x201;
constexpr u64 kSignature = 0x202;
constexpr u64 kVersion = 0x206;
constexpr u64 kLoadflags = 0x211;
constexpr u64 kInitrdAddrMax = 0x22C;
constexpr u64 kKernelAlignment = 0x230;
constexpr u64 kRelocatable = 0x234;
constexpr u64 kXloadflags = 0x236;
constexpr u64 kCmdlineSize = 0x238;
constexpr u64 kPayloadOffset = 0x248;
constexpr u64 kPayloadLength = 0x24C;
constexpr u64 kPrefAddress = 0x258;
constexpr u64 kInitSize = 0x260;
constexpr u64 kHeaderEnd = 0x264;  // of the fields of protocol 2.10, which are all that is read

constexpr u32 kHdrS = 0x53726448;
constexpr u16 kBootFlagValue = 0xAA55;
constexpr u8 kLoadedHigh = 1 << 0;
constexpr u16 kXlfKernel64 = 1 << 0;
constexpr u16 kProtocol2_12 = 0x020C;
constexpr u64 kSector = 512;
// The room that struct boot_params has for the header. // Linux, Documentation/arch/x86/zero-page.rst
constexpr u64 kMaxHeaderEnd = 0x290;

}  // namespace

bool looks_like_bzimage(ByteView file) { return file.has(kSignature, 4) && file.at<u32>(kSignature) == kHdrS; }

Result<BzImage> parse_bzimage(ByteView file, const std::string& name) {
  auto bad = [&name](const std::string& what) { return fail(ErrorKind::BadFile, name + ": " + what); };
  if (!looks_like_bzimage(file)) return bad("not a Linux kernel image (bzImage)");
  if (!file.has(0, kHeaderEnd)) return bad("the Linux kernel image is cut off within its header");
  if (file.at<u16>(kBootFlag) != kBootFlagValue) return bad("the Linux kernel's setup header is damaged (boot flag)");

  BzImage image;
  image.version = file.at<u16>(kVersion);
  if (image.version < kProtocol2_12) {
    return bad(fmt::format("a Linux kernel with boot protocol {}.{:02}; 2.12 (Linux 3.8) is the oldest supported",
                           image.version >> 8, image.version & 0xFF));
  }
  if (!(file.at<u8>(kLoadflags) & kLoadedHigh)) return bad("a zImage, which is loaded below 1 MiB; only bzImages work");
  image.header_end = kSignature + file.at<u8>(kHeaderLength);
  if (image.header_end < kHeaderEnd || image.header_end > kMaxHeaderEnd || !file.has(0, image.header_end)) {
    return bad(fmt::format("the Linux kernel's setup header is damaged (it ends at 0x{:x})", image.header_end));
  }

  const u64 setup_sectors = file.at<u8>(kSetupSects) == 0 ? 4 : file.at<u8>(kSetupSects);
  image.protected_mode_start = (setup_sectors + 1) * kSector;
  image.protected_mode_size = u64{file.at<u32>(kSyssize)} * 16;
  if (image.protected_mode_size == 0) return bad("the Linux kernel's setup header is damaged (no protected-mode code)");
  // syssize counts paragraphs of 16 bytes, rounded up: the file may end inside the last one, as Memtest86+'s does.
  constexpr u64 kParagraph = 16;
  if (file.size() > image.protected_mode_start) {
    const u64 there = file.size() - image.protected_mode_start;
    if (there < image.protected_mode_size && image.protected_mode_size - there < kParagraph)
      image.protected_mode_size = there;
  }
  if (!file.has(image.protected_mode_start, image.protected_mode_size)) {
    return bad(fmt::format("the Linux kernel image is cut off: {} bytes of {}", file.size(),
                           image.protected_mode_start + image.protected_mode_size));
  }

  image.has_64bit_entry = file.at<u16>(kXloadflags) & kXlfKernel64;
  image.relocatable = file.at<u8>(kRelocatable) != 0;
  image.alignment = file.at<u32>(kKernelAlignment);
  if (image.relocatable && !std::has_single_bit(image.alignment)) {
    return bad(fmt::format("the Linux kernel's setup header is damaged (alignment 0x{:x})", image.alignment));
  }
  image.preferred_address = file.at<u64>(kPrefAddress);
  image.init_size = std::max<u64>(file.at<u32>(kInitSize), image.protected_mode_size);
  image.initrd_last = file.at<u32>(kInitrdAddrMax);
  image.command_line_limit = file.at<u32>(kCmdlineSize);

  const u64 payload_offset = file.at<u32>(kPayloadOffset);
  image.payload_size = file.at<u32>(kPayloadLength);
  if (payload_offset != 0) {
    image.payload_start = image.protected_mode_start + payload_offset;
    if (payload_offset > image.protected_mode_size || image.payload_size > image.protected_mode_size - payload_offset) {
      return bad("the Linux kernel's setup header is damaged (the compressed kernel lies outside of the image)");
    }
  }
  return image;
}

Compression payload_compression(ByteView file, const BzImage& image) {
  if (image.payload_start == 0) return Compression::Unknown;
  return detect_compression(file.slice(image.payload_start, image.payload_size));
}

Result<FileBytes> unpack_payload(ByteView file, const BzImage& image, u64 max_size, const std::string& name) {
  auto bad = [&name](const std::string& what) { return fail(ErrorKind::BadFile, name + ": " + what); };
  const Compression compression = payload_compression(file, image);
  const auto payload = file.slice(image.payload_start, image.payload_size);
  if (compression == Compression::None) {
    auto copied = unpack(payload, max_size);
    if (!copied) return bad(copied.error().message);
    return copied;
  }
  // Linux's build ends every payload with its unpacked size: gzip by itself, the others in four more bytes.
  // Source: Linux, scripts/Makefile.lib, size_append.
  if (image.payload_size < 4) return bad("the kernel inside is cut off");
  const u32 unpacked_size = file.at<u32>(image.payload_start + image.payload_size - 4);
  if (unpacked_size > max_size) {
    return bad(fmt::format("the kernel inside claims {} unpacked; {} is the most that is allowed",
                           size_in_words(unpacked_size), size_in_words(max_size)));
  }
  const u64 appended = compression == Compression::Gzip ? 0 : 4;
  auto unpacked = unpack(payload.first(payload.size() - appended), unpacked_size);
  if (!unpacked) return bad("the kernel inside: " + unpacked.error().message);
  if (unpacked->size() != unpacked_size) {
    return bad(fmt::format("the kernel inside is damaged: {} bytes unpacked where {} are promised", unpacked->size(),
                           unpacked_size));
  }
  return unpacked;
}

}  // namespace callgate::boot
