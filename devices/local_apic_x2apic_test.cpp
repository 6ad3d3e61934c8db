// x2APIC mode: transitions, the MSR interface and its reserved bits. Truth: SDM 3A, "Extended XAPIC (x2APIC)".
#include <doctest/doctest.h>

#include "devices/apic_test_board.h"

using namespace callgate;
using namespace callgate::test;

namespace {
constexpr u64 kDisabled = 0xFEE00000, kX = 0xFEE00800, kX2 = 0xFEE00C00, kInvalid = 0xFEE00400;

/// Brings a new local APIC into `mode` by legal steps.
bool go(LocalApic& apic, u64 mode) {
  if (mode == kX2) return apic.write_msr(kMsrApicBase, kX2);
  return apic.write_msr(kMsrApicBase, mode);
}
}  // namespace

TEST_CASE("IA32_APIC_BASE allows the transitions of the manual's state diagram and no other") {
  struct Row {
    u64 from, to;
    bool legal;
  };
  const Row rows[] = {
      {kX, kX, true},        {kX, kX2, true},         {kX, kDisabled, true},        {kX, kInvalid, false},
      {kX2, kX2, true},      {kX2, kX, false},        {kX2, kDisabled, true},       {kX2, kInvalid, false},
      {kDisabled, kX, true}, {kDisabled, kX2, false}, {kDisabled, kDisabled, true}, {kDisabled, kInvalid, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.from);
    CAPTURE(row.to);
    ApicBoard b;
    REQUIRE(go(*b.apic[0], row.from));
    CHECK(b.apic[0]->write_msr(kMsrApicBase, row.to) == row.legal);
    CHECK(b.msr(kMsrApicBase) == (row.legal ? row.to : row.from));
  }
}

TEST_CASE("reserved bits of IA32_APIC_BASE fault, the page can be moved within physical memory") {
  ApicBoard b;
  for (unsigned n : {0u, 7u, 9u, 39u, 63u}) CHECK_FALSE(b.apic[0]->write_msr(kMsrApicBase, kX | u64{1} << n));
  CHECK(b.apic[0]->write_msr(kMsrApicBase, 0x7F'1234'5900));
  CHECK(b.apic[0]->mmio_page() == 0x7F'1234'5000);
}

TEST_CASE("x2APIC MSRs fault outside x2APIC mode, and the page is gone inside it") {
  ApicBoard b;
  u64 value = 0;
  CHECK_FALSE(b.apic[0]->read_msr(0x802, value));
  CHECK_FALSE(b.apic[0]->write_msr(0x808, 0));
  b.enter_x2apic();
  CHECK_FALSE(b.apic[0]->mmio_page());
  CHECK(b.read(0x20) == 0xFFFFFFFF);
  CHECK(b.apic[0]->read_msr(0x802, value));
}

TEST_CASE("the logical x2APIC id is derived from the id") {
  ApicBoard b(1, 0x123);
  b.enter_x2apic();
  CHECK(b.msr(0x802) == 0x123);
  CHECK(b.msr(0x80D) == (0x12u << 16 | 1u << 3));
}

TEST_CASE("which x2APIC registers can be read and written is as the manual's table says") {
  ApicBoard b;
  b.enter_x2apic();
  const auto readable = [](u32 i) {
    return i == 0x802 || i == 0x803 || i == 0x808 || i == 0x80A || i == 0x80D || i == 0x80F ||
           (i >= 0x810 && i <= 0x828) || i == 0x830 || (i >= 0x832 && i <= 0x839) || i == 0x83E;
  };
  const auto writable = [](u32 i) {
    return i == 0x808 || i == 0x80B || i == 0x80F || i == 0x828 || (i >= 0x832 && i <= 0x838) || i == 0x83E;
  };
  for (u32 i = 0x800; i <= 0x8FF; ++i) {
    CAPTURE(i);
    u64 value = 0;
    CHECK(b.apic[0]->read_msr(i, value) == readable(i));
    if (i == 0x830 || i == 0x83F) continue;  // these send interrupts
    CHECK(b.apic[0]->write_msr(i, 0) == writable(i));
  }
  CHECK(b.apic[0]->write_msr(0x830, 0x40));
  CHECK(b.apic[0]->write_msr(0x83F, 0x40));
}

