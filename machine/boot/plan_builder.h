// What the protocols share: placing things in guest memory, and flat descriptor tables.
// Knows no file format and no protocol.
#pragma once

#include <string>
#include <vector>

#include "machine/boot/boot_plan.h"
#include "machine/boot/elf.h"
#include "machine/boot/placer.h"

namespace callgate::boot {

constexpr u64 k4GiB = u64{1} << 32;

// Selectors of the plan's descriptor table. // Linux, Documentation/arch/x86/boot.rst, 64-bit boot protocol
constexpr u16 kCodeSelector = 0x10;
constexpr u16 kDataSelector = 0x18;
constexpr u16 kTaskSelector = 0x20;

class PlanBuilder {
 public:
  explicit PlanBuilder(const MemoryMap& memory) : memory_(memory), placer_(memory) {}

  Placer& placer() { return placer_; }
  BootPlan& plan() { return plan_; }
  const MemoryMap& memory() const { return memory_; }

  /// Loads an ELF file's segments where it wants them.
  Result<> load_elf(const std::shared_ptr<const FileBytes>& file, const ElfImage& image, const std::string& name);
  /// Loads `bytes` at a fixed place that the caller knows to be RAM, and takes it.
  void load_at(u64 physical, FilePart bytes, u64 zeros = 0);
  /// Takes room in low memory for one of the loader's own structures, below 4 GiB in any case. Returns its address.
  Result<u64> reserve_low(u64 size, u64 align);
  /// Puts one of the loader's own structures there. Returns its address.
  Result<u64> put_low(FileBytes bytes, u64 align);
  /// Puts an initrd page-aligned as high as it goes with its last byte at or below `last`.
  Result<u64> put_high(BootFile file, u64 last);
  /// Puts a module page-aligned as low as it goes from 1 MiB and from what was loaded at fixed places on, below 4 GiB.
  Result<u64> put_above_kernel(BootFile file);

  /// "vmlinuz: it needs 60 MiB from 0x1000000 on ..., which don't fit into 32 MiB of RAM ..."
  tl::unexpected<Error> no_room(const std::string& name, const std::string& what, u64 start, u64 size) const;

  /// Flat 32-bit segments, protected mode without paging.
  Result<> enter_protected_mode();
  /// Flat 64-bit code, the first 4 GiB identity-mapped by 2 MiB pages.
  Result<> enter_long_mode();

 private:
  Result<> put_gdt(u64 code_descriptor);
  Result<u64> put_file(std::optional<u64> at, BootFile file);

  MemoryMap memory_;
  Placer placer_;
  u64 kernel_end_ = u64{1} << 20;
  BootPlan plan_;
};

/// A NUL-terminated string.
FileBytes c_string(const std::string& text);

}  // namespace callgate::boot
