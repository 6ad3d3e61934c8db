// Kernel images made for the tests: small ELF files, bzImages with every compressor, Multiboot headers.
// Written from the formats' documents, not with the loaders' own code. For tests and the fuzzer's seeds only.
#pragma once

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/bits.h"
#include "base/verify.h"
#include "machine/boot/boot_plan.h"
#include "machine/boot/unpack.h"

namespace callgate::boot::test {

using Bytes = FileBytes;

template <class T>
void put(Bytes& bytes, u64 at, T value) {
  if (bytes.size() < at + sizeof(T)) bytes.resize(at + sizeof(T));
  store_as<T>(bytes.data() + at, value);
}

inline void append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }

/// Bytes that compress, but not to nothing, with x86-like calls for the BCJ filter to change.
inline Bytes code_like(std::size_t size) {
  Bytes bytes(size);
  u32 state = 1;
  for (std::size_t i = 0; i < size; i++) {
    state = state * 1664525 + 1013904223;
    bytes[i] = i % 16 == 0 ? 0xE8 : static_cast<u8>((state >> 28) + i / 64);
  }
  return bytes;
}

struct ElfSpec {
  bool is_64bit = true;
  u64 physical = 0x200000;
  u64 virtual_address = 0xFFFFFFFF81000000;  // cut to 32 bits in a 32-bit file
  u64 entry = 0xFFFFFFFF81000010;
  std::optional<u64> pvh = 0x200040;
  Bytes code = code_like(300);
  u64 bss = 0x5000;
};

/// One PT_LOAD and, with `pvh`, one PT_NOTE of two notes, the second of them the PVH entry.
inline Bytes make_elf(const ElfSpec& spec) {
  const u64 header = spec.is_64bit ? 64 : 52;
  const u64 entry_size = spec.is_64bit ? 56 : 32;
  const u16 count = spec.pvh ? 2 : 1;
  Bytes note;
  if (spec.pvh) {
    // n_namesz, n_descsz, n_type, the name padded to 4, the value padded to 4.
    put<u32>(note, 0, 4);
    put<u32>(note, 4, 6);
    put<u32>(note, 8, 1);
    append(note, {'G', 'N', 'U', 0, 1, 2, 3, 4, 5, 6, 0, 0});
    const u64 at = note.size();
    put<u32>(note, at, 4);
    put<u32>(note, at + 4, spec.is_64bit ? 8 : 4);
    put<u32>(note, at + 8, 18);
    append(note, {'X', 'e', 'n', 0});
    if (spec.is_64bit) {
      put<u64>(note, at + 16, *spec.pvh);
    } else {
      put<u32>(note, at + 16, static_cast<u32>(*spec.pvh));
    }
  }
  const u64 note_at = header + entry_size * count;
  const u64 code_at = note_at + note.size();

  Bytes f;
  put<u32>(f, 0, 0x464C457F);
  put<u8>(f, 4, spec.is_64bit ? 2 : 1);
  put<u8>(f, 5, 1);
  put<u8>(f, 6, 1);
  put<u16>(f, 16, 2);                       // ET_EXEC
  put<u16>(f, 18, spec.is_64bit ? 62 : 3);  // EM_X86_64, EM_386
  put<u32>(f, 20, 1);
  f.resize(note_at);
  auto program_header = [&](u64 at, u32 type, u64 offset, u64 vaddr, u64 paddr, u64 filesz, u64 memsz) {
    put<u32>(f, at, type);
    if (spec.is_64bit) {
      const u64 fields[] = {offset, vaddr, paddr, filesz, memsz, 4};
      for (u64 i = 0; i < 6; i++) put<u64>(f, at + 8 + 8 * i, fields[i]);
    } else {
      const u64 fields[] = {offset, vaddr, paddr, filesz, memsz, 7, 4};
      for (u64 i = 0; i < 7; i++) put<u32>(f, at + 4 + 4 * i, static_cast<u32>(fields[i]));
    }
  };
  if (spec.is_64bit) {
    put<u64>(f, 24, spec.entry);
    put<u64>(f, 32, header);
    put<u16>(f, 52, 64);
    put<u16>(f, 54, static_cast<u16>(entry_size));
    put<u16>(f, 56, count);
  } else {
    put<u32>(f, 24, static_cast<u32>(spec.entry));
    put<u32>(f, 28, static_cast<u32>(header));
    put<u16>(f, 40, 52);
    put<u16>(f, 42, static_cast<u16>(entry_size));
    put<u16>(f, 44, count);
  }
  program_header(header, 1, code_at, spec.virtual_address, spec.physical, spec.code.size(),
                 spec.code.size() + spec.bss);
  if (spec.pvh) program_header(header + entry_size, 4, note_at, 0, 0, note.size(), note.size());
  append(f, note);
  append(f, spec.code);
  return f;
}

