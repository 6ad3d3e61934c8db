// HPET. Truth: IA-PC HPET Specification 1.0a, 2.3 and 2.4.
#include "devices/hpet.h"

#include <doctest/doctest.h>

#include "devices/test_support.h"

using namespace callgate;
using namespace callgate::test;

namespace {
struct Board {
  FakeClock clock;
  std::array<RecordingLine, 4> gsi;
  RecordingLine irq0, irq8;
  Log log;
  Hpet hpet{clock, {&gsi[0], &gsi[1], &gsi[2], &gsi[3]}, irq0, irq8, log};
  u64 read(u64 reg, unsigned size = 8) { return hpet.read(reg, size); }
  void write(u64 reg, u64 value, unsigned size = 8) { hpet.write(reg, size, value); }
};
constexpr u64 kEnable = 4, kLevel = 2, kPeriodic = 8, kValueSet = 0x40, k32 = 0x100;
constexpr u64 route(u64 n) { return n << 9; }
}  // namespace

TEST_CASE("the HPET names its period, its three timers and what they can do") {
  Board b;
  CHECK(b.read(0) == (u64{10'000'000} << 32 | kHpetId));
  CHECK(b.read(4, 4) == 10'000'000);
  CHECK((b.read(0) >> 8 & 31) == 2);
  for (unsigned n = 0; n < 3; ++n) {
    CHECK(b.read(0x100 + 0x20 * n) == 0x00F00000'00000030);
    CHECK(b.read(0x108 + 0x20 * n) == ~u64{0});
    CHECK(b.read(0x110 + 0x20 * n) == 0);
  }
  CHECK(b.read(0x160) == 0);
}

TEST_CASE("the counter runs only while enabled, at 100 MHz, and can be set while stopped") {
  Board b;
  b.clock.advance(1000);
  CHECK(b.read(0xF0) == 0);
  b.write(0x10, 1);
  b.clock.advance(1009);
  CHECK(b.read(0xF0) == 100);
  b.write(0x10, 0);
  b.clock.advance(1000);
  CHECK(b.read(0xF0) == 100);
  b.write(0xF0, 0x1'0000'0000);
  b.write(0xF0, 7, 4);  // the low half alone
  b.write(0x10, 1);
  b.clock.advance(30);
  CHECK(b.read(0xF0) == 0x1'0000'000A);
  CHECK(b.read(0xF4, 4) == 1);
}

TEST_CASE("a one-shot comparator fires once at its value") {
  Board b;
  b.write(0x120, kEnable | route(21));
  b.write(0x128, 50);
  b.write(0x10, 1);
  b.clock.advance(499);
  CHECK(b.gsi[1].rises == 0);
  b.clock.advance(1);
  CHECK(b.gsi[1].rises == 1);
  b.clock.advance(1'000'000);
  CHECK(b.gsi[1].rises == 1);
}

TEST_CASE("a periodic comparator starts at the value after VAL_SET and goes on by the period") {
  Board b;
  b.write(0x100, kEnable | kPeriodic | kValueSet | route(20));
  b.write(0x108, 30);  // first match
  CHECK((b.read(0x100) & kValueSet) == 0);
  b.write(0x108, 100);  // period
  CHECK(b.read(0x108) == 30);
  b.write(0x10, 1);
  b.clock.advance(300);
  CHECK(b.gsi[0].rises == 1);
  CHECK(b.read(0x108) == 130);
  b.clock.advance(999);
  CHECK(b.gsi[0].rises == 1);
  b.clock.advance(1);
  CHECK(b.gsi[0].rises == 2);
  b.clock.advance(5000);
  CHECK(b.gsi[0].rises == 7);
}

TEST_CASE("a level-triggered timer holds its wire until its status is cleared by a one") {
  Board b;
  b.write(0x140, kEnable | kLevel | route(23));
  b.write(0x148, 10);
  b.write(0x10, 1);
  b.clock.advance(100);
  CHECK(b.gsi[3].level);
  CHECK(b.read(0x20) == 4);
  b.write(0x20, 3);
  CHECK(b.gsi[3].level);
  b.write(0x20, 4);
  CHECK_FALSE(b.gsi[3].level);
  CHECK(b.read(0x20) == 0);
}

TEST_CASE("without its enable bit a level-triggered timer sets its status and no wire") {
  Board b;
  b.write(0x140, kLevel | route(23));
  b.write(0x148, 10);
  b.write(0x10, 1);
  b.clock.advance(100);
  CHECK(b.read(0x20) == 4);
  CHECK_FALSE(b.gsi[3].level);
}

TEST_CASE("legacy replacement takes IRQ 0 and IRQ 8 from the 8254 and the RTC and gives them back") {
  Board b;
  b.hpet.pit_input().set(true);
  CHECK(b.irq0.level);
  b.write(0x10, 2);
  CHECK_FALSE(b.irq0.level);
  b.hpet.rtc_input().set(true);
  CHECK_FALSE(b.irq8.level);
  b.write(0x100, kEnable | route(20));
  b.write(0x108, 10);
  b.write(0x120, kEnable | route(21));
  b.write(0x128, 20);
  b.write(0x10, 3);
  b.clock.advance(100);
  CHECK(b.irq0.level);
  CHECK(b.irq0.rises == 2);
  CHECK(b.gsi[0].rises == 0);
  b.clock.advance(100);
  CHECK(b.irq8.level);
  b.write(0x10, 0);
  CHECK(b.irq0.level);  // the 8254's again
  CHECK(b.irq8.level);
  b.hpet.pit_input().set(false);
  CHECK_FALSE(b.irq0.level);
}

TEST_CASE("in 32-bit mode only the low half counts and a one-shot fires at each turn") {
  Board b;
  b.write(0xF0, 0x5'FFFF'FFF0);
  b.write(0x100, kEnable | k32 | route(20));
  b.write(0x108, 0x7'0000'0010);
  CHECK(b.read(0x108) == 0x10);
  b.write(0x10, 1);
  b.clock.advance(0x1FF);
  CHECK(b.gsi[0].rises == 1);  // 20h ticks are 320 ns
  b.clock.advance(u64{0x1'0000'0000} * 10);
  CHECK(b.gsi[0].rises == 2);
}

TEST_CASE("a comparator written with the counter's own value matches at once, one just passed does not") {
  Board b;
  b.write(0x100, kEnable | route(20));
  b.write(0x10, 1);
  b.clock.advance(1000);
  b.write(0x108, 99);
  CHECK(b.gsi[0].rises == 0);
  b.write(0x108, 100);
  CHECK(b.gsi[0].rises == 1);
}

TEST_CASE("a saved HPET goes on where it was, and any damage leaves it sane") {
  Board a;
  a.write(0x100, kEnable | kPeriodic | kValueSet | route(20));
  a.write(0x108, 30);
  a.write(0x108, 100);
  a.write(0x10, 1);
  a.clock.advance(777);
  const auto bytes = saved(a.hpet);
  Board b;
  b.clock.jump_to(777);
  REQUIRE(restored(b.hpet, bytes) == "");
  b.clock.advance_to(1299);
  CHECK(b.gsi[0].rises == 1);  // the wire is up since the first match
  b.clock.advance_to(1300);
  CHECK(b.gsi[0].rises == 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto broken = bytes;
    broken[i] ^= 0xFF;
    Board c;
    restored(c.hpet, broken);
    c.clock.advance(2000);
    c.read(0xF0);
  }
}
