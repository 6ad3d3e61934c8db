#include "devices/rtc_cmos.h"

#include <doctest/doctest.h>

#include "devices/civil_time.h"
#include "devices/test_support.h"

namespace callgate {
namespace {

constexpr u64 kMs = 1'000'000;
constexpr u64 kSecond = 1'000'000'000;
constexpr i64 kStart = 951782399;  // 2000-02-28 23:59:59, a Monday (date -u -d @951782399)

struct Rig {
  test::FakeClock clock;
  test::RecordingLine irq;
  RtcCmos rtc;

  explicit Rig(i64 start = kStart) : rtc(clock, irq, start) {}
  u8 in(u8 cell) {
    rtc.write(0, 1, cell);
    return static_cast<u8>(rtc.read(1, 1));
  }
  void out(u8 cell, u8 value) {
    rtc.write(0, 1, cell);
    rtc.write(1, 1, value);
  }
};

constexpr u8 kA = 0x0A, kB = 0x0B, kC = 0x0C, kD = 0x0D;

TEST_CASE("calendar: days agree with dates that date(1) gives") {
  CHECK(days_from_civil(1970, 1, 1) == 0);
  CHECK(days_from_civil(2000, 2, 29) == 11016);
  CHECK(days_from_civil(2026, 7, 4) == 20638);
  CHECK(days_from_civil(1969, 12, 31) == -1);
  CHECK(days_from_civil(1600, 3, 1) == -135080);
  CHECK(weekday_from_days(0) == 4);  // a Thursday
  for (i64 day = -800000; day < 800000; day += 37) {
    const CivilDate date = civil_from_days(day);
    CHECK(days_from_civil(date.year, date.month, date.day) == day);
  }
}

TEST_CASE("RTC: shows the start time, and a leap day after it") {
  Rig r;
  CHECK(r.in(0) == 0x59);
  CHECK(r.in(2) == 0x59);
  CHECK(r.in(4) == 0x23);
  CHECK(r.in(6) == 2);  // Sunday is 1
  CHECK(r.in(7) == 0x28);
  CHECK(r.in(8) == 0x02);
  CHECK(r.in(9) == 0x00);
  CHECK(r.in(cmos::kCentury) == 0x20);
  r.clock.advance(kSecond - 1);
  CHECK(r.in(0) == 0x59);
  r.clock.advance(1);
  CHECK(r.in(0) == 0x00);
  CHECK(r.in(4) == 0x00);
  CHECK(r.in(7) == 0x29);
  CHECK(r.in(6) == 3);
}

TEST_CASE("RTC: binary and 12-hour modes change how the time is told") {
  Rig r;
  r.out(kB, 0x06);
  CHECK(r.in(2) == 59);
  CHECK(r.in(4) == 23);
  r.out(kB, 0x00);
  CHECK(r.in(4) == 0x91);  // 11 PM
  r.clock.advance(kSecond);
  CHECK(r.in(4) == 0x12);  // midnight is 12 AM
  r.clock.advance(12 * 3600 * kSecond);
  CHECK(r.in(4) == 0x92);
}

TEST_CASE("RTC: D says that the time is valid, and cannot be written") {
  Rig r;
  r.out(kD, 0);
  CHECK(r.in(kD) == 0x80);
}

TEST_CASE("RTC: UIP warns 244 microseconds before the second changes") {
  Rig r;
  CHECK(r.in(kA) == 0x26);
  r.clock.advance(kSecond - 244'001);
  CHECK(r.in(kA) == 0x26);
  r.clock.advance(1);
  CHECK(r.in(kA) == 0xA6);
  r.clock.advance(244'000);
  CHECK(r.in(kA) == 0x26);
}

TEST_CASE("RTC: a date written while SET holds the clock counts on from there") {
  Rig r;
  r.clock.advance(300 * kMs);
  r.out(kB, 0x82);
  r.out(0, 0x58), r.out(2, 0x59), r.out(4, 0x23), r.out(6, 0x01), r.out(7, 0x31), r.out(8, 0x12), r.out(9, 0x99);
  r.out(cmos::kCentury, 0x19);
  r.clock.advance(10 * kSecond);
  CHECK(r.in(0) == 0x58);
  r.out(kB, 0x02);
  CHECK(r.in(0) == 0x58);
  CHECK(r.in(6) == 0x01);  // whatever day of the week the guest chose
  r.clock.advance(1700 * kMs);
  CHECK(r.in(0) == 0x00);
  CHECK(r.in(9) == 0x00);
  CHECK(r.in(cmos::kCentury) == 0x20);
  CHECK(r.in(6) == 0x02);
}

TEST_CASE("RTC: the first second after the divider is released is half a second long, as Linux relies on") {
  Rig r;
  r.clock.advance(123 * kMs);
  r.out(kB, 0x82);
  r.out(kA, 0x76);
  r.out(0, 0x10);
  r.clock.advance(5 * kSecond);
  r.out(kB, 0x02);
  r.out(kA, 0x26);
  CHECK(r.in(0) == 0x10);
  r.clock.advance(499 * kMs);
  CHECK(r.in(0) == 0x10);
  r.clock.advance(1 * kMs);
  CHECK(r.in(0) == 0x11);
  r.clock.advance(kSecond);
  CHECK(r.in(0) == 0x12);
}

TEST_CASE("RTC: one cell written while the clock runs changes that cell alone") {
  Rig r;
  r.out(2, 0x30);
  CHECK(r.in(2) == 0x30);
  CHECK(r.in(0) == 0x59);
  CHECK(r.in(7) == 0x28);
}

TEST_CASE("RTC: the periodic interrupt comes at the chosen rate, once per read of C") {
  Rig r;
  r.out(kB, 0x42);
  r.out(kA, 0x26);  // 1024 Hz
  unsigned interrupts = 0;
  const u64 end = 2 * kSecond;
  while (r.clock.next_deadline() <= end) {
    r.clock.advance_to(r.clock.next_deadline());
    CHECK(r.irq.level);
    CHECK((r.in(kC)&0xC0) == 0xC0);
    CHECK_FALSE(r.irq.level);
    ++interrupts;
  }
  CHECK(interrupts == 2048);
}

TEST_CASE("RTC: rates one and two are those of eight and nine") {
  for (u8 rate : {u8{1}, u8{2}, u8{8}, u8{9}, u8{15}}) {
    Rig r;
    r.out(kA, static_cast<u8>(0x20 | rate));
    r.out(kB, 0x42);
    const u64 pulses = rate < 3 ? 64u << rate : 1u << (rate - 1);
    CHECK(r.clock.next_deadline() == (pulses * kSecond + 32767) / 32768);
  }
}

TEST_CASE("RTC: an interrupt that is not acknowledged costs no more alarms") {
  Rig r;
  r.out(kB, 0x42);
  r.clock.advance(kSecond);
  CHECK(r.irq.rises == 1);
  CHECK(r.clock.next_deadline() == kNever);
}

TEST_CASE("RTC: the update interrupt comes with the second") {
  Rig r;
  r.clock.advance(250 * kMs);
  r.out(kB, 0x12);
  r.in(kC);
  r.clock.advance(749 * kMs);
  CHECK_FALSE(r.irq.level);
  r.clock.advance(1 * kMs);
  CHECK(r.irq.level);
  const u8 flags = r.in(kC);
  CHECK((flags & 0x90) == 0x90);
  CHECK_FALSE(r.irq.level);
}

TEST_CASE("RTC: flags are set without their enables, and enabling one then interrupts") {
  Rig r{kStart + 3600};
  r.clock.advance(1500 * kMs);
  CHECK(r.clock.next_deadline() == kNever);
  r.out(kB, 0x12);
  CHECK(r.irq.level);
  CHECK(r.in(kC) == 0xD0);  // periodic and update, and the request
  CHECK(r.in(kC) == 0x00);
}

TEST_CASE("RTC: the alarm rings at its time, once a day") {
  Rig r;
  r.out(1, 0x05), r.out(3, 0x01), r.out(5, 0x00);  // 00:01:05
  r.in(kC);
  r.out(kB, 0x22);
  CHECK(r.clock.next_deadline() == 66 * kSecond);
  r.clock.advance(66 * kSecond);
  CHECK(r.irq.level);
  CHECK((r.in(kC)&0xA0) == 0xA0);
  CHECK(r.clock.next_deadline() == (66 + 86400) * kSecond);
}

TEST_CASE("RTC: alarm cells from C0 up match anything") {
  Rig r;
  r.out(1, 0x30), r.out(3, 0xFF), r.out(5, 0xC0);
  r.out(kB, 0x22);
  CHECK(r.clock.next_deadline() == 31 * kSecond);
  r.out(1, 0xFF);
  CHECK(r.clock.next_deadline() == 1 * kSecond);
}

TEST_CASE("RTC: an alarm at an impossible time never rings") {
  Rig r;
  r.out(1, 0x61), r.out(3, 0x00), r.out(5, 0x00);
  r.out(kB, 0x22);
  CHECK(r.clock.next_deadline() == kNever);
}

TEST_CASE("RTC: the afternoon bit is part of a 12-hour alarm") {
  Rig r;
  r.out(kB, 0x00);
  r.out(1, 0x00), r.out(3, 0x00), r.out(5, 0x81);  // 1 PM
  r.out(kB, 0x20);
  CHECK(r.clock.next_deadline() == (1 + 13 * 3600) * kSecond);
}

TEST_CASE("RTC: SET stops updates and their interrupt") {
  Rig r;
  r.out(kB, 0x92);
  CHECK(r.in(kB) == 0x82);
  r.clock.advance(3 * kSecond);
  CHECK((r.in(kC)&0x10) == 0);
}

TEST_CASE("CMOS: cells above the clock are memory, in both banks") {
  Rig r;
  r.out(0x40, 0xAB);
  CHECK(r.in(0x40) == 0xAB);
  CHECK(r.in(0xC0) == 0xAB);  // bit 7 of port 0x70 is the NMI mask
  r.rtc.write(2, 1, 0x40);
  CHECK(r.rtc.read(3, 1) == 0);
  r.rtc.write(3, 1, 0xCD);
  CHECK(r.rtc.read(3, 1) == 0xCD);
  CHECK(r.in(0x40) == 0xAB);
  CHECK(r.rtc.read(0, 1) == 0xFF);
}

TEST_CASE("CMOS: the memory's size is told in all the customary cells") {
  Rig r;
  r.rtc.describe_memory(u64{3} << 30, u64{5} << 30);
  CHECK((r.in(0x15) | r.in(0x16) << 8) == 640);
  CHECK((r.in(0x17) | r.in(0x18) << 8) == 0xFFFF);
  CHECK((r.in(0x30) | r.in(0x31) << 8) == 0xFFFF);
  CHECK((r.in(0x34) | r.in(0x35) << 8) == (0xC0000000 - 0x1000000) >> 16);
  CHECK((r.in(0x5B) | r.in(0x5C) << 8 | r.in(0x5D) << 16) == 0x14000);
}

TEST_CASE("RTC: a hardware reset turns interrupts off and keeps the date") {
  Rig r;
  r.out(kB, 0x72);
  r.out(0x40, 7);
  r.clock.advance(kSecond);
  CHECK(r.irq.level);
  r.rtc.reset();
  CHECK_FALSE(r.irq.level);
  CHECK(r.in(kB) == 0x02);
  CHECK(r.in(0x40) == 7);
  CHECK(r.in(7) == 0x29);
}

TEST_CASE("RTC: a restored clock interrupts at the same instant") {
  Rig a;
  a.out(kB, 0x12);
  a.clock.advance(400 * kMs);
  const auto bytes = test::saved(a.rtc);
  Rig b{0};
  b.clock.jump_to(a.clock.now());
  CHECK(test::restored(b.rtc, bytes) == "");
  CHECK(test::saved(b.rtc) == bytes);
  CHECK(b.clock.next_deadline() == kSecond);
  b.clock.advance(600 * kMs);
  CHECK(b.irq.level);
  CHECK(b.in(7) == 0x29);
}

TEST_CASE("RTC: a damaged state is reported and overflows nothing") {
  Rig a;
  auto bytes = test::saved(a.rtc);
  for (std::size_t i = 8 + 256 + 3; i < bytes.size() - 8; ++i) bytes[i] = 0x7F;
  CHECK(test::restored(a.rtc, bytes) == "RTC: its time makes no sense");
  a.in(0);
  a.in(kC);
}

}  // namespace
}  // namespace callgate