inline Bytes compress_lzma(const Bytes& in, Compression format) {
  lzma_stream lz = LZMA_STREAM_INIT;
  lzma_options_lzma options;
  VERIFY(!lzma_lzma_preset(&options, 1), "liblzma has preset 1");
  options.dict_size = 1 << 20;
  const lzma_filter filters[] = {
      {LZMA_FILTER_X86, nullptr}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  const lzma_ret started = format == Compression::Xz ? lzma_stream_encoder(&lz, filters, LZMA_CHECK_CRC32)
                                                     : lzma_alone_encoder(&lz, &options);
  VERIFY(started == LZMA_OK, "the encoder starts");
  Bytes out(in.size() * 2 + 4096);
  lz.next_in = in.data();
  lz.avail_in = in.size();
  lz.next_out = out.data();
  lz.avail_out = out.size();
  VERIFY(lzma_code(&lz, LZMA_FINISH) == LZMA_STREAM_END, "the encoder ends");
  out.resize(lz.total_out);
  lzma_end(&lz);
  return out;
}

inline Bytes compress_gzip(const Bytes& in) {
  z_stream z{};
  VERIFY(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK, "the encoder starts");
  Bytes out(in.size() * 2 + 4096);
  z.next_in = const_cast<u8*>(in.data());
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = out.data();
  z.avail_out = static_cast<uInt>(out.size());
  VERIFY(deflate(&z, Z_FINISH) == Z_STREAM_END, "the encoder ends");
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

inline Bytes compress_lz4(const Bytes& in) {
  Bytes out;
  put<u32>(out, 0, 0x184C2102);
  for (std::size_t at = 0; at < in.size(); at += 8 << 20) {
    const int size = static_cast<int>(std::min<std::size_t>(8 << 20, in.size() - at));
    Bytes block(static_cast<std::size_t>(LZ4_compressBound(size)));
    const int got = LZ4_compress_default(reinterpret_cast<const char*>(in.data() + at),
                                         reinterpret_cast<char*>(block.data()), size, static_cast<int>(block.size()));
    block.resize(static_cast<std::size_t>(got));
    put<u32>(out, out.size(), static_cast<u32>(got));
    append(out, block);
  }
  return out;
}

inline Bytes compress_zstd(const Bytes& in) {
  Bytes out(ZSTD_compressBound(in.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), in.data(), in.size(), 3));
  return out;
}

/// `in` in the given format, without Linux's size at the end.
inline Bytes compress(const Bytes& in, Compression format) {
  switch (format) {
    case Compression::Gzip:
      return compress_gzip(in);
    case Compression::Lz4:
      return compress_lz4(in);
    case Compression::Zstd:
      return compress_zstd(in);
    case Compression::Lzma:
    case Compression::Xz:
      return compress_lzma(in, format);
    default:
      return in;
  }
}

/// A payload as Linux's build makes it: all formats but gzip get the unpacked size after their data.
inline Bytes make_payload(const Bytes& elf, Compression format) {
  Bytes payload = compress(elf, format);
  if (format != Compression::Gzip && format != Compression::None) {
    put<u32>(payload, payload.size(), static_cast<u32>(elf.size()));
  }
  return payload;
}

/// A bzImage of protocol 2.15 around a payload: one boot sector, one setup sector, 0x240 bytes of code, the payload.
inline Bytes make_bzimage(const Bytes& payload) {
  Bytes f;
  put<u8>(f, 0x1F1, 1);  // setup_sects
  put<u16>(f, 0x1FE, 0xAA55);
  put<u16>(f, 0x200, 0x62EB);  // a jump over the header, which so ends at 0x202 + 0x62
  put<u32>(f, 0x202, 0x53726448);
  put<u16>(f, 0x206, 0x020F);
  put<u8>(f, 0x211, 1);  // LOADED_HIGH
  put<u32>(f, 0x22C, 0x7FFFFFFF);
  put<u32>(f, 0x230, 0x200000);
  put<u8>(f, 0x234, 1);
  put<u16>(f, 0x236, 1);  // XLF_KERNEL_64
  put<u32>(f, 0x238, 2047);
  put<u32>(f, 0x248, 0x240);
  put<u32>(f, 0x24C, static_cast<u32>(payload.size()));
  put<u64>(f, 0x258, 0x400000);
  put<u32>(f, 0x260, 0x100000);
  f.resize(0x400);
  append(f, Bytes(0x240, 0x90));
  append(f, payload);
  f.resize((f.size() + 15) & ~std::size_t{15});
  put<u32>(f, 0x1F4, static_cast<u32>((f.size() - 0x400) / 16));
  return f;
}

/// A Multiboot 1 header; with the five address words for flag 16.
inline Bytes multiboot_header(u32 flags, const std::vector<u32>& addresses = {}) {
  Bytes h;
  put<u32>(h, 0, 0x1BADB002);
  put<u32>(h, 4, flags);
  put<u32>(h, 8, 0 - (0x1BADB002 + flags));
  for (u32 address : addresses) put<u32>(h, h.size(), address);
  return h;
}

/// An ELF file whose code starts with a Multiboot 1 header.
inline Bytes make_multiboot_elf(u32 flags, ElfSpec spec = {false, 0x100000, 0xC0100000, 0xC0100010, {}, {}, 0x3000}) {
  spec.code = multiboot_header(flags);
  append(spec.code, code_like(200));
  // The header must be aligned in the file: the ELF headers of these images are 84 or 120 bytes.
  return make_elf(spec);
}

/// 1 MiB of the usual low memory and `mib` MiB in all, with a hole as a PC has it.
inline MemoryMap memory_of(u64 mib) {
  MemoryMap map;
  map.ranges = {{0, 0x9FC00, RangeType::Usable},
                {0x9FC00, 0x60400, RangeType::Reserved},
                {0x100000, (mib << 20) - 0x100000, RangeType::Usable},
                {0xFEC00000, 0x1400000, RangeType::Reserved}};
  map.rsdp = 0xF0000;
  return map;
}

inline BootInputs inputs_of(Bytes kernel, u64 mib = 64) {
  BootInputs in;
  in.kernel = {"vmlinuz", std::move(kernel), {}};
  in.command_line = "console=ttyS0";
  in.memory = memory_of(mib);
  return in;
}

}  // namespace callgate::boot::test
