#include "devices/pic8259.h"

#include <doctest/doctest.h>

#include "devices/test_support.h"

namespace callgate {
namespace {

struct Rig {
  test::RecordingLine intr;
  Pic8259Pair pics{intr};

  void command(bool slave, u8 value) { (slave ? pics.slave_ports() : pics.master_ports()).write(0, 1, value); }
  void data(bool slave, u8 value) { (slave ? pics.slave_ports() : pics.master_ports()).write(1, 1, value); }
  u8 status(bool slave) { return static_cast<u8>((slave ? pics.slave_ports() : pics.master_ports()).read(0, 1)); }
  u8 mask(bool slave) { return static_cast<u8>((slave ? pics.slave_ports() : pics.master_ports()).read(1, 1)); }
  void eoi(bool slave = false) { command(slave, 0x20); }
  // As the PC's firmware and Linux do it, with vectors 0x20 and 0x28.
  void program(u8 icw4_master = 0x01, u8 icw4_slave = 0x01) {
    command(false, 0x11), data(false, 0x20), data(false, 0x04), data(false, icw4_master);
    command(true, 0x11), data(true, 0x28), data(true, 0x02), data(true, icw4_slave);
  }
};

TEST_CASE("8259: no interrupt leaves a pair that was never programmed, yet the mask can be probed") {
  Rig r;
  r.pics.line(0).set(true);
  CHECK_FALSE(r.pics.pending());
  r.data(false, 0xFB);
  CHECK(r.mask(false) == 0xFB);
}

TEST_CASE("8259: an edge raises INTR and is acknowledged once with its vector") {
  Rig r;
  r.program();
  r.pics.line(4).set(true);
  CHECK(r.intr.level);
  CHECK(r.pics.pending());
  CHECK(r.pics.acknowledge() == 0x24);
  CHECK_FALSE(r.intr.level);
  r.eoi();
  CHECK_FALSE(r.intr.level);  // still high: an edge input needs a new edge
  r.pics.line(4).set(false);
  r.pics.line(4).set(true);
  CHECK(r.pics.acknowledge() == 0x24);
}

TEST_CASE("8259: a pulse is remembered until it is acknowledged") {
  Rig r;
  r.program();
  r.pics.line(0).pulse();
  CHECK(r.pics.pending());
  CHECK(r.pics.acknowledge() == 0x20);
}

TEST_CASE("8259: the slave's requests arrive through input 2 and need both EOIs") {
  Rig r;
  r.program();
  r.pics.line(12).set(true);
  CHECK(r.pics.acknowledge() == 0x2C);
  r.command(false, 0x0B);
  r.command(true, 0x0B);
  CHECK(r.status(false) == 0x04);
  CHECK(r.status(true) == 0x10);
  r.pics.line(14).set(true);
  r.eoi(true);
  CHECK_FALSE(r.pics.pending());  // the master still serves input 2
  r.eoi(false);
  CHECK(r.pics.acknowledge() == 0x2E);
}

TEST_CASE("8259: a higher priority interrupts a lower one, never the reverse") {
  Rig r;
  r.program();
  r.pics.line(5).set(true);
  CHECK(r.pics.acknowledge() == 0x25);
  r.pics.line(6).set(true);
  CHECK_FALSE(r.pics.pending());
  r.pics.line(1).set(true);
  CHECK(r.pics.acknowledge() == 0x21);
  r.eoi();  // ends 1, the highest in service
  CHECK_FALSE(r.pics.pending());
  r.eoi();
  CHECK(r.pics.acknowledge() == 0x26);
}

TEST_CASE("8259: a masked request stays in the IRR and comes through when it is unmasked") {
  Rig r;
  r.program();
  r.data(false, 0x10);
  r.pics.line(4).set(true);
  CHECK_FALSE(r.pics.pending());
  r.command(false, 0x0A);
  CHECK(r.status(false) == 0x10);
  r.data(false, 0x00);
  CHECK(r.pics.pending());
}

TEST_CASE("8259: ICW1 forgets edges, masks and what is in service") {
  Rig r;
  r.program();
  r.data(false, 0xF0);
  r.pics.line(1).set(true);
  r.pics.acknowledge();
  r.pics.line(3).set(true);
  r.program();
  CHECK(r.mask(false) == 0);
  CHECK_FALSE(r.pics.pending());
  r.command(false, 0x0B);
  CHECK(r.status(false) == 0);
}

TEST_CASE("8259: nothing is let through in the middle of the initialisation") {
  Rig r;
  r.command(false, 0x11);
  r.pics.line(1).set(true);
  CHECK_FALSE(r.pics.pending());
  r.data(false, 0x40), r.data(false, 0x04);
  CHECK_FALSE(r.pics.pending());
  r.data(false, 0x01);
  CHECK(r.pics.acknowledge() == 0x41);
}

TEST_CASE("8259: ICW1 can leave out ICW3 and ICW4") {
  Rig r;
  r.command(false, 0x12);
  r.data(false, 0x67);  // the low bits of ICW2 are not the vector's
  r.data(false, 0xFE);
  CHECK(r.mask(false) == 0xFE);
  r.pics.line(0).set(true);
  CHECK(r.pics.acknowledge() == 0x60);
}

TEST_CASE("8259: a level-triggered input asks again after EOI while it is high, and is withdrawn when it drops") {
  Rig r;
  r.program();
  r.pics.elcr_ports().write(0, 2, 0x0820);  // inputs 5 and 11
  r.pics.line(5).set(true);
  CHECK(r.pics.acknowledge() == 0x25);
  r.eoi();
  CHECK(r.intr.level);
  r.pics.line(5).set(false);
  CHECK_FALSE(r.intr.level);
  r.pics.line(11).set(true);
  CHECK(r.intr.level);
  r.pics.line(11).set(false);
  CHECK_FALSE(r.intr.level);
}

TEST_CASE("8259: ELCR leaves the timer, keyboard, cascade, RTC and FPU edge-triggered") {
  Rig r;
  r.pics.elcr_ports().write(0, 1, 0xFF);
  r.pics.elcr_ports().write(1, 1, 0xFF);
  CHECK(r.pics.elcr_ports().read(0, 2) == 0xDEF8);
}

TEST_CASE("8259: an acknowledge with nothing waiting gives the spurious vector 7 and serves nothing") {
  Rig r;
  r.program();
  CHECK(r.pics.acknowledge() == 0x27);
  r.command(false, 0x0B);
  CHECK(r.status(false) == 0);
}

TEST_CASE("8259: automatic EOI leaves nothing in service") {
  Rig r;
  r.program(0x03, 0x03);
  r.pics.line(3).pulse();
  r.pics.line(4).pulse();
  CHECK(r.pics.acknowledge() == 0x23);
  CHECK(r.pics.acknowledge() == 0x24);
  r.command(false, 0x0B);
  CHECK(r.status(false) == 0);
}

TEST_CASE("8259: rotation in automatic EOI mode serves equal devices in turn") {
  Rig r;
  r.program(0x03, 0x03);
  r.command(false, 0x80);
  r.pics.line(3).pulse();
  r.pics.line(4).pulse();
  CHECK(r.pics.acknowledge() == 0x23);
  r.pics.line(3).pulse();
  CHECK(r.pics.acknowledge() == 0x24);
  CHECK(r.pics.acknowledge() == 0x23);
}

TEST_CASE("8259: EOI with rotation makes the served input the lowest") {
  Rig r;
  r.program();
  r.pics.line(3).pulse();
  CHECK(r.pics.acknowledge() == 0x23);
  r.command(false, 0xA0);
  r.pics.line(3).pulse();
  r.pics.line(6).pulse();
  CHECK(r.pics.acknowledge() == 0x26);
  r.command(false, 0xE6);  // rotate on specific EOI of 6: 7 is now the highest
  r.pics.line(7).pulse();
  CHECK(r.pics.acknowledge() == 0x27);
}

TEST_CASE("8259: set priority chooses the lowest input") {
  Rig r;
  r.program();
  r.command(false, 0xC4);
  r.pics.line(4).pulse();
  r.pics.line(5).pulse();
  CHECK(r.pics.acknowledge() == 0x25);
}

TEST_CASE("8259: specific EOI ends the named input and no other") {
  Rig r;
  r.program();
  r.pics.line(6).pulse();
  r.pics.acknowledge();
  r.pics.line(1).pulse();
  r.pics.acknowledge();
  r.command(false, 0x66);
  r.command(false, 0x0B);
  CHECK(r.status(false) == 0x02);
}

TEST_CASE("8259: special mask mode lets lower inputs through a masked one in service") {
  Rig r;
  r.program();
  r.pics.line(3).pulse();
  r.pics.acknowledge();
  r.pics.line(6).pulse();
  r.data(false, 0x08);
  CHECK_FALSE(r.pics.pending());
  r.command(false, 0x68);
  CHECK(r.pics.acknowledge() == 0x26);
  r.eoi();  // must end 6: 3 is masked
  r.command(false, 0x0B);
  CHECK(r.status(false) == 0x08);
  r.command(false, 0x48);
  CHECK_FALSE(r.pics.pending());
}

TEST_CASE("8259: special fully nested mode lets the slave interrupt itself") {
  Rig r;
  r.program(0x01);
  r.pics.line(12).pulse();
  r.pics.acknowledge();
  r.pics.line(8).pulse();
  CHECK_FALSE(r.pics.pending());
  r.program(0x11);
  r.pics.line(12).pulse();
  CHECK(r.pics.acknowledge() == 0x2C);
  r.pics.line(8).pulse();
  CHECK(r.pics.acknowledge() == 0x28);
  r.pics.line(5).pulse();  // below the slave
  CHECK_FALSE(r.pics.pending());
}

TEST_CASE("8259: poll reads the request and takes it into service") {
  Rig r;
  r.program();
  r.command(false, 0x0C);
  CHECK(r.status(false) == 0);
  r.pics.line(5).pulse();
  r.command(false, 0x0C);
  CHECK(r.mask(false) == 0x85);
  CHECK_FALSE(r.intr.level);
  r.command(false, 0x0B);
  CHECK(r.status(false) == 0x20);
}

TEST_CASE("8259: a restored pair goes on where the saved one stood") {
  Rig a;
  a.program();
  a.pics.line(9).set(true);
  a.pics.line(1).set(true);
  a.pics.acknowledge();
  const auto bytes = test::saved(a.pics);
  Rig b;
  CHECK(test::restored(b.pics, bytes) == "");
  CHECK(test::saved(b.pics) == bytes);
  b.eoi();
  CHECK(b.pics.acknowledge() == 0x29);
}

TEST_CASE("8259: a damaged state is reported") {
  Rig a;
  auto bytes = test::saved(a.pics);
  bytes[8 + 6] = 8;  // the master's lowest priority
  CHECK(test::restored(a.pics, bytes) == "8259: the lowest priority is not an input");
}

}  // namespace
}  // namespace callgate
