// Unpacks a compressed kernel on the host, by the formats' own libraries. Knows no kernel; bounded in memory whatever
// the data claim.
#pragma once

#include <span>

#include "base/result.h"
#include "base/types.h"
#include "machine/boot/file_bytes.h"

namespace callgate::boot {

enum class Compression { Unknown, None, Gzip, Bzip2, Lzma, Xz, Lzo, Lz4, Zstd };

/// Tells the format by its magic number. None is an ELF file as it is.
Compression detect_compression(std::span<const u8> data);
/// "LZ4", "XZ", ... for messages.
const char* compression_name(Compression compression);
/// False for formats that are recognised but have no library here (bzip2, LZO) and for Unknown.
bool can_unpack(Compression compression);

/// Unpacks `data`. Fails with a clause ("the XZ data are damaged") for the caller to put the file's name before, when
/// the data are damaged or truncated, or when they hold more than `max_size` bytes.
Result<FileBytes> unpack(std::span<const u8> data, u64 max_size);

}  // namespace callgate::boot
