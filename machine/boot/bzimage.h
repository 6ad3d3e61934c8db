// The bzImage container of Linux on x86: its setup header, checked, and the compressed kernel inside.
// Ref: Linux, Documentation/arch/x86/boot.rst. Places nothing in guest memory.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/boot/byte_view.h"
#include "machine/boot/unpack.h"

namespace callgate::boot {

/// What the loaders need of the setup header. All offsets have been checked against the file's size.
struct BzImage {
  u16 version = 0;               ///< of the boot protocol: 0x020C is 2.12
  u64 protected_mode_start = 0;  ///< file offset of the part that is loaded
  u64 protected_mode_size = 0;   ///< its size as the header says, to the file's end at most
  u64 header_end = 0;            ///< the setup header is [0x1F1, header_end)
  bool has_64bit_entry = false;
  bool relocatable = false;
  u64 alignment = 0;  ///< of the load address when it isn't the preferred one; a power of two
  u64 preferred_address = 0;
  u64 init_size = 0;           ///< memory needed from the load address on until the kernel reads its memory map
  u64 initrd_last = 0;         ///< the highest address that an initrd's last byte may have
  u64 command_line_limit = 0;  ///< bytes, without the NUL
  u64 payload_start = 0;       ///< file offset of the compressed kernel, 0 when the header names none
  u64 payload_size = 0;
};

/// True when the setup header's signature is there.
bool looks_like_bzimage(ByteView file);

/// Reads and checks the header. `name` is what errors call the file.
Result<BzImage> parse_bzimage(ByteView file, const std::string& name);

/// The format of the compressed kernel; Unknown when the header names no payload.
Compression payload_compression(ByteView file, const BzImage& image);

/// Unpacks the compressed kernel to the ELF file that it is. Bounded by `max_size` whatever it claims.
Result<FileBytes> unpack_payload(ByteView file, const BzImage& image, u64 max_size, const std::string& name);

}  // namespace callgate::boot
