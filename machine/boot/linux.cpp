// The 64-bit and 32-bit boot protocols of Linux: the bzImage as it is with a filled boot_params, entered 0x200 past its
// start in 64-bit mode, or at its start in protected mode when it has no other entry.
// Ref: Linux, Documentation/arch/x86/boot.rst, 64-bit Boot Protocol and 32-bit Boot Protocol, and zero-page.rst.
#include <fmt/format.h>

#include <algorithm>

#include "machine/boot/protocols.h"

namespace callgate::boot {

namespace {

// Offsets in struct boot_params. // Linux, Documentation/arch/x86/zero-page.rst
constexpr u64 kAcpiRsdpAddr = 0x070;
constexpr u64 kExtRamdiskImage = 0x0C0;
constexpr u64 kExtRamdiskSize = 0x0C4;
constexpr u64 kExtCmdLinePtr = 0x0C8;
constexpr u64 kE820Entries = 0x1E8;
constexpr u64 kHeader = 0x1F1;
constexpr u64 kVidMode = 0x1FA;
constexpr u64 kTypeOfLoader = 0x210;
constexpr u64 kRamdiskImage = 0x218;
constexpr u64 kRamdiskSize = 0x21C;
constexpr u64 kCmdLinePtr = 0x228;
constexpr u64 kE820Table = 0x2D0;

constexpr u64 kE820EntrySize = 20;
constexpr u64 kE820MaxEntries = 128;
constexpr u8 kUndefinedLoader = 0xFF;
constexpr u16 kVidModeNormal = 0xFFFF;
constexpr u64 kEntry64 = 0x200;
constexpr unsigned kRsi = 6;
constexpr u64 kOneMiB = u64{1} << 20;

// The load address: the preferred one if it is free, else any aligned one for a kernel that can be moved.
Result<u64> place_kernel(PlanBuilder& b, const BzImage& image, const std::string& name) {
  if (image.preferred_address < k4GiB && image.init_size <= k4GiB - image.preferred_address &&
      b.placer().is_free(image.preferred_address, image.init_size)) {
    return image.preferred_address;
  }
  if (image.relocatable) {
    if (const auto at = b.placer().take_low(image.init_size, std::max(image.alignment, kPageSize), kOneMiB, k4GiB)) {
      return *at;
    }
  }
  return b.no_room(name, "the kernel, unpacking itself,", image.preferred_address, image.init_size);
}

}  // namespace

Result<BootPlan> plan_linux(BootInputs inputs, const BzImage& image) {
  const std::string name = inputs.kernel.name;
  if (auto r = check_command_line(inputs, image.command_line_limit); !r) return tl::make_unexpected(r.error());
  if (inputs.memory.ranges.size() > kE820MaxEntries) {
    return fail(ErrorKind::BadArgument, "the memory map has more than the 128 ranges that Linux takes");
  }

  PlanBuilder b(inputs.memory);
  const ByteView file(inputs.kernel.bytes);
  const auto at = place_kernel(b, image, name);
  if (!at) return tl::make_unexpected(at.error());
  b.placer().take(*at, image.init_size);
  const auto code = file.slice(image.protected_mode_start, image.protected_mode_size);
  b.load_at(*at, FileBytes(code.begin(), code.end()));

  const bool bits64 = image.has_64bit_entry;
  if (auto r = bits64 ? b.enter_long_mode() : b.enter_protected_mode(); !r) return tl::make_unexpected(r.error());

  ByteWriter params(kPageSize);
  for (u64 i = kHeader; i < image.header_end; i++) params.put<u8>(i, file.at<u8>(i));
  params.put<u8>(kTypeOfLoader, kUndefinedLoader);
  params.put<u16>(kVidMode, kVidModeNormal);
  params.put<u64>(kAcpiRsdpAddr, inputs.memory.rsdp);
  params.put<u8>(kE820Entries, static_cast<u8>(inputs.memory.ranges.size()));
  for (u64 i = 0; i < inputs.memory.ranges.size(); i++) {
    const MemoryRange& range = inputs.memory.ranges[i];
    params.put<u64>(kE820Table + kE820EntrySize * i, range.start);
    params.put<u64>(kE820Table + kE820EntrySize * i + 8, range.size);
    params.put<u32>(kE820Table + kE820EntrySize * i + 16, static_cast<u32>(range.type));
  }

  const auto command_line = b.put_low(c_string(inputs.command_line), 16);
  if (!command_line) return tl::make_unexpected(command_line.error());
  params.put<u32>(kCmdLinePtr, static_cast<u32>(*command_line));
  params.put<u32>(kExtCmdLinePtr, static_cast<u32>(*command_line >> 32));

  if (inputs.initrd) {
    const u64 size = inputs.initrd->bytes.size();
    const auto initrd = b.put_high(std::move(*inputs.initrd), image.initrd_last);
    if (!initrd) return tl::make_unexpected(initrd.error());
    params.put<u32>(kRamdiskImage, static_cast<u32>(*initrd));
    params.put<u32>(kRamdiskSize, static_cast<u32>(size));
    params.put<u32>(kExtRamdiskImage, static_cast<u32>(*initrd >> 32));
    params.put<u32>(kExtRamdiskSize, static_cast<u32>(size >> 32));
  }

  const auto params_at = b.put_low(params.take(), kPageSize);
  if (!params_at) return tl::make_unexpected(params_at.error());

  EntryState& e = b.plan().entry;
  e.kind = bits64 ? EntryKind::Linux64 : EntryKind::Linux32;
  e.rip = bits64 ? *at + kEntry64 : *at;
  e.gpr[kRsi] = *params_at;
  b.plan().description = fmt::format("Linux bzImage (boot protocol {}.{:02}) at 0x{:x}, {}-bit entry",
                                     image.version >> 8, image.version & 0xFF, *at, bits64 ? 64 : 32);
  return std::move(b.plan());
}

}  // namespace callgate::boot
