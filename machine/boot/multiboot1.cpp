// Multiboot 1: a kernel with the magic header in its first 8 KiB, entered in 32-bit protected mode.
// Ref: The Multiboot Specification version 0.6.96. Symbols, drives, APM and video tables are not offered.
#include <fmt/format.h>

#include <algorithm>

#include "machine/boot/protocols.h"

namespace callgate::boot {

namespace {

constexpr u32 kHeaderMagic = 0x1BADB002;
constexpr u32 kLoaderMagic = 0x2BADB002;
constexpr u64 kSearch = 8192;

// Header flags. The low 16 bits are demands: an unknown one must be refused.
constexpr u32 kAlignModules = 1 << 0;
constexpr u32 kWantMemory = 1 << 1;
constexpr u32 kWantVideo = 1 << 2;
constexpr u32 kDemands = 0xFFFF;
constexpr u32 kHasAddresses = 1 << 16;

// Flags of the information structure.
constexpr u32 kInfoMemory = 1 << 0;
constexpr u32 kInfoCommandLine = 1 << 2;
constexpr u32 kInfoModules = 1 << 3;
constexpr u32 kInfoMemoryMap = 1 << 6;
constexpr u32 kInfoLoaderName = 1 << 9;
constexpr u64 kInfoSize = 88;  // to the end of the VBE fields, which stay zeros

constexpr unsigned kRax = 0;
constexpr unsigned kRbx = 3;
constexpr u64 kOneMiB = u64{1} << 20;
constexpr u64 kMaxModules = 1024;
// The specification sets no limit.
constexpr u64 kCommandLineLimit = 65535;

std::optional<u64> find_header(ByteView file) {
  for (u64 at = 0; at + 12 <= std::min(file.size(), kSearch); at += 4) {
    if (file.at<u32>(at) != kHeaderMagic) continue;
    if (file.at<u32>(at) + file.at<u32>(at + 4) + file.at<u32>(at + 8) == 0) return at;
  }
  return std::nullopt;
}

// Loads by the address fields that the header itself gives ("a.out kludge"). Returns the entry.
Result<u64> load_by_addresses(PlanBuilder& b, ByteView file, u64 header, const std::string& name) {
  auto bad = [&name](const std::string& what) {
    return fail(ErrorKind::BadFile, name + ": the Multiboot header " + what);
  };
  if (!file.has(header, 32)) return bad("is cut off");
  const u32 header_addr = file.at<u32>(header + 12);
  const u32 load_addr = file.at<u32>(header + 16);
  const u32 load_end = file.at<u32>(header + 20);
  const u32 bss_end = file.at<u32>(header + 24);
  const u32 entry = file.at<u32>(header + 28);
  if (load_addr > header_addr || header_addr - load_addr > header) return bad("has impossible addresses");
  const u64 start = header - (header_addr - load_addr);
  const u64 size = load_end == 0 ? file.size() - start : u64{load_end} - load_addr;
  if (load_end != 0 && load_end < load_addr) return bad("has impossible addresses");
  if (!file.has(start, size)) return bad("promises more than the file has: it is cut off");
  const u64 end = u64{load_addr} + size;
  if (bss_end != 0 && bss_end < end) return bad("has impossible addresses");
  const u64 memory_size = bss_end == 0 ? size : bss_end - load_addr;
  if (!b.placer().is_ram(load_addr, memory_size)) return b.no_room(name, "the kernel", load_addr, memory_size);
  const auto bytes = file.slice(start, size);
  b.load_at(load_addr, FileBytes(bytes.begin(), bytes.end()), memory_size - size);
  return entry;
}

FileBytes memory_map_table(const MemoryMap& memory) {
  ByteWriter table;
  for (const MemoryRange& range : memory.ranges) {
    table.append<u32>(20);  // the entry's size, itself not counted
    table.append<u64>(range.start);
    table.append<u64>(range.size);
    table.append<u32>(static_cast<u32>(range.type));
  }
  return table.take();
}

// KiB of RAM from `start` on without a hole.
u32 contiguous_kib(const MemoryMap& memory, u64 start, u64 limit) {
  u64 end = start;
  for (const MemoryRange& range : memory.ranges) {
    if (range.type == RangeType::Usable && range.start <= end) end = std::max(end, range.end());
  }
  return static_cast<u32>((std::min(end, limit) - start) >> 10);
}

// Places the modules, in order above the kernel as GRUB does: small kernels count on reaching them there.
// Then their list. Returns the list's address.
Result<u64> put_modules(PlanBuilder& b, std::vector<BootFile>& modules) {
  ByteWriter list;
  for (BootFile& module : modules) {
    const auto text = b.put_low(c_string(module.arguments), 4);
    if (!text) return text;
    const u64 size = module.bytes.size();
    const auto at = b.put_above_kernel(std::move(module));
    if (!at) return at;
    list.append<u32>(static_cast<u32>(*at));
    list.append<u32>(static_cast<u32>(*at + size));
    list.append<u32>(static_cast<u32>(*text));
    list.append<u32>(0);
  }
  return b.put_low(list.take(), 4);
}

// The kernel's file name, without the host's folders, and the arguments, as GRUB Legacy and QEMU give them: kernels (Xen
// is one) drop the first word unless GRUB 2 says that it is the loader.
std::string kernel_string(const BootInputs& inputs) {
  const std::string name = inputs.kernel.name.substr(inputs.kernel.name.rfind('/') + 1);
  return inputs.command_line.empty() ? name : name + ' ' + inputs.command_line;
}

}  // namespace

bool has_multiboot1_header(ByteView file) { return find_header(file).has_value(); }

Result<BootPlan> plan_multiboot1(BootInputs inputs) {
  const std::string name = inputs.kernel.name;
  const ByteView file(inputs.kernel.bytes);
  const auto header = find_header(file);
  if (!header) return fail(ErrorKind::BadFile, name + ": no Multiboot 1 header in its first 8 KiB");
  const u32 flags = file.at<u32>(*header + 4);
  if (flags & kWantVideo) {
    return fail(ErrorKind::BadFile,
                name + ": its Multiboot header demands a video mode (flag 2), which can't be set here");
  }
  if (const u32 unknown = flags & kDemands & ~(kAlignModules | kWantMemory)) {
    return fail(
        ErrorKind::BadFile,
        fmt::format("{}: its Multiboot header demands features 0x{:x} that this loader does not have", name, unknown));
  }
  if (auto r = check_command_line(inputs, kCommandLineLimit); !r) return tl::make_unexpected(r.error());
  if (inputs.modules.size() > kMaxModules) {
    return fail(ErrorKind::BadArgument,
                fmt::format("{} modules are too many ({} at most)", inputs.modules.size(), kMaxModules));
  }

  PlanBuilder b(inputs.memory);
  u64 entry = 0;
  const bool by_addresses = flags & kHasAddresses;
  if (by_addresses) {
    const auto loaded = load_by_addresses(b, file, *header, name);
    if (!loaded) return tl::make_unexpected(loaded.error());
    entry = *loaded;
  } else {
    const auto image = parse_elf(file, name);
    if (!image) return tl::make_unexpected(image.error());
    if (auto r = b.load_elf(std::make_shared<const FileBytes>(inputs.kernel.bytes), *image, name); !r) return tl::make_unexpected(r.error());
    entry = image->physical_entry;
  }
  if (entry >= k4GiB || !b.placer().is_ram(entry, 1)) {
    return fail(ErrorKind::BadFile, fmt::format("{}: the entry 0x{:x} is not in RAM below 4 GiB", name, entry));
  }
  if (auto r = b.enter_protected_mode(); !r) return tl::make_unexpected(r.error());

  const auto command_line = b.put_low(c_string(kernel_string(inputs)), 4);
  if (!command_line) return tl::make_unexpected(command_line.error());
  const auto loader_name = b.put_low(c_string("Callgate"), 4);
  if (!loader_name) return tl::make_unexpected(loader_name.error());
  auto map_bytes = memory_map_table(inputs.memory);
  const u64 map_size = map_bytes.size();
  const auto map = b.put_low(std::move(map_bytes), 4);
  if (!map) return tl::make_unexpected(map.error());

  const std::size_t modules = inputs.modules.size();
  const auto module_list = put_modules(b, inputs.modules);
  if (!module_list) return tl::make_unexpected(module_list.error());

  ByteWriter info(kInfoSize);
  info.put<u32>(0, kInfoMemory | kInfoCommandLine | kInfoModules | kInfoMemoryMap | kInfoLoaderName);
  info.put<u32>(4, contiguous_kib(inputs.memory, 0, 640 * 1024));
  info.put<u32>(8, contiguous_kib(inputs.memory, kOneMiB, k4GiB));
  info.put<u32>(16, static_cast<u32>(*command_line));
  info.put<u32>(20, static_cast<u32>(modules));
  info.put<u32>(24, static_cast<u32>(*module_list));
  info.put<u32>(44, static_cast<u32>(map_size));
  info.put<u32>(48, static_cast<u32>(*map));
  info.put<u32>(64, static_cast<u32>(*loader_name));
  const auto info_at = b.put_low(info.take(), 4);
  if (!info_at) return tl::make_unexpected(info_at.error());

  EntryState& e = b.plan().entry;
  e.kind = EntryKind::Multiboot1;
  e.rip = entry;
  e.gpr[kRax] = kLoaderMagic;
  e.gpr[kRbx] = *info_at;
  b.plan().description =
      fmt::format("Multiboot 1 kernel ({}), entry 0x{:x}, {} module{}",
                  by_addresses ? "by its header's addresses" : "ELF", entry, modules, modules == 1 ? "" : "s");
  return std::move(b.plan());
}

}  // namespace callgate::boot
