// Acceptance, priority, EOI, LINT pins, modes and state. Truth: SDM 3A, "Advanced Programmable Interrupt Controller".
#include "devices/local_apic.h"

#include <doctest/doctest.h>

#include "devices/apic_test_board.h"

using namespace callgate;
using namespace callgate::test;

namespace {
ApicMessage fixed(u8 vector, bool level = false) {
  return {.destination = 0, .mode = DeliveryMode::Fixed, .vector = vector, .level_triggered = level};
}
struct EoiRecorder final : EoiListener {
  void end_of_interrupt(u8 vector) override { vectors.push_back(vector); }
  void retry() override { ++retries; }
  std::vector<u8> vectors;
  unsigned retries = 0;
};
}  // namespace

TEST_CASE("after reset the local APIC has the power-up values of the manual") {
  ApicBoard b(1, 5);
  CHECK(b.read(0x20) == 5u << 24);
  CHECK((b.read(0x30) & 0xFF) == 0x14);
  CHECK((b.read(0x30) >> 16 & 0xFF) == 5);  // six LVT entries
  CHECK(b.read(0x80) == 0);
  CHECK(b.read(0xD0) == 0);
  CHECK(b.read(0xE0) == 0xFFFFFFFF);
  CHECK(b.read(0xF0) == 0xFF);
  for (u32 lvt = 0x320; lvt <= 0x370; lvt += 0x10) CHECK(b.read(lvt) == 0x10000);
  CHECK(b.read(0x380) == 0);
  CHECK(b.read(0x390) == 0);
  CHECK(b.msr(kMsrApicBase) == 0xFEE00900);
}

TEST_CASE("a software-disabled local APIC takes NMI, INIT and SIPI, but no fixed interrupt") {
  ApicBoard b;
  CHECK_FALSE(b.bus.deliver(fixed(0x40)));
  CHECK(b.bus.deliver({.mode = DeliveryMode::Nmi}));
  CHECK(b.bus.deliver({.mode = DeliveryMode::Init}));
  CHECK(b.bus.deliver({.mode = DeliveryMode::Startup, .vector = 0x9A}));
  CHECK(b.cpu[0]->nmis == 1);
  CHECK(b.cpu[0]->inits == 1);
  CHECK(b.cpu[0]->startups == std::vector<u8>{0x9A});
}

TEST_CASE("the highest vector is delivered first, and a class in service holds back its equals") {
  ApicBoard b;
  b.enable();
  b.bus.deliver(fixed(0x31));
  b.bus.deliver(fixed(0x42));
  b.bus.deliver(fixed(0x4F));
  CHECK(b.cpu[0]->line);
  CHECK(b.apic[0]->acknowledge() == 0x4F);
  CHECK_FALSE(b.apic[0]->pending());  // 42h is of the class in service
  CHECK(b.read(0xA0) == 0x40);        // PPR
  b.bus.deliver(fixed(0x50));
  CHECK(b.apic[0]->acknowledge() == 0x50);
  b.write(0xB0, 0);
  CHECK_FALSE(b.apic[0]->pending());
  b.write(0xB0, 0);
  CHECK(b.apic[0]->acknowledge() == 0x42);
  b.write(0xB0, 0);
  CHECK(b.apic[0]->acknowledge() == 0x31);
  b.write(0xB0, 0);
  CHECK_FALSE(b.cpu[0]->line);
}

TEST_CASE("IRR, ISR and TMR show their vectors in eight double words") {
  ApicBoard b;
  b.enable();
  b.bus.deliver(fixed(0x21));
  b.bus.deliver(fixed(0xE5, true));
  CHECK(b.read(0x210) == 1u << 1);
  CHECK(b.read(0x270) == 1u << 5);
  CHECK(b.read(0x1F0) == 1u << 5);
  b.apic[0]->acknowledge();
  CHECK(b.read(0x170) == 1u << 5);
  CHECK(b.read(0x270) == 0);
}

TEST_CASE("the task priority masks by class, and CR8 is its upper half") {
  ApicBoard b;
  b.enable();
  b.apic[0]->set_cr8(4);
  CHECK(b.read(0x80) == 0x40);
  b.bus.deliver(fixed(0x4A));
  CHECK_FALSE(b.cpu[0]->line);
  b.write(0x80, 0x3F);
  CHECK(b.apic[0]->cr8() == 3);
  CHECK(b.read(0xA0) == 0x3F);
  CHECK(b.cpu[0]->line);
  b.apic[0]->set_cr8(15);
  CHECK_FALSE(b.cpu[0]->line);
  CHECK(b.apic[0]->acknowledge() == 0xFF);  // nothing eligible: the spurious vector
  CHECK(b.read(0x140) == 0);                // and nothing in service
}

