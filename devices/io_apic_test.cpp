// I/O APIC. Truth: Intel 82093AA datasheet; the EOI register as in version 20h.
#include "devices/io_apic.h"

#include <doctest/doctest.h>

#include "devices/apic_test_board.h"
#include "devices/isa_irq.h"
#include "devices/wired_or.h"

using namespace callgate;
using namespace callgate::test;

namespace {
struct IoBoard : ApicBoard {
  explicit IoBoard(unsigned cpus = 1, u32 active_low = 0) : ApicBoard(cpus), io(bus, log, active_low) { enable(); }
  u32 reg(u8 index) {
    io.write(0, 4, index);
    return static_cast<u32>(io.read(0x10, 4));
  }
  void set_reg(u8 index, u32 value) {
    io.write(0, 4, index);
    io.write(0x10, 4, value);
  }
  void entry(unsigned n, u32 low, u32 destination = 0) {
    set_reg(static_cast<u8>(0x11 + 2 * n), destination << 24);
    set_reg(static_cast<u8>(0x10 + 2 * n), low);
  }
  u32 low(unsigned n) { return reg(static_cast<u8>(0x10 + 2 * n)); }
  IoApic io;
};
}  // namespace

TEST_CASE("the I/O APIC names 24 inputs, version 20h, all masked after reset") {
  IoBoard b;
  CHECK(b.reg(1) == 0x00170020);
  for (unsigned n = 0; n < 24; ++n) CHECK(b.low(n) == 0x10000);
  b.set_reg(0, 0xFFFFFFFF);
  CHECK(b.reg(0) == 0x0F000000);
  CHECK(b.reg(2) == 0x0F000000);
  CHECK(b.reg(0x40) == 0);  // past the last entry
}

TEST_CASE("an edge-triggered input sends at the rising edge only") {
  IoBoard b;
  b.entry(4, 0x34);
  b.io.line(4).set(true);
  CHECK(b.take() == 0x34);
  b.io.line(4).set(true);
  b.io.line(4).set(false);
  CHECK(b.take() == -1);
  b.io.line(4).set(true);
  CHECK(b.take() == 0x34);
}

TEST_CASE("an edge on a masked input is lost") {
  IoBoard b;
  b.entry(4, 0x10034);
  b.io.line(4).set(true);
  b.entry(4, 0x34);
  CHECK(b.take() == -1);
}

TEST_CASE("a level-triggered input sets remote IRR and comes again after the EOI while asserted") {
  IoBoard b;
  b.entry(9, 0x8039);
  b.io.line(9).set(true);
  CHECK(b.low(9) == 0xC039);
  b.io.line(9).set(false);
  b.io.line(9).set(true);
  CHECK(b.take() == 0x39);  // take() ends it: the line is still asserted
  CHECK(b.low(9) == 0xC039);
  CHECK(b.apic[0]->acknowledge() == 0x39);
  b.io.line(9).set(false);
  b.write(0xB0, 0);
  CHECK(b.low(9) == 0x8039);
  CHECK(b.take() == -1);
}

TEST_CASE("a level asserted behind a mask is sent when the mask goes") {
  IoBoard b;
  b.entry(9, 0x18039);
  b.io.line(9).set(true);
  CHECK(b.take() == -1);
  b.entry(9, 0x8039);
  CHECK(b.take() == 0x39);
}

TEST_CASE("the EOI register ends a level when the local APIC suppresses the broadcast") {
  IoBoard b;
  b.write(0xF0, 0x11FF);
  b.entry(9, 0x8039);
  b.io.line(9).set(true);
  CHECK(b.apic[0]->acknowledge() == 0x39);
  b.io.line(9).set(false);
  b.write(0xB0, 0);
  CHECK(b.low(9) == 0xC039);
  b.io.write(0x40, 4, 0x38);
  CHECK(b.low(9) == 0xC039);
  b.io.write(0x40, 4, 0x39);
  CHECK(b.low(9) == 0x8039);
}

