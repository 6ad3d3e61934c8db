#include "devices/pit8254.h"

#include <doctest/doctest.h>

#include "devices/system_control_b.h"
#include "devices/test_support.h"

namespace callgate {
namespace {

struct Rig {
  test::FakeClock clock;
  test::RecordingLine irq;
  Pit8254 pit{clock, irq};
  SystemControlB port61{clock, pit};

  Rig() { irq.level = true; }  // OUT is high at power-on

  void out(unsigned port, u8 value) { pit.write(port, 1, value); }
  u8 in(unsigned port) { return static_cast<u8>(pit.read(port, 1)); }
  // Moves to the time of the n-th pulse from now.
  void ticks(PitTick n) { clock.advance_to(pit_tick_time(pit_tick_at(clock.now()) + n)); }
  void program(unsigned counter, u8 mode, u16 count, bool bcd = false) {
    out(3, static_cast<u8>(counter << 6 | 0x30 | mode << 1 | int{bcd}));
    out(counter, static_cast<u8>(count));
    out(counter, static_cast<u8>(count >> 8));
  }
  u16 count(unsigned counter) {
    out(3, static_cast<u8>(counter << 6));
    const u8 low = in(counter);
    return static_cast<u16>(in(counter) << 8 | low);
  }
  u8 status(unsigned counter) {
    out(3, static_cast<u8>(0xE0 | 2 << counter));
    return in(counter);
  }
  bool out_level(unsigned counter) { return status(counter) & 0x80; }
};

TEST_CASE("8254: pulses and nanoseconds convert without drift, for years") {
  for (PitTick tick : {PitTick{0}, PitTick{1}, PitTick{1193182}, PitTick{1} << 40, PitTick{1193182} * 86400 * 3650}) {
    CHECK(pit_tick_at(pit_tick_time(tick)) == tick);
    if (tick > 0) CHECK(pit_tick_at(pit_tick_time(tick) - 1) == tick - 1);
  }
  CHECK(pit_tick_time(1193182) == 1'000'000'000);
}

TEST_CASE("8254: mode 2 interrupts once a period, exactly 100 times a second at Linux's divisor of 11932") {
  Rig r;
  r.program(0, 2, 11932);
  r.clock.advance(10'000'000'000);
  // 10 s are 11931820 pulses: 999 whole periods of 11932 after the loading pulse, and 11752 pulses more.
  CHECK(r.irq.rises == 999);
}

TEST_CASE("8254: mode 2 is low for one pulse, when the count is one") {
  Rig r;
  r.program(0, 2, 4);
  r.ticks(1);  // loads
  CHECK(r.count(0) == 4);
  r.ticks(3);
  CHECK(r.count(0) == 1);
  CHECK_FALSE(r.out_level(0));
  r.ticks(1);
  CHECK(r.count(0) == 4);
  CHECK(r.out_level(0));
}

TEST_CASE("8254: a new count in mode 2 starts with the next period") {
  Rig r;
  r.program(0, 2, 100);
  r.ticks(1 + 250);
  const unsigned before = r.irq.rises;
  r.out(0, 10), r.out(0, 0);
  CHECK((r.status(0) & 0x40) != 0);  // null count: not loaded yet
  r.ticks(49);
  CHECK(r.irq.rises == before);
  r.ticks(1);
  CHECK(r.irq.rises == before + 1);
  CHECK((r.status(0) & 0x40) == 0);
  r.ticks(10);
  CHECK(r.irq.rises == before + 2);
}

TEST_CASE("8254: mode 0 raises OUT once, N + 1 pulses after the write, and goes on counting below zero") {
  Rig r;
  r.program(0, 0, 5);
  r.ticks(5);
  CHECK(r.irq.rises == 0);
  CHECK_FALSE(r.out_level(0));
  r.ticks(1);
  CHECK(r.irq.rises == 1);
  CHECK(r.irq.level);
  CHECK(r.count(0) == 0);
  r.ticks(1);
  CHECK(r.count(0) == 0xFFFF);
  r.ticks(1'000'000);
  CHECK(r.irq.rises == 1);
}

TEST_CASE("8254: the first byte of a count stops mode 0, the second starts it again") {
  Rig r;
  r.program(0, 0, 5);
  r.ticks(3);
  r.out(0, 7);
  r.ticks(100);
  CHECK(r.irq.rises == 0);
  r.out(0, 0);
  r.ticks(7);
  CHECK(r.irq.rises == 0);
  r.ticks(1);
  CHECK(r.irq.rises == 1);
}

TEST_CASE("8254: the control word sets OUT: low for mode 0, high for the others") {
  Rig r;
  r.out(3, 0x30);
  CHECK_FALSE(r.out_level(0));
  CHECK_FALSE(r.irq.level);
  r.out(3, 0x34);
  CHECK(r.out_level(0));
  CHECK(r.irq.level);
}

TEST_CASE("8254: mode 3 is a square wave, the odd pulse in the high half") {
  Rig r;
  r.program(0, 3, 5);
  r.ticks(1);
  const bool wave[] = {true, true, true, false, false, true, true, true, false, false};
  const u16 counts[] = {4, 2, 0, 4, 2, 4, 2, 0, 4, 2};
  for (int i = 0; i < 10; ++i) {
    CHECK(r.out_level(0) == wave[i]);
    CHECK(r.irq.level == wave[i]);
    CHECK(r.count(0) == counts[i]);
    r.ticks(1);
  }
  CHECK(r.irq.rises == 2);
}

TEST_CASE("8254: a new count in mode 3 starts with the next half-period") {
  Rig r;
  r.program(0, 3, 100);
  r.ticks(1 + 10);
  r.out(0, 20), r.out(0, 0);
  r.ticks(39);
  CHECK(r.out_level(0));
  r.ticks(1);  // 50: the low half, by the new count already
  CHECK_FALSE(r.out_level(0));
  r.ticks(9);
  CHECK_FALSE(r.out_level(0));
  r.ticks(1);
  CHECK(r.out_level(0));
}

TEST_CASE("8254: mode 4 strobes low for one pulse after the count, as Linux's one-shot clock event uses it") {
  Rig r;
  r.program(0, 4, 10);
  const unsigned before = r.irq.rises;
  r.ticks(11);
  CHECK_FALSE(r.out_level(0));
  r.ticks(1);
  CHECK(r.out_level(0));
  CHECK(r.irq.rises == before + 1);
  r.ticks(200'000);
  CHECK(r.irq.rises == before + 1);
}

TEST_CASE("8254: mode 1 is a one-shot that a gate edge triggers and retriggers") {
  Rig r;
  r.program(2, 1, 10);
  CHECK(r.out_level(2));
  r.port61.write(0, 1, 1);
  r.ticks(1);
  CHECK_FALSE(r.out_level(2));
  r.ticks(5);
  r.port61.write(0, 1, 0);
  CHECK_FALSE(r.out_level(2));
  r.port61.write(0, 1, 1);
  CHECK_FALSE(r.out_level(2));
  r.ticks(10);
  CHECK_FALSE(r.out_level(2));
  r.ticks(1);
  CHECK(r.out_level(2));
}

TEST_CASE("8254: mode 5 strobes after a gate edge and the count") {
  Rig r;
  r.program(2, 5, 10);
  r.ticks(100);
  CHECK(r.out_level(2));
  r.port61.write(0, 1, 1);
  r.ticks(11);
  CHECK_FALSE(r.out_level(2));
  r.ticks(1);
  CHECK(r.out_level(2));
}

TEST_CASE("8254: counter 2 in mode 0 counts only while port 0x61 holds its gate, and shows OUT in bit 5") {
  Rig r;
  r.program(2, 0, 100);
  r.ticks(500);
  CHECK(r.count(2) == 100);
  r.port61.write(0, 1, 1);
  r.ticks(40);
  CHECK(r.count(2) == 60);
  r.port61.write(0, 1, 0);
  r.ticks(500);
  CHECK(r.count(2) == 60);
  r.port61.write(0, 1, 1);
  r.ticks(59);
  CHECK((r.port61.read(0, 1) & 0x20) == 0);
  r.ticks(1);
  CHECK((r.port61.read(0, 1) & 0x20) == 0x20);
}

TEST_CASE("8254: a gate that drops raises mode 2's OUT and a rising one starts the period anew") {
  Rig r;
  r.port61.write(0, 1, 1);
  r.program(2, 2, 10);
  r.ticks(10);
  CHECK_FALSE(r.out_level(2));
  r.port61.write(0, 1, 0);
  CHECK(r.out_level(2));
  r.ticks(33);
  r.port61.write(0, 1, 1);
  r.ticks(1);
  CHECK(r.count(2) == 10);
}

TEST_CASE("8254: a latched count stays until it is read, and a second latch is ignored") {
  Rig r;
  r.program(0, 2, 0);
  r.ticks(1 + 100);
  r.out(3, 0x00);
  r.ticks(50);
  r.out(3, 0x00);
  const u8 low = r.in(0);
  CHECK((r.in(0) << 8 | low) == 65536 - 100);
  const u8 live = r.in(0);
  CHECK((r.in(0) << 8 | live) == 65536 - 150);
}

TEST_CASE("8254: read-back latches status and count of several counters, status first") {
  Rig r;
  r.program(0, 2, 1000);
  r.program(2, 3, 0x1234);
  r.ticks(1 + 10);
  r.out(3, 0xC0 | 0x02 | 0x08);
  r.ticks(100);
  CHECK(r.in(0) == (0x80 | 0x34));
  const u8 low = r.in(0);
  CHECK((r.in(0) << 8 | low) == 990);
  CHECK(r.in(2) == (0x80 | 0x36));
}

TEST_CASE("8254: one-byte access modes read and write their byte only") {
  Rig r;
  r.out(3, 0x14);  // counter 0, low byte, mode 2
  r.out(0, 50);
  r.ticks(1 + 8);
  CHECK(r.in(0) == 42);
  CHECK(r.in(0) == 42);
  r.out(3, 0x24);  // high byte
  r.out(0, 2);
  r.ticks(1);
  CHECK(r.in(0) == 2);
}

TEST_CASE("8254: BCD counts in decimal digits, and zero is ten thousand") {
  Rig r;
  r.program(0, 2, 0x1000, true);
  r.ticks(1 + 1);
  CHECK(r.count(0) == 0x0999);
  r.program(0, 0, 0, true);
  r.ticks(1);
  CHECK(r.count(0) == 0);
  r.ticks(1);
  CHECK(r.count(0) == 0x9999);
  r.ticks(9999);
  CHECK(r.out_level(0));
}

TEST_CASE("8254: a count of one in mode 2 or 3 is illegal and never interrupts") {
  Rig r;
  r.program(0, 2, 1);
  r.program(0, 3, 1);
  const unsigned before = r.irq.rises;
  r.ticks(100'000);
  CHECK(r.irq.rises == before);
}

TEST_CASE("8254: a restored timer interrupts at the same instants") {
  Rig a;
  a.program(0, 2, 777);
  a.program(2, 3, 50);
  a.clock.advance(123'456'789);
  const auto bytes = test::saved(a.pit);
  Rig b;
  b.clock.jump_to(a.clock.now());
  CHECK(test::restored(b.pit, bytes) == "");
  CHECK(test::saved(b.pit) == bytes);
  CHECK(b.clock.next_deadline() == a.clock.next_deadline());
  const unsigned before = a.irq.rises;
  a.clock.advance(1'000'000'000);
  b.clock.advance(1'000'000'000);
  CHECK(b.irq.rises == a.irq.rises - before);
  CHECK(a.count(2) == b.count(2));
}

TEST_CASE("8254: a damaged state is reported and divides by nothing") {
  Rig a;
  auto bytes = test::saved(a.pit);
  bytes[8] = 7;  // counter 0's mode
  CHECK(test::restored(a.pit, bytes) == "8254: a counter's state makes no sense");
}

TEST_CASE("port 0x61: the refresh bit toggles every 15 microseconds") {
  Rig r;
  unsigned toggles = 0;
  u64 last = r.port61.read(0, 1) & 0x10;
  for (int i = 0; i < 1000; ++i) {
    r.clock.advance(1000);
    const u64 now = r.port61.read(0, 1) & 0x10;
    toggles += now != last;
    last = now;
  }
  CHECK(toggles == 66);
}

TEST_CASE("port 0x61: only the low four bits are written") {
  Rig r;
  r.port61.write(0, 1, 0xFF);
  CHECK((r.port61.read(0, 1) & 0xCF) == 0x0F);
  CHECK(r.port61.speaker_enabled());
}

}  // namespace
}  // namespace callgate
