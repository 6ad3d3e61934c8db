// The local APIC's timer. Truth: SDM 3A, "APIC Timer" and "TSC-Deadline Mode".
#include <doctest/doctest.h>

#include "devices/apic_test_board.h"

using namespace callgate;
using namespace callgate::test;

TEST_CASE("a one-shot count divides the clock as the divide register says and fires once") {
  const struct {
    u32 code, divisor;
  } rows[] = {{0x0, 2}, {0x1, 4}, {0x2, 8}, {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xA, 128}, {0xB, 1}};
  for (const auto& row : rows) {
    CAPTURE(row.code);
    ApicBoard b;
    b.enable();
    b.write(0x3E0, row.code);
    b.write(0x320, 0x40);
    b.write(0x380, 100);
    b.clock.advance(50 * row.divisor);
    CHECK(b.read(0x390) == 50);
    b.clock.advance(50 * row.divisor - 1);
    CHECK(b.read(0x390) == 1);
    CHECK(b.take() == -1);
    b.clock.advance(1);
    CHECK(b.read(0x390) == 0);
    CHECK(b.take() == 0x40);
    b.clock.advance(1000 * row.divisor);
    CHECK(b.take() == -1);
    CHECK(b.clock.next_deadline() == kNever);
  }
}

TEST_CASE("a periodic count reloads, and writing zero stops it") {
  ApicBoard b;
  b.enable();
  b.write(0x3E0, 0xB);
  b.write(0x320, 0x20041);
  b.write(0x380, 1000);
  for (int i = 0; i < 5; ++i) {
    b.clock.advance(999);
    CHECK(b.take() == -1);
    b.clock.advance(1);
    CHECK(b.take() == 0x41);
    CHECK(b.read(0x390) == 1000);
  }
  b.write(0x380, 0);
  CHECK(b.read(0x390) == 0);
  b.clock.advance(10000);
  CHECK(b.take() == -1);
}

TEST_CASE("a masked timer counts on without an alarm, and unmasking does not bring back what was missed") {
  ApicBoard b;
  b.enable();
  b.write(0x3E0, 0xB);
  b.write(0x320, 0x30042);  // periodic, masked
  b.write(0x380, 1000);
  CHECK(b.clock.next_deadline() == kNever);
  b.clock.advance(2300);
  CHECK(b.read(0x390) == 700);
  b.write(0x320, 0x20042);
  CHECK(b.take() == -1);
  b.clock.advance(700);
  CHECK(b.take() == 0x42);
}

TEST_CASE("a change of the divide register keeps the count") {
  ApicBoard b;
  b.enable();
  b.write(0x3E0, 0xB);
  b.write(0x320, 0x43);
  b.write(0x380, 1000);
  b.clock.advance(400);
  b.write(0x3E0, 0x0);  // by 2
  CHECK(b.read(0x390) == 600);
  b.clock.advance(1199);
  CHECK(b.take() == -1);
  b.clock.advance(1);
  CHECK(b.take() == 0x43);
}

TEST_CASE("the TSC deadline fires when the TSC reaches it, then disarms") {
  ApicBoard b;
  b.enable();
  b.apic[0]->set_tsc_offset(5000);
  b.write(0x320, 0x40044);
  CHECK(b.apic[0]->write_msr(kMsrTscDeadline, 6000));
  CHECK(b.msr(kMsrTscDeadline) == 6000);
  b.clock.advance(999);
  CHECK(b.take() == -1);
  b.clock.advance(1);
  CHECK(b.take() == 0x44);
  CHECK(b.msr(kMsrTscDeadline) == 0);
}

TEST_CASE("a TSC deadline in the past fires at once") {
  ApicBoard b;
  b.enable();
  b.clock.advance(100);
  b.write(0x320, 0x40044);
  CHECK(b.apic[0]->write_msr(kMsrTscDeadline, 100));
  CHECK(b.take() == 0x44);
}

TEST_CASE("a TSC deadline beyond the end of time never fires, and zero disarms") {
  ApicBoard b;
  b.enable();
  b.write(0x320, 0x40044);
  b.apic[0]->write_msr(kMsrTscDeadline, ~u64{0});
  CHECK(b.clock.next_deadline() == kNever);
  CHECK(b.msr(kMsrTscDeadline) == ~u64{0});
  b.apic[0]->write_msr(kMsrTscDeadline, 500);
  b.apic[0]->write_msr(kMsrTscDeadline, 0);
  b.clock.advance(1000);
  CHECK(b.take() == -1);
}

TEST_CASE("moving the TSC moves the deadline's instant") {
  ApicBoard b;
  b.enable();
  b.write(0x320, 0x40044);
  b.apic[0]->write_msr(kMsrTscDeadline, 1000);
  b.apic[0]->set_tsc_offset(400);
  b.clock.advance(599);
  CHECK(b.take() == -1);
  b.clock.advance(1);
  CHECK(b.take() == 0x44);
  b.apic[0]->write_msr(kMsrTscDeadline, 5000);
  b.apic[0]->set_tsc_offset(5000);
  CHECK(b.take() == 0x44);
}

TEST_CASE("the deadline MSR works in its mode only, and a change of mode disarms") {
  ApicBoard b;
  b.enable();
  b.write(0x320, 0x45);
  b.apic[0]->write_msr(kMsrTscDeadline, 1000);
  CHECK(b.msr(kMsrTscDeadline) == 0);
  b.write(0x380, 500);
  b.write(0x320, 0x40045);
  CHECK(b.read(0x390) == 0);
  b.write(0x380, 500);  // ignored
  b.apic[0]->write_msr(kMsrTscDeadline, 1000);
  b.write(0x320, 0x20045);
  CHECK(b.msr(kMsrTscDeadline) == 0);
  b.clock.advance(5000);
  CHECK(b.take() == -1);
}

TEST_CASE("a late alarm with the shortest period is one interrupt, and the phase is kept") {
  ApicBoard b;
  b.enable();
  b.write(0x3E0, 0xB);
  b.write(0x320, 0x20046);
  b.write(0x380, 7);
  b.clock.jump_to(100);  // as when one instruction took a long time
  b.clock.advance(0);
  CHECK(b.take() == 0x46);
  CHECK(b.take() == -1);
  CHECK(b.read(0x390) == 5);  // 105 is the next multiple of 7
}