TEST_CASE("the EOI of a level-triggered vector reaches the bus unless the suppression bit is set") {
  ApicBoard b;
  EoiRecorder io;
  b.bus.attach(io);
  b.enable();
  b.bus.deliver(fixed(0x60, true));
  CHECK(b.take() == 0x60);
  CHECK(io.vectors == std::vector<u8>{0x60});
  b.bus.deliver(fixed(0x61, false));
  CHECK(b.take() == 0x61);
  CHECK(io.vectors.size() == 1);
  b.write(0xF0, 0x11FF);
  b.bus.deliver(fixed(0x60, true));
  CHECK(b.take() == 0x60);
  CHECK(io.vectors.size() == 1);
}

TEST_CASE("an EOI with nothing in service changes nothing") {
  ApicBoard b;
  b.enable();
  b.bus.deliver(fixed(0x60));
  b.write(0xB0, 0);
  CHECK(b.apic[0]->pending());
}

TEST_CASE(
    "a vector below 16 in a message sets the receive error and raises the error interrupt once until the ESR is "
    "written") {
  ApicBoard b;
  b.enable();
  b.write(0x370, 0x55);
  b.bus.deliver(fixed(0x0F));
  CHECK(b.take() == 0x55);
  CHECK(b.read(0x280) == 0);  // nothing shows before a write
  b.bus.deliver(fixed(0x0E));
  CHECK(b.take() == -1);
  b.write(0x280, 0);
  CHECK(b.read(0x280) == 0x40);
  b.bus.deliver(fixed(0x0D));
  CHECK(b.take() == 0x55);
  b.write(0x280, 0);
  b.write(0x280, 0);
  CHECK(b.read(0x280) == 0);
}

TEST_CASE("an unknown xAPIC register reads as zero and logs an illegal register address") {
  ApicBoard b;
  b.enable();
  CHECK(b.read(0x2F0) == 0);
  b.write(0x280, 0);
  CHECK(b.read(0x280) == 0x80);
  b.write(0x10, 1);
  b.write(0x280, 0);
  CHECK(b.read(0x280) == 0x80);
}

TEST_CASE("an error interrupt whose own vector is illegal ends there") {
  ApicBoard b;
  b.enable();
  b.write(0x370, 0x02);
  b.bus.deliver(fixed(0x0F));
  CHECK_FALSE(b.apic[0]->pending());
  b.write(0x280, 0);
  CHECK(b.read(0x280) == 0x40);
}

TEST_CASE("software disable sets every mask, refuses to clear one, and keeps what is pending") {
  ApicBoard b;
  b.enable();
  b.write(0x320, 0x30);
  b.write(0x350, 0x700);
  b.bus.deliver(fixed(0x44));
  b.write(0xF0, 0xFF);
  CHECK(b.read(0x320) == 0x10030);
  CHECK(b.read(0x350) == 0x10700);
  b.write(0x320, 0x31);
  CHECK(b.read(0x320) == 0x10031);
  CHECK(b.take() == 0x44);
}

TEST_CASE("LINT0 as ExtINT passes the 8259's interrupt through, whatever the task priority") {
  ApicBoard b;
  FakePic pic;
  b.apic[0]->connect_pic(pic);
  b.apic[0]->lint0().set(true);
  CHECK_FALSE(b.apic[0]->pending());
  b.apic[0]->enter_virtual_wire_mode();
  CHECK(b.apic[0]->pending());
  b.apic[0]->set_cr8(15);
  CHECK(b.apic[0]->pending());
  CHECK(b.apic[0]->acknowledge() == 0x08);
  CHECK(b.read(0x100) == 0);  // not in service: the 8259 wants the EOI
  b.apic[0]->lint0().set(false);
  CHECK_FALSE(b.cpu[0]->line);
}

