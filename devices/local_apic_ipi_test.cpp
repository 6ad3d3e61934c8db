// Interprocessor interrupts and destinations. Truth: SDM 3A, "Issuing Interprocessor Interrupts" and
// "Determining IPI Destination".
#include <doctest/doctest.h>

#include "devices/apic_test_board.h"

using namespace callgate;
using namespace callgate::test;

namespace {
/// Sends through processor 0's ICR in xAPIC mode.
void ipi(ApicBoard& b, u32 destination, u32 low) {
  b.write(0x310, destination << 24);
  b.write(0x300, low);
}
/// The processors that have `vector` pending, as a bit mask; they take it.
unsigned took(ApicBoard& b, int vector) {
  unsigned mask = 0;
  for (unsigned n = 0; n < b.apic.size(); ++n)
    if (b.take(n) == vector) mask |= 1u << n;
  return mask;
}
}  // namespace

TEST_CASE("a physical destination is one processor, and FFh is all") {
  ApicBoard b(4);
  b.enable();
  ipi(b, 2, 0x4040);
  CHECK(took(b, 0x40) == 0b0100);
  ipi(b, 0xFF, 0x4041);
  CHECK(took(b, 0x41) == 0b1111);
  ipi(b, 9, 0x4042);
  CHECK(took(b, 0x42) == 0);
}

TEST_CASE("a flat logical destination is a mask against each LDR") {
  ApicBoard b(4);
  b.enable();
  for (unsigned n = 0; n < 4; ++n) b.write(0xD0, 1u << (24 + n), n);
  ipi(b, 0b1010, 0x4840);
  CHECK(took(b, 0x40) == 0b1010);
  ipi(b, 0xFF, 0x4841);
  CHECK(took(b, 0x41) == 0b1111);
}

TEST_CASE("a cluster destination names the cluster and a mask of its members") {
  ApicBoard b(4);
  b.enable();
  const u32 ldr[] = {0x11, 0x12, 0x21, 0x22};
  for (unsigned n = 0; n < 4; ++n) {
    b.write(0xE0, 0, n);
    b.write(0xD0, ldr[n] << 24, n);
  }
  CHECK(b.read(0xE0) == 0x0FFFFFFF);
  ipi(b, 0x23, 0x4840);
  CHECK(took(b, 0x40) == 0b1100);
  ipi(b, 0xF1, 0x4841);
  CHECK(took(b, 0x41) == 0b0101);
}

TEST_CASE("the shorthands mean self, all, and all but self") {
  ApicBoard b(3);
  b.enable();
  ipi(b, 0, 0x44040);
  CHECK(took(b, 0x40) == 0b001);
  ipi(b, 0, 0x84041);
  CHECK(took(b, 0x41) == 0b111);
  ipi(b, 0, 0xC4042);
  CHECK(took(b, 0x42) == 0b110);
}

TEST_CASE("lowest priority goes to the one processor with the lowest processor priority") {
  ApicBoard b(3);
  b.enable();
  b.write(0x80, 0x50, 0);
  b.write(0x80, 0x20, 1);
  b.write(0x80, 0x30, 2);
  ipi(b, 0xFF, 0x4160);
  CHECK(took(b, 0x60) == 0b010);
  b.write(0xF0, 0xFF, 1);  // software-disabled: no candidate
  ipi(b, 0xFF, 0x4160);
  CHECK(took(b, 0x60) == 0b100);
}

TEST_CASE("INIT and SIPI start another processor; an INIT de-assert reaches nobody") {
  ApicBoard b(2);
  b.write(0x80, 0x20, 1);
  ipi(b, 1, 0xC500);  // level, assert
  CHECK(b.cpu[1]->inits == 1);
  CHECK(b.read(0x80, 1) == 0);
  ipi(b, 1, 0x8500);  // level, de-assert
  CHECK(b.cpu[1]->inits == 1);
  ipi(b, 1, 0x4608);
  CHECK(b.cpu[1]->startups == std::vector<u8>{8});
  ipi(b, 0, 0xC4400);  // NMI to all but self
  CHECK(b.cpu[1]->nmis == 1);
  CHECK(b.cpu[0]->nmis == 0);
  ipi(b, 0, 0x44400);  // NMI to self by shorthand is not a valid combination
  CHECK(b.cpu[0]->nmis == 0);
}

TEST_CASE("an illegal vector is not sent and is logged as a send error") {
  ApicBoard b(2);
  b.enable();
  ipi(b, 1, 0x400F);
  CHECK(took(b, 0x0F) == 0);
  b.write(0x280, 0);
  CHECK(b.read(0x280) == 0x20);
  b.write(0x280, 0, 1);
  CHECK(b.read(0x280, 1) == 0);
}

TEST_CASE("the ICR reads back what was written, never busy") {
  ApicBoard b;
  b.enable();
  ipi(b, 0x12, 0xFFFFF840);
  CHECK(b.read(0x310) == 0x12000000);
  CHECK(b.read(0x300) == 0x000CC840);
}

TEST_CASE("an IPI sent as level-triggered arrives as an edge") {
  ApicBoard b;
  b.enable();
  ipi(b, 0, 0xC040);
  CHECK(b.read(0x1A0) == 0);
  CHECK(b.take() == 0x40);
}

TEST_CASE("an MSI carries destination, mode and vector in its address and data") {
  const auto m = ApicMessage::from_msi(0xFEE0'3000, 0x0000'0041);
  CHECK(m.destination == 3);
  CHECK_FALSE(m.logical);
  CHECK(m.mode == DeliveryMode::Fixed);
  CHECK(m.vector == 0x41);
  CHECK_FALSE(m.level_triggered);
  const auto l = ApicMessage::from_msi(0xFEEF'F00C, 0x0000'8142);
  CHECK(l.destination == kApicBroadcast);
  CHECK(l.logical);
  CHECK(l.mode == DeliveryMode::LowestPriority);
  CHECK(l.level_triggered);
}