TEST_CASE("turning an entry to edge-triggered clears remote IRR") {
  IoBoard b;
  b.entry(9, 0x8039);
  b.io.line(9).set(true);
  b.entry(9, 0x10039);
  b.entry(9, 0x18039);
  CHECK(b.low(9) == 0x18039);
}

TEST_CASE("a level that nobody took is sent when a local APIC becomes ready") {
  IoBoard b;
  b.write(0xF0, 0xFF);
  b.entry(9, 0x8039);
  b.io.line(9).set(true);
  CHECK(b.low(9) == 0x8039);
  b.write(0xF0, 0x1FF);
  CHECK(b.low(9) == 0xC039);
  CHECK(b.take() == 0x39);
}

TEST_CASE("polarity is the wire's: an active-low input needs the active-low bit") {
  IoBoard b(1, 1u << 16);
  b.entry(16, 0xA050);  // level, active low
  CHECK(b.take() == -1);
  b.io.line(16).set(true);
  CHECK(b.take() == 0x50);
  b.io.line(16).set(false);
  b.take();
  b.entry(16, 0x8050);  // programmed active high: the idle wire is an interrupt
  CHECK(b.take() == 0x50);
}

TEST_CASE("destinations are physical or logical, and FFh is everybody") {
  IoBoard b(3);
  b.entry(5, 0x45, 2);
  b.io.line(5).pulse();
  CHECK(b.take(2) == 0x45);
  for (unsigned n = 0; n < 3; ++n) b.write(0xD0, 1u << (24 + n), n);
  b.entry(5, 0x845, 0b011);
  b.io.line(5).pulse();
  CHECK(b.take(0) == 0x45);
  CHECK(b.take(1) == 0x45);
  CHECK(b.take(2) == -1);
  b.entry(5, 0x45, 0xFF);
  b.io.line(5).pulse();
  for (unsigned n = 0; n < 3; ++n) CHECK(b.take(n) == 0x45);
}

TEST_CASE("an NMI entry raises NMI on each edge and has no remote IRR") {
  IoBoard b;
  b.entry(7, 0x8400);
  b.io.line(7).set(true);
  CHECK(b.cpu[0]->nmis == 1);
  CHECK(b.low(7) == 0x8400);
}

TEST_CASE("read-only bits of an entry can't be written") {
  IoBoard b;
  b.entry(3, 0xFFFFFFFF, 0xFF);
  CHECK(b.low(3) == 0x1AFFF);
  CHECK(b.reg(0x17) == 0xFF000000);
}

TEST_CASE("an ISA interrupt reaches the 8259 and the I/O APIC, IRQ 0 on input 2") {
  CHECK(gsi_of_isa_irq(0) == 2);
  CHECK(gsi_of_isa_irq(4) == 4);
  RecordingLine pic, io;
  IsaIrq irq(pic, io);
  irq.set(true);
  CHECK(pic.level);
  CHECK(io.level);
}

TEST_CASE("a shared wire is asserted while one of its sources asserts it") {
  RecordingLine out;
  WiredOr wire(out);
  IrqLine& a = wire.input();
  IrqLine& b = wire.input();
  a.set(true);
  a.set(true);
  b.set(true);
  a.set(false);
  CHECK(out.level);
  b.set(false);
  CHECK_FALSE(out.level);
  CHECK(out.rises == 1);
}

TEST_CASE("a saved I/O APIC goes on where it was, and a damaged one is refused") {
  IoBoard a;
  a.entry(9, 0x8039);
  a.io.line(9).set(true);
  auto bytes = saved(a.io);
  IoBoard b;
  REQUIRE(restored(b.io, bytes) == "");
  CHECK(b.low(9) == 0xC039);
  b.io.end_of_interrupt(0x39);
  CHECK(b.take() == 0x39);
  bytes.back() = 0xFF;
  bytes[bytes.size() - 5] = 0xFF;  // bits 31:24 of the last entry
  CHECK(restored(b.io, bytes) != "");
}