TEST_CASE("each reserved bit of an x2APIC register faults") {
  struct Row {
    u32 index;
    u64 allowed;
  };
  const Row rows[] = {
      {0x808, 0xFF},    {0x80B, 0},          {0x80F, 0x11FF},  {0x828, 0},       {0x830, 0xFFFFFFFF'000CDFFF},
      {0x832, 0x710FF}, {0x833, 0x117FF},    {0x834, 0x117FF}, {0x835, 0x1F7FF}, {0x836, 0x1F7FF},
      {0x837, 0x110FF}, {0x838, 0xFFFFFFFF}, {0x83E, 0xB},     {0x83F, 0xFF},
  };
  for (const Row& row : rows) {
    for (unsigned n = 0; n < 64; ++n) {
      CAPTURE(row.index);
      CAPTURE(n);
      ApicBoard b;
      b.enter_x2apic();
      CHECK(b.apic[0]->write_msr(row.index, u64{1} << n) == (row.allowed >> n & 1));
    }
  }
}

TEST_CASE("the ICR is one 64-bit register in x2APIC mode and sends at the write") {
  ApicBoard b(3, 0x100);
  b.enter_x2apic();
  for (auto& a : b.apic) a->write_msr(0x80F, 0x1FF);
  CHECK(b.apic[0]->write_msr(0x830, u64{0x102} << 32 | 0x45));
  CHECK(b.msr(0x830) == (u64{0x102} << 32 | 0x45));
  CHECK(b.take(2) == 0x45);
  CHECK(b.take(1) == -1);
  // Logical: cluster 10h, members 0 and 2.
  CHECK(b.apic[0]->write_msr(0x830, u64{0x00100005} << 32 | 0x846));
  CHECK(b.take(0) == 0x46);
  CHECK(b.take(1) == -1);
  CHECK(b.take(2) == 0x46);
  CHECK(b.apic[0]->write_msr(0x830, u64{0xFFFFFFFF} << 32 | 0x47));
  for (unsigned n = 0; n < 3; ++n) CHECK(b.take(n) == 0x47);
}

TEST_CASE("the self IPI register sends a fixed interrupt to its own processor") {
  ApicBoard b(2);
  b.enter_x2apic();
  for (auto& a : b.apic) a->write_msr(0x80F, 0x1FF);
  CHECK(b.apic[1]->write_msr(0x83F, 0x99));
  CHECK(b.take(1) == 0x99);
  CHECK(b.take(0) == -1);
  CHECK(b.apic[1]->write_msr(0x83F, 0x05));
  b.apic[1]->write_msr(0x828, 0);
  CHECK(b.msr(0x828, 1) == 0x20);  // send illegal vector
}

TEST_CASE("INIT keeps x2APIC mode and the id; leaving through disabled clears the registers") {
  ApicBoard b;
  b.enter_x2apic();
  b.apic[0]->write_msr(0x808, 0x20);
  b.bus.deliver({.mode = DeliveryMode::Init});
  CHECK(b.apic[0]->x2apic());
  CHECK(b.msr(0x808) == 0);
  CHECK(b.msr(0x80F) == 0xFF);
  b.apic[0]->write_msr(0x80F, 0x1FF);
  CHECK(b.apic[0]->write_msr(kMsrApicBase, kDisabled));
  CHECK(b.apic[0]->write_msr(kMsrApicBase, kX));
  CHECK(b.read(0xF0) == 0xFF);
}

TEST_CASE("entering x2APIC mode keeps the interrupt state") {
  ApicBoard b;
  b.enable();
  b.write(0x320, 0x10055);
  b.bus.deliver({.vector = 0x66});
  b.enter_x2apic();
  CHECK(b.msr(0x80F) == 0x1FF);
  CHECK(b.msr(0x832) == 0x10055);
  CHECK(b.take() == 0x66);
}
