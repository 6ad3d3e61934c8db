// How a guest starts: what goes where in its memory, and the processor's state at its first instruction.
//
// The loaders behind plan_boot() are pure functions from bytes to a plan. They read no file (files.h does), touch no
// guest memory and know no processor: the board carries the plan out. The same inputs give the same plan on every host.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "machine/boot/file_bytes.h"
#include "machine/boot/memory_map.h"

namespace callgate::boot {

/// Bytes that the board copies to guest-physical memory before the first instruction. Later loads win over earlier
/// ones.
struct Load {
  u64 physical = 0;
  FilePart bytes;
  /// Zero bytes that must follow `bytes` (a kernel's .bss). The board may skip them while its RAM is still fresh.
  u64 zeros = 0;
};

/// A segment register as loaded, hidden part included.
struct SegmentState {
  u16 selector = 0;
  /// Bits 40 to 55 of the descriptor: the access byte in bits 7:0, AVL, L, D/B and G in bits 15:12. 0 is a null
  /// segment.
  u16 attributes = 0;
  u64 base = 0;
  u32 limit = 0;  ///< in bytes, granularity applied
};

/// GDTR or IDTR.
struct TableState {
  u64 base = 0;
  u16 limit = 0;
};

/// Which protocol's entry it is.
enum class EntryKind {
  Linux64,     ///< 64-bit mode, identity-mapped below 4 GiB, RSI = boot_params
  Linux32,     ///< 32-bit protected mode, paging off, ESI = boot_params
  Pvh,         ///< 32-bit protected mode, paging off, EBX = hvm_start_info
  Multiboot1,  ///< 32-bit protected mode, paging off, EAX = 0x2BADB002, EBX = the information structure
};

/// The processor at the first instruction. A20 is open, interrupts are off. What isn't here is as after reset.
struct EntryState {
  EntryKind kind = EntryKind::Pvh;
  u64 rip = 0;
  std::array<u64, 16> gpr{};  ///< in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
  u64 rflags = 2;
  u64 cr0 = 0;
  u64 cr3 = 0;
  u64 cr4 = 0;
  u64 efer = 0;
  SegmentState cs, ss, ds, es, fs, gs, ldtr, tr;
  TableState gdtr, idtr;
};

/// Everything that the board must do to start the guest.
struct BootPlan {
  std::vector<Load> loads;
  EntryState entry;
  std::string description;  ///< one line for the user: the format, the entry, and why when it isn't the default
};

/// A file's contents with the name that messages call it by.
struct BootFile {
  std::string name;
  FileBytes bytes;
  std::string arguments;  ///< Multiboot modules only: the string that the kernel gets with the module
};

/// What a guest is started from.
struct BootInputs {
  BootFile kernel;
  std::optional<BootFile> initrd;  ///< Linux and PVH kernels
  std::vector<BootFile> modules;   ///< Multiboot kernels
  std::string command_line;
  MemoryMap memory;
};

/// Where a bzImage is entered. The others have one entry each.
enum class LinuxEntry {
  Auto,   ///< PVH, with the kernel unpacked on the host, when the kernel has that entry; else its 64-bit or only entry
  Pvh,    ///< PVH or an error
  Bits64  ///< the bzImage's 64-bit entry: the guest unpacks itself
};

struct BootOptions {
  LinuxEntry linux_entry = LinuxEntry::Auto;
  /// The most that a compressed kernel may unpack to, whatever it claims.
  u64 max_unpacked = u64{512} << 20;
};

/// What kind of kernel a file holds, told by its contents.
enum class KernelFormat { Unknown, LinuxBzImage, Multiboot1, Elf };

KernelFormat detect_kernel(const FileBytes& kernel);

/// Makes the plan, or says in one sentence that names the file why there is none.
/// Errors: BadFile for a damaged or unsuitable file, BadArgument for a command line or an amount of RAM that won't do.
Result<BootPlan> plan_boot(BootInputs inputs, const BootOptions& options = {});

}  // namespace callgate::boot
