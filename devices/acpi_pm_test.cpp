// ACPI fixed hardware and the reset register. Truth: ACPI Specification 6.5, 4.8; PIIX3 datasheet.
#include "devices/acpi_pm.h"

#include <doctest/doctest.h>

#include "devices/reset_control.h"
#include "devices/test_support.h"

using namespace callgate;
using namespace callgate::test;

namespace {
struct Board {
  FakeClock clock;
  RecordingLine sci;
  FakePower power;
  Log log;
  AcpiPm pm{clock, sci, power, log};
};
}  // namespace

TEST_CASE("the PM timer counts 3579545 ticks a second in 32 bits") {
  Board b;
  CHECK(b.pm.read(8, 4) == 0);
  b.clock.advance(1'000'000'000);
  CHECK(b.pm.read(8, 4) == 3579545);
  b.clock.advance(1'199'000'000'000);
  CHECK(b.pm.read(8, 4) == (u64{1200} * 3579545 & 0xFFFFFFFF));
}

TEST_CASE("the PM timer's event comes when bit 31 changes") {
  Board b;
  b.pm.write(2, 2, 1);
  const u64 half = ((u64{1} << 31) * 1'000'000'000 + 3579544) / 3579545;
  b.clock.advance(half - 1);
  CHECK_FALSE(b.sci.level);
  CHECK(b.pm.read(8, 4) == 0x7FFFFFFF);
  b.clock.advance(1);
  CHECK(b.sci.level);
  CHECK(b.pm.read(8, 4) == 0x80000000);
  CHECK((b.pm.read(0, 2) & 1) == 1);
  b.pm.write(0, 2, 1);
  CHECK_FALSE(b.sci.level);
  b.clock.advance(half);
  CHECK(b.sci.level);
}

TEST_CASE("the machine is always in ACPI mode") {
  Board b;
  CHECK(b.pm.read(4, 2) == 1);
  b.pm.write(4, 2, 0);
  CHECK(b.pm.read(4, 2) == 1);
}

TEST_CASE("SLP_EN with the soft-off type switches the power off, in word and in byte writes") {
  Board b;
  b.pm.write(4, 2, 0);
  CHECK(b.power.requests.empty());
  b.pm.write(4, 2, 1 << 13);
  REQUIRE(b.power.requests.size() == 1);
  CHECK(b.power.requests[0].first == PowerEvent::Off);
  b.pm.write(5, 1, (1 << 13) >> 8);
  CHECK(b.power.requests.size() == 2);
  CHECK(b.pm.read(4, 2) == 1);  // SLP_EN reads as zero
}

TEST_CASE("another sleep type does nothing") {
  Board b;
  b.pm.write(4, 2, 1 << 10 | 1 << 13);
  CHECK(b.power.requests.empty());
}

TEST_CASE("the power button raises the SCI until its status is cleared by a one") {
  Board b;
  b.pm.press_power_button();
  CHECK_FALSE(b.sci.level);
  b.pm.write(2, 2, 0x100);
  CHECK(b.sci.level);
  b.pm.write(0, 2, 0x001);
  CHECK(b.sci.level);
  b.pm.write(0, 2, 0x100);
  CHECK_FALSE(b.sci.level);
  CHECK(b.pm.read(0, 2) == 0);
}

TEST_CASE("GPE0 has a status and an enable half") {
  Board b;
  b.pm.raise_gpe(3);
  CHECK(b.pm.read(0x20, 4) == 0x00000008);
  b.pm.write(0x22, 1, 0x08);
  CHECK(b.sci.level);
  b.pm.write(0x20, 1, 0x08);
  CHECK_FALSE(b.sci.level);
}

TEST_CASE("a saved PM block goes on where it was, and reserved bits are refused") {
  Board a;
  a.pm.write(2, 2, 0x101);
  a.pm.press_power_button();
  auto bytes = saved(a.pm);
  Board b;
  REQUIRE(restored(b.pm, bytes) == "");
  CHECK(b.sci.level);
  CHECK(b.clock.next_deadline() == a.clock.next_deadline());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto broken = bytes;
    broken[i] ^= 0xFF;
    Board c;
    restored(c.pm, broken);
    c.clock.advance(1'000'000);
  }
}

TEST_CASE("the reset register resets when bit 2 is written as one") {
  FakePower power;
  ResetControl reset(power);
  reset.write(0, 1, 0x02);
  CHECK(power.requests.empty());
  CHECK(reset.read(0, 1) == 0x02);
  reset.write(0, 1, kResetControlValue);
  REQUIRE(power.requests.size() == 1);
  CHECK(power.requests[0].first == PowerEvent::Reset);
}
