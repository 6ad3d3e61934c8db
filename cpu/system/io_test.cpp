// Port I/O: IOPL, the permission bitmap and its end, virtual-8086 mode, sizes.
#include <doctest/doctest.h>

#include "cpu/system/io.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using test::TestMachine;

namespace {

bool allowed(TestMachine& m, u16 port, unsigned size) {
  try {
    check_io_permission(m.cpu, port, size);
    return true;
  } catch (const Fault& f) {
    CHECK(f.vector == Vector::GP);
    CHECK(f.error_code == 0);
    return false;
  }
}

/// Ring 3 with a bitmap at 0x80 of the TSS that ends in `limit`, all ports denied.
void with_bitmap(TestMachine& m, u32 limit = 0xFFF) {
  m.protected32(3);
  m.cpu.s.tr.limit = limit;
  m.write<u16>(TestMachine::kTss + 0x66, 0x80);
  for (u64 n = 0; n < 0x800; n++) m.write<u8>(TestMachine::kTss + 0x80 + n, 0xFF);
}
void permit(TestMachine& m, u16 port) {
  const u64 at = TestMachine::kTss + 0x80 + port / 8;
  m.write<u8>(at, static_cast<u8>(m.read<u8>(at) & ~(1u << (port & 7))));
}

}  // namespace

TEST_CASE("ports are free while CPL <= IOPL, and in real mode") {
  TestMachine m;
  m.real();
  CHECK(allowed(m, 0x60, 1));
  with_bitmap(m);
  CHECK_FALSE(allowed(m, 0x60, 1));
  m.cpu.s.flags.assign(kIOPL, true);
  CHECK(allowed(m, 0x60, 1));
}

TEST_CASE("the permission bitmap has a bit for each port of the access") {
  TestMachine m;
  with_bitmap(m);
  permit(m, 0x3F8);
  CHECK(allowed(m, 0x3F8, 1));
  CHECK_FALSE(allowed(m, 0x3F9, 1));
  CHECK_FALSE(allowed(m, 0x3F8, 2));
  for (u16 port = 0x3F6; port < 0x3FA; port++) permit(m, port);
  CHECK(allowed(m, 0x3F6, 4));  // over the end of a byte
  CHECK_FALSE(allowed(m, 0x3F7, 4));
}

TEST_CASE("REP INS and REP OUTS ask for the port even when nothing is to be moved") {
  // Seen on a processor: #GP(0) with RCX = 0.
  for (const u8 opcode : {0x6C, 0x6D, 0x6E, 0x6F}) {
    TestMachine m;
    with_bitmap(m);
    m.cpu.s.gpr[RCX] = 0;
    m.cpu.s.gpr[RDX] = 0x60;
    m.run({0xF3, opcode});
    CHECK(m.last_fault() == "#GP(0x0)");
  }
}

TEST_CASE("a port beyond the TSS's limit is denied, and so is one whose second byte lies there") {
  TestMachine m;
  with_bitmap(m, 0x80 + 0x10);
  permit(m, 0x78);
  permit(m, 0x80);
  CHECK(allowed(m, 0x78, 1));
  CHECK_FALSE(allowed(m, 0x80, 1));
  CHECK_FALSE(allowed(m, 0xFFFF, 1));
}

TEST_CASE("a 16-bit TSS or a short one has no bitmap") {
  TestMachine m;
  with_bitmap(m, 0x66);
  CHECK_FALSE(allowed(m, 0, 1));
  with_bitmap(m);
  permit(m, 0);
  CHECK(allowed(m, 0, 1));
  m.cpu.s.tr.rights = (m.cpu.s.tr.rights & ~15u) | 3;
  CHECK_FALSE(allowed(m, 0, 1));
}

TEST_CASE("virtual-8086 mode looks at the bitmap whatever IOPL is") {
  TestMachine m;
  m.v86(3);
  m.cpu.s.tr.limit = 0xFFF;
  m.write<u16>(TestMachine::kTss + 0x66, 0x80);
  for (u64 n = 0; n < 0x40; n++) m.write<u8>(TestMachine::kTss + 0x80 + n, 0xFF);
  CHECK_FALSE(allowed(m, 0x60, 1));
  permit(m, 0x60);
  CHECK(allowed(m, 0x60, 1));
}

TEST_CASE("IN and OUT move AL, AX or EAX by opcode, prefix and immediate") {
  TestMachine m;
  m.long64();
  m.platform.io_value = 0xDDCCBBAA;
  m.cpu.s.gpr[RAX] = 0x1122334455667788;
  m.cpu.s.gpr[RDX] = 0xFFFF1234;
  m.run({0xE4, 0xFE});
  CHECK(m.platform.last_port == 0xFE);
  CHECK(m.cpu.s.gpr[RAX] == 0x11223344556677AA);
  m.run({0x66, 0xED});
  CHECK(m.platform.last_port == 0x1234);
  CHECK(m.cpu.s.gpr[RAX] == 0x112233445566BBAA);
  m.run({0x48, 0xED});  // REX.W changes nothing: 32 bits
  CHECK(m.cpu.s.gpr[RAX] == 0xDDCCBBAA);
  m.cpu.s.gpr[RAX] = 0x1122334455667788;
  m.run({0xEF});
  CHECK(m.platform.io_value == 0x55667788);
  CHECK(m.platform.last_size == 4);
  m.run({0xE6, 0x80});
  CHECK(m.platform.io_value == 0x88);
  CHECK(m.platform.last_size == 1);
}
