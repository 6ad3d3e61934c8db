#include "machine/boot/placer.h"

#include <doctest/doctest.h>

#include "machine/boot/test_images.h"

using namespace callgate;
using namespace callgate::boot;

TEST_CASE("the placer never hands out a byte twice") {
  Placer p(test::memory_of(4));
  std::vector<std::pair<u64, u64>> places;
  for (u64 i = 0; i < 200; i++) {
    const u64 size = 1 + i * 37 % 5000;
    const auto at = i % 2 ? p.take_low(size, 16, 0, ~u64{0}) : p.take_high(size, 4096, ~u64{0});
    REQUIRE(at.has_value());
    for (const auto& [start, end] : places) CHECK((*at >= end || *at + size <= start));
    places.emplace_back(*at, *at + size);
  }
}

TEST_CASE("a reserved range within a usable one is no RAM") {
  MemoryMap map;
  map.ranges = {{0, 0x100000, RangeType::Usable}, {0x8000, 0x1000, RangeType::AcpiTables}};
  Placer p(map);
  CHECK(p.is_ram(0x7000, 0x1000));
  CHECK(!p.is_ram(0x7000, 0x1001));
  CHECK(!p.is_ram(0x8FFF, 1));
  CHECK(p.take_low(0x8000, 0x1000, 0, ~u64{0}) == 0x9000);
}

TEST_CASE("page 0 is RAM, and not handed out") {
  Placer p(test::memory_of(4));
  CHECK(p.is_ram(0, 0x1000));
  CHECK(p.take_low(1, 1, 0, ~u64{0}) == 0x1000);
}

TEST_CASE("adjacent usable ranges are one") {
  MemoryMap map;
  map.ranges = {{0x1000, 0x1000, RangeType::Usable}, {0x2000, 0x1000, RangeType::Usable}};
  CHECK(Placer(map).is_ram(0x1800, 0x1000));
}

TEST_CASE("sizes and places at the top of the address space don't wrap") {
  MemoryMap map;
  map.ranges = {{~u64{0} - 0xFFF, ~u64{0}, RangeType::Usable}};
  Placer p(map);
  CHECK(!p.is_ram(~u64{0} - 0x10, 0x100));
  CHECK(!p.is_ram(0x1000, ~u64{0}));
  CHECK(!p.take_low(0x2000, 0x1000, 0, ~u64{0}));
  CHECK(!p.take_high(~u64{0}, 0x1000, ~u64{0}));
  CHECK(p.take_high(0x100, 0x100, ~u64{0}) == ~u64{0} - 0x1FF);
}

TEST_CASE("sizes are written in the unit that suits them") {
  CHECK(size_in_words(1) == "1 byte");
  CHECK(size_in_words(1023) == "1023 bytes");
  CHECK(size_in_words(1536) == "1.5 KiB");
  CHECK(size_in_words(u64{40} << 20) == "40 MiB");
  CHECK(size_in_words((u64{512} << 20) - 1024) == "512 MiB");
}
