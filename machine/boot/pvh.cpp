// PVH: an ELF kernel entered in 32-bit protected mode at the address in its Xen note, with an hvm_start_info.
// Ref: Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
#include <fmt/format.h>

#include "machine/boot/protocols.h"

namespace callgate::boot {

namespace {

constexpr u32 kStartMagic = 0x336EC578;
constexpr u32 kStartVersion = 1;  // with a memory map
constexpr unsigned kRbx = 3;

FileBytes memory_map_table(const MemoryMap& memory) {
  ByteWriter table;  // struct hvm_memmap_table_entry
  for (const MemoryRange& range : memory.ranges) {
    table.append<u64>(range.start);
    table.append<u64>(range.size);
    table.append<u32>(static_cast<u32>(range.type));
    table.append<u32>(0);
  }
  return table.take();
}

}  // namespace

Result<BootPlan> plan_pvh(BootInputs inputs, const std::shared_ptr<const FileBytes>& elf, const ElfImage& image,
                          const PvhLimits& limits) {
  const std::string name = inputs.kernel.name;
  if (*image.pvh_entry >= k4GiB) {
    return fail(ErrorKind::BadFile, fmt::format("{}: the PVH entry 0x{:x} is not below 4 GiB", name, *image.pvh_entry));
  }
  if (auto r = check_command_line(inputs, limits.command_line); !r) return tl::make_unexpected(r.error());

  PlanBuilder b(inputs.memory);
  if (auto r = b.load_elf(elf, image, name); !r) return tl::make_unexpected(r.error());
  if (!b.placer().is_ram(*image.pvh_entry, 1)) {
    return fail(ErrorKind::BadFile, fmt::format("{}: the PVH entry 0x{:x} is not in RAM", name, *image.pvh_entry));
  }
  if (auto r = b.enter_protected_mode(); !r) return tl::make_unexpected(r.error());

  const auto command_line = b.put_low(c_string(inputs.command_line), 16);
  if (!command_line) return tl::make_unexpected(command_line.error());
  const auto map = b.put_low(memory_map_table(inputs.memory), 16);
  if (!map) return tl::make_unexpected(map.error());

  u64 modules = 0;
  if (inputs.initrd) {
    const u64 size = inputs.initrd->bytes.size();
    const auto initrd = b.put_high(std::move(*inputs.initrd), limits.initrd_last);
    if (!initrd) return tl::make_unexpected(initrd.error());
    ByteWriter list;  // struct hvm_modlist_entry
    list.append<u64>(*initrd);
    list.append<u64>(size);
    list.append<u64>(0);  // no string of its own
    list.append<u64>(0);
    const auto at = b.put_low(list.take(), 16);
    if (!at) return tl::make_unexpected(at.error());
    modules = *at;
  }

  ByteWriter info;  // struct hvm_start_info
  info.append<u32>(kStartMagic);
  info.append<u32>(kStartVersion);
  info.append<u32>(0);  // flags: neither privileged nor the initial domain
  info.append<u32>(modules != 0 ? 1 : 0);
  info.append<u64>(modules);
  info.append<u64>(*command_line);
  info.append<u64>(inputs.memory.rsdp);
  info.append<u64>(*map);
  info.append<u32>(static_cast<u32>(inputs.memory.ranges.size()));
  info.append<u32>(0);
  const auto info_at = b.put_low(info.take(), 16);
  if (!info_at) return tl::make_unexpected(info_at.error());

  EntryState& e = b.plan().entry;
  e.kind = EntryKind::Pvh;
  e.rip = *image.pvh_entry;
  e.gpr[kRbx] = *info_at;
  b.plan().description = fmt::format("{}-bit ELF, PVH entry 0x{:x}", image.is_64bit ? 64 : 32, *image.pvh_entry);
  return std::move(b.plan());
}

}  // namespace callgate::boot
