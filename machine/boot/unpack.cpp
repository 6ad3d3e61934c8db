#include "machine/boot/unpack.h"

#include <fmt/format.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "base/bits.h"
#include "machine/boot/memory_map.h"

namespace callgate::boot {

namespace {

// Decoders get at most this much working memory: the largest that `xz -9` and `zstd --long=27` ask for, and then some.
constexpr u64 kDecoderMemory = u64{256} << 20;
// The input goes to the libraries in pieces that fit all of their size types.
constexpr std::size_t kPiece = std::size_t{1} << 30;
constexpr u32 kLz4LegacyMagic = 0x184C2102;  // LZ4 Frame Format Description, Legacy frame

tl::unexpected<Error> damaged(Compression c) {
  return fail(ErrorKind::BadFile, fmt::format("the {} data are damaged", compression_name(c)));
}
tl::unexpected<Error> truncated(Compression c) {
  return fail(ErrorKind::BadFile, fmt::format("the {} data are cut off", compression_name(c)));
}

// The unpacked bytes so far. Grows by need and never past the limit, so that a claim alone costs nothing.
class Output {
 public:
  Output(u64 limit, std::size_t packed) : limit_(limit) {
    constexpr u64 kUsualRatio = 8;  // kernels shrink to a fourth: growing then never moves what is there
    bytes_.reserve(static_cast<std::size_t>(std::min(limit, packed * kUsualRatio)));
  }

  // Room for at least one more byte and at most `most`; empty when the limit is reached. Doubles what there is.
  std::span<u8> room(u64 most) {
    if (used_ == bytes_.size())
      bytes_.resize(static_cast<std::size_t>(std::min(limit_, std::max(kFirstRoom, used_ * u64{2}))));
    return std::span(bytes_).subspan(used_, static_cast<std::size_t>(std::min<u64>(most, bytes_.size() - used_)));
  }
  // Room for `want` bytes, or fewer only at the limit.
  std::span<u8> whole_room(u64 want) {
    const u64 end = used_ + std::min(want, limit_ - used_);
    if (end > bytes_.size()) bytes_.resize(static_cast<std::size_t>(std::min(limit_, std::max(end, used_ * 2))));
    return std::span(bytes_).subspan(used_, static_cast<std::size_t>(end - used_));
  }
  void used(u64 n) { used_ += static_cast<std::size_t>(n); }
  tl::unexpected<Error> too_big() const {
    return fail(ErrorKind::BadFile, fmt::format("it unpacks to more than {}", size_in_words(limit_)));
  }
  FileBytes take() {
    bytes_.resize(used_);
    return std::move(bytes_);
  }

 private:
  static constexpr u64 kFirstRoom = u64{64} << 10;

