#include "machine/boot/unpack.h"

#include <doctest/doctest.h>

#include "machine/boot/test_images.h"

using namespace callgate;
using namespace callgate::boot;
using namespace callgate::boot::test;

namespace {
constexpr Compression kFormats[] = {Compression::Gzip, Compression::Lzma, Compression::Xz, Compression::Lz4,
                                    Compression::Zstd};
}

TEST_CASE("every format gives back what its own library packed") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{100'000}, std::size_t{9} << 20}) {
    const Bytes original = code_like(size);
    for (const Compression format : kFormats) {
      if (size > 1 << 20 && format != Compression::Lz4) continue;  // only LZ4 has blocks, of 8 MiB
      CAPTURE(compression_name(format));
      const Bytes packed = compress(original, format);
      CHECK(detect_compression(packed) == format);
      const auto unpacked = unpack(packed, size);
      REQUIRE(unpacked.has_value());
      CHECK(*unpacked == original);
    }
  }
}

TEST_CASE("one byte above the limit is too much, in every format") {
  const Bytes original = code_like(1'500'000);
  for (const Compression format : kFormats) {
    CAPTURE(compression_name(format));
    const auto unpacked = unpack(compress(original, format), original.size() - 1);
    REQUIRE(!unpacked.has_value());
    CHECK(unpacked.error().message == "it unpacks to more than 1.4 MiB");
  }
}

TEST_CASE("a bomb costs no more memory than the limit") {
  // A few KiB in Zstandard, some 250 KiB in LZ4.
  const Bytes zeros(u64{64} << 20);
  for (const Compression format : {Compression::Zstd, Compression::Lz4}) {
    const auto unpacked = unpack(compress(zeros, format), u64{1} << 20);
    REQUIRE(!unpacked.has_value());
    CHECK(unpacked.error().message == "it unpacks to more than 1 MiB");
  }
}

TEST_CASE("data cut off anywhere are refused, in every format") {
  const Bytes original = code_like(5000);
  for (const Compression format : kFormats) {
    CAPTURE(compression_name(format));
    const Bytes packed = compress(original, format);
    for (std::size_t n = 0; n < packed.size(); n++) {
      CAPTURE(n);
      const auto unpacked = unpack(std::span(packed).first(n), 1 << 20);
      // An LZ4 legacy frame has no end mark: cut between its blocks it is a shorter frame. The caller knows the size.
      if (unpacked && format == Compression::Lz4) {
        CHECK(unpacked->size() < original.size());
      } else {
        CHECK(!unpacked.has_value());
      }
    }
  }
}

TEST_CASE("LZ4 frames may follow one another") {
  Bytes packed = compress(code_like(1000), Compression::Lz4);
  append(packed, compress(code_like(500), Compression::Lz4));
  const auto unpacked = unpack(packed, 10'000);
  REQUIRE(unpacked.has_value());
  CHECK(unpacked->size() == 1500);
}

TEST_CASE("formats without a library here are recognised and named") {
  const Bytes bzip2 = {'B', 'Z', 'h', '9', 0, 0};
  CHECK(detect_compression(bzip2) == Compression::Bzip2);
  CHECK(!can_unpack(Compression::Bzip2));
  CHECK(unpack(bzip2, 100).error().message == "bzip2 compression can't be unpacked here");
  CHECK(detect_compression({}) == Compression::Unknown);
  CHECK(unpack({}, 100).error().message == "unknown compression can't be unpacked here");
}
