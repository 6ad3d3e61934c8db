// The protocols by which a kernel is entered. Each takes the parsed file and finishes the plan.
// plan_boot() chooses among them; nothing else includes this.
#pragma once

#include "machine/boot/bzimage.h"
#include "machine/boot/elf.h"
#include "machine/boot/plan_builder.h"

namespace callgate::boot {

/// The limits of a kernel that tells none: an initrd below 4 GiB, and a command line that any kernel can hold.
struct PvhLimits {
  u64 initrd_last = k4GiB - 1;
  u64 command_line = 4095;
};

/// A bzImage by its 64-bit entry, or by its 32-bit entry when it has no other: the guest unpacks itself.
Result<BootPlan> plan_linux(BootInputs inputs, const BzImage& image);

/// An ELF kernel by its PVH note. `elf` is the file, unpacked where it was compressed; inputs.kernel gives only the
/// name.
Result<BootPlan> plan_pvh(BootInputs inputs, const std::shared_ptr<const FileBytes>& elf, const ElfImage& image,
                          const PvhLimits& limits);

/// True when a Multiboot 1 header is where one must be.
bool has_multiboot1_header(ByteView file);

/// A Multiboot 1 kernel, ELF or by the header's own addresses.
Result<BootPlan> plan_multiboot1(BootInputs inputs);

/// Refuses command lines with NUL bytes or longer than `limit`.
Result<> check_command_line(const BootInputs& inputs, u64 limit);

}  // namespace callgate::boot