  u64 limit_;
  std::size_t used_ = 0;
  FileBytes bytes_;
};

Result<FileBytes> unpack_gzip(std::span<const u8> in, u64 max_size) {
  z_stream z{};
  constexpr int kGzipOnly = 15 + 16;  // zlib manual, inflateInit2: windowBits plus 16 decodes gzip only
  if (inflateInit2(&z, kGzipOnly) != Z_OK) return fail(ErrorKind::Host, "zlib could not start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&z, inflateEnd);
  Output out(max_size, in.size());
  for (;;) {
    if (z.avail_in == 0) {
      const auto piece = in.first(std::min(in.size(), kPiece));
      in = in.subspan(piece.size());
      z.next_in = const_cast<Bytef*>(piece.data());
      z.avail_in = static_cast<uInt>(piece.size());
    }
    u8 spare = 0;  // at the limit, one more byte tells the end of the stream from too much data
    auto room = out.room(kPiece);
    const bool full = room.empty();
    if (full) room = {&spare, 1};
    z.next_out = room.data();
    z.avail_out = static_cast<uInt>(room.size());
    const int code = inflate(&z, Z_NO_FLUSH);
    const std::size_t got = room.size() - z.avail_out;
    if (full && got != 0) return out.too_big();
    out.used(got);
    if (code == Z_STREAM_END) return out.take();
    if (code == Z_BUF_ERROR || (code == Z_OK && got == 0 && z.avail_in == 0 && in.empty())) {
      return truncated(Compression::Gzip);
    }
    if (code != Z_OK) return damaged(Compression::Gzip);
  }
}

Result<FileBytes> unpack_lzma(std::span<const u8> in, u64 max_size, Compression format) {
  lzma_stream lz = LZMA_STREAM_INIT;
  const lzma_ret started =
      format == Compression::Xz ? lzma_stream_decoder(&lz, kDecoderMemory, 0) : lzma_alone_decoder(&lz, kDecoderMemory);
  if (started != LZMA_OK) return fail(ErrorKind::Host, "liblzma could not start");
  const std::unique_ptr<lzma_stream, void (*)(lzma_stream*)> end(&lz, lzma_end);
  lz.next_in = in.data();
  lz.avail_in = in.size();
  Output out(max_size, in.size());
  for (;;) {
    u8 spare = 0;
    auto room = out.room(kPiece);
    const bool full = room.empty();
    if (full) room = {&spare, 1};
    lz.next_out = room.data();
    lz.avail_out = room.size();
    const lzma_ret code = lzma_code(&lz, LZMA_FINISH);
    const std::size_t got = room.size() - lz.avail_out;
    if (full && got != 0) return out.too_big();
    out.used(got);
    switch (code) {
      case LZMA_OK:
        break;
      case LZMA_STREAM_END:
        return out.take();
      case LZMA_BUF_ERROR:
        return truncated(format);
      case LZMA_MEMLIMIT_ERROR:
      case LZMA_MEM_ERROR:
        return fail(ErrorKind::BadFile, fmt::format("the {} data need more than {} of memory to unpack",
                                                    compression_name(format), size_in_words(kDecoderMemory)));
      default:
        return damaged(format);
    }
  }
}

Result<FileBytes> unpack_zstd(std::span<const u8> in, u64 max_size) {
  const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  if (!stream) return fail(ErrorKind::Host, "libzstd could not start");
  ZSTD_inBuffer source{in.data(), in.size(), 0};
  Output out(max_size, in.size());
  for (;;) {
    u8 spare = 0;
    auto room = out.room(kPiece);
    const bool full = room.empty();
    if (full) room = {&spare, 1};
    ZSTD_outBuffer sink{room.data(), room.size(), 0};
    const std::size_t before = source.pos;
    const std::size_t code = ZSTD_decompressStream(stream.get(), &sink, &source);
    if (full && sink.pos != 0) return out.too_big();
    out.used(sink.pos);
    if (ZSTD_isError(code)) return damaged(Compression::Zstd);
    if (code == 0) return out.take();
    if (source.pos == before && sink.pos == 0) return truncated(Compression::Zstd);
  }
}

// The "legacy frame": a magic number, then blocks of a 32-bit compressed size and data, each of at most 8 MiB unpacked.
Result<FileBytes> unpack_lz4(std::span<const u8> in, u64 max_size) {
  constexpr u64 kBlock = u64{8} << 20;
  Output out(max_size, in.size());
  in = in.subspan(4);
  while (!in.empty()) {
    if (in.size() < 4) return truncated(Compression::Lz4);
    const u32 size = load_as<u32>(in.data());
    in = in.subspan(4);
    if (size == kLz4LegacyMagic) continue;  // frames may follow one another
    if (size == 0 || size > static_cast<u32>(LZ4_compressBound(static_cast<int>(kBlock)))) {
      return damaged(Compression::Lz4);
    }
    if (size > in.size()) return truncated(Compression::Lz4);
    // A block of n bytes cannot unpack to more than 255 n, which keeps a swarm of tiny blocks from costing 8 MiB each.
    const auto room = out.whole_room(std::min(kBlock, u64{size} * 255));
    u8 spare = 0;
    const int got = LZ4_decompress_safe(reinterpret_cast<const char*>(in.data()),
                                        reinterpret_cast<char*>(room.empty() ? &spare : room.data()),
                                        static_cast<int>(size), static_cast<int>(room.size()));
    // The library does not tell damage from a full buffer; only at the limit can it be the latter.
    if (got < 0) return room.size() < std::min(kBlock, u64{size} * 255) ? out.too_big() : damaged(Compression::Lz4);
    out.used(static_cast<u64>(got));
    in = in.subspan(size);
  }
  return out.take();
}

}  // namespace

Compression detect_compression(std::span<const u8> data) {
  struct Magic {
    Compression compression;
    std::array<u8, 6> bytes;
    std::size_t size;
  };
  // Linux, lib/decompress.c has the same list; the formats' own documents define the numbers.
  static constexpr Magic kMagics[] = {
      {Compression::None, {0x7f, 'E', 'L', 'F'}, 4},
      {Compression::Gzip, {0x1f, 0x8b}, 2},
      {Compression::Bzip2, {'B', 'Z', 'h'}, 3},
      {Compression::Lzma, {0x5d, 0x00, 0x00}, 3},
      {Compression::Xz, {0xfd, '7', 'z', 'X', 'Z', 0x00}, 6},
      {Compression::Lzo, {0x89, 'L', 'Z', 'O'}, 4},
      {Compression::Lz4, {0x02, 0x21, 0x4c, 0x18}, 4},
      {Compression::Zstd, {0x28, 0xb5, 0x2f, 0xfd}, 4},
  };
  for (const Magic& m : kMagics) {
    if (data.size() >= m.size && std::equal(m.bytes.begin(), m.bytes.begin() + m.size, data.begin())) {
      return m.compression;
    }
  }
  return Compression::Unknown;
}

const char* compression_name(Compression compression) {
  switch (compression) {
    case Compression::Unknown:
      return "unknown";
    case Compression::None:
      return "uncompressed";
    case Compression::Gzip:
      return "gzip";
    case Compression::Bzip2:
      return "bzip2";
    case Compression::Lzma:
      return "LZMA";
    case Compression::Xz:
      return "XZ";
    case Compression::Lzo:
      return "LZO";
    case Compression::Lz4:
      return "LZ4";
    case Compression::Zstd:
      return "Zstandard";
  }
  return "unknown";
}

bool can_unpack(Compression compression) {
  return compression != Compression::Unknown && compression != Compression::Bzip2 && compression != Compression::Lzo;
}

Result<FileBytes> unpack(std::span<const u8> data, u64 max_size) {
  const Compression format = detect_compression(data);
  switch (format) {
    case Compression::None:
      if (data.size() > max_size) return Output(max_size, data.size()).too_big();
      return FileBytes(data.begin(), data.end());
    case Compression::Gzip:
      return unpack_gzip(data, max_size);
    case Compression::Lzma:
    case Compression::Xz:
      return unpack_lzma(data, max_size, format);
    case Compression::Lz4:
      return unpack_lz4(data, max_size);
    case Compression::Zstd:
      return unpack_zstd(data, max_size);
    case Compression::Unknown:
    case Compression::Bzip2:
    case Compression::Lzo:
      break;
  }
  return fail(ErrorKind::BadFile, fmt::format("{} compression can't be unpacked here", compression_name(format)));
}

}  // namespace callgate::boot