TEST_CASE("LINT1 as NMI acts on the rising edge") {
  ApicBoard b;
  b.apic[0]->enter_virtual_wire_mode();
  b.apic[0]->lint1().set(true);
  b.apic[0]->lint1().set(true);
  CHECK(b.cpu[0]->nmis == 1);
  b.apic[0]->lint1().set(false);
  b.apic[0]->lint1().set(true);
  CHECK(b.cpu[0]->nmis == 2);
  b.write(0x360, 0x10400);
  b.apic[0]->lint1().pulse();
  CHECK(b.cpu[0]->nmis == 2);
}

TEST_CASE("LINT0 as a level-triggered fixed interrupt comes again after the EOI while it is asserted") {
  ApicBoard b;
  b.enable();
  b.write(0x350, 0x8000 | 0x70);
  b.apic[0]->lint0().set(true);
  CHECK(b.read(0x350) == (0xC000 | 0x70));  // remote IRR
  CHECK(b.take() == 0x70);
  CHECK(b.apic[0]->pending());
  b.apic[0]->acknowledge();
  b.apic[0]->lint0().set(false);
  b.write(0xB0, 0);
  CHECK(b.read(0x350) == (0x8000 | 0x70));
  CHECK_FALSE(b.apic[0]->pending());
}

TEST_CASE("a disabled local APIC is not there: LINT0 is INTR, LINT1 is NMI, messages pass by") {
  ApicBoard b;
  FakePic pic;
  b.apic[0]->connect_pic(pic);
  CHECK(b.apic[0]->write_msr(kMsrApicBase, 0xFEE00100));
  CHECK_FALSE(b.apic[0]->mmio_page());
  CHECK_FALSE(b.bus.deliver({.mode = DeliveryMode::Nmi}));
  b.apic[0]->lint0().set(true);
  CHECK(b.apic[0]->pending());
  CHECK(b.apic[0]->acknowledge() == 0x08);
  b.apic[0]->lint1().set(true);
  CHECK(b.cpu[0]->nmis == 1);
  CHECK(b.read(0x30) == 0xFFFFFFFF);
}

TEST_CASE("an ExtINT message from the I/O APIC is answered by the 8259 once") {
  ApicBoard b;
  FakePic pic;
  b.apic[0]->connect_pic(pic);
  b.enable();
  b.apic[0]->lint0().set(true);  // masked
  CHECK_FALSE(b.apic[0]->pending());
  b.bus.deliver({.mode = DeliveryMode::ExtInt});
  CHECK(b.apic[0]->pending());
  CHECK(b.apic[0]->acknowledge() == 0x08);
  CHECK_FALSE(b.apic[0]->pending());
}

TEST_CASE("bytes of a register can be read, writes need the whole double word") {
  ApicBoard b(1, 7);
  CHECK(b.apic[0]->read(0x23, 1) == 7);
  CHECK(b.apic[0]->read(0x24, 4) == 0);
  b.apic[0]->write(0x80, 1, 0x55);
  b.apic[0]->write(0x84, 4, 0x55);
  CHECK(b.read(0x80) == 0);
}

TEST_CASE("a saved local APIC goes on where it was, its timer included") {
  ApicBoard a;
  a.enable();
  a.write(0x320, 0x20031);  // periodic
  a.write(0x3E0, 0xB);
  a.write(0x380, 1000);
  a.clock.advance(2500);
  CHECK(a.take() == 0x31);
  a.bus.deliver(fixed(0x77));
  const auto bytes = saved(*a.apic[0]);

  ApicBoard b;
  b.clock.jump_to(2500);
  REQUIRE(restored(*b.apic[0], bytes) == "");
  CHECK(b.cpu[0]->line);
  CHECK(b.take() == 0x77);
  CHECK(b.read(0x390) == 500);
  b.clock.advance(499);
  CHECK(b.take() == -1);
  b.clock.advance(1);
  CHECK(b.take() == 0x31);
  CHECK(saved(*b.apic[0]) != bytes);
}

TEST_CASE("a damaged local APIC state is refused and leaves nothing illegal") {
  ApicBoard a;
  auto bytes = saved(*a.apic[0]);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto broken = bytes;
    broken[i] ^= 0xFF;
    ApicBoard b;
    restored(*b.apic[0], broken);  // may be accepted or refused; it must stay sane
    b.clock.advance(1'000'000);
    b.apic[0]->acknowledge();
    CHECK((!b.apic[0]->x2apic() || b.apic[0]->enabled()));
    CHECK((b.read(0x200) & 0xFFFF) == (b.apic[0]->mmio_page() ? 0 : 0xFFFF));
  }
}
