// The one place of the loaders that opens files: from names on the command line to BootInputs.
// Knows no format beyond which kernels take modules.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/boot/boot_plan.h"

namespace callgate::boot {

/// The most that is read of any one file.
constexpr u64 kMaxFileSize = (u64{4} << 30) - 1;

/// Reads a whole file. MissingFile when it isn't there or can't be read, BadFile for a directory or beyond `max_size`.
Result<FileBytes> read_file(const std::string& path, u64 max_size = kMaxFileSize);

/// Reads the kernel and what goes with it. `initrd` is one file for Linux and PVH kernels; for Multiboot kernels it is
/// a list as QEMU spells it: "FILE ARGUMENTS,FILE ARGUMENTS", where ",," stands for a comma. A module's string is its
/// file's name without the folder and its arguments, so that the run does not depend on where the files lie.
Result<BootInputs> read_boot_files(const std::string& kernel, const std::optional<std::string>& initrd,
                                   const std::string& command_line, const MemoryMap& memory);

}  // namespace callgate::boot
