// The x87's exceptions as the processor sees them (#MF, FERR#, #NM), and the environment's four layouts.
#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"
#include "cpu/x87/state.h"

using namespace callgate;
using test::TestMachine;

namespace {
constexpr u64 kCode = TestMachine::kCode;
constexpr u64 kData = 0x50000;

/// An unmasked division by zero waits.
void with_pending(TestMachine& m) {
  m.cpu.s.x87 = X87State{};
  m.cpu.s.x87.control = 0x37B;
  m.cpu.s.x87.status = 4;
  m.cpu.s.gpr[RBX] = kData;
}
}  // namespace

TEST_CASE("x87: an unmasked exception is reported by the next waiting instruction, not by its own") {
  TestMachine m;
  m.long64();
  m.cpu.s.x87 = X87State{};
  m.cpu.s.x87.control = 0x37B;
  m.run({0xD9, 0xE8});  // fld1
  m.run({0xD9, 0xEE});  // fldz
  const X87State before = m.cpu.s.x87;
  m.run({0xDE, 0xF9});  // fdivp st(1), st
  CHECK(m.cpu.s.rip == kCode + 6);
  CHECK(m.cpu.s.x87.top == before.top);  // not popped
  CHECK(x87_status_word(m.cpu.s.x87) == (u16{before.top} << 11 | 0x8084));
  m.run({0xDF, 0xE0});  // fnstsw ax does not wait
  CHECK(m.cpu.gpr<u16>(RAX) == x87_status_word(m.cpu.s.x87));
  m.run({0x9B});
  CHECK(m.last_fault() == "#MF");
  CHECK(m.stack(0, 8) == kCode + 8);
}

TEST_CASE("x87: the instructions without a wait pass a pending exception, the others raise #MF") {
  TestMachine m;
  const auto raises = [&](std::initializer_list<u8> bytes) {
    m.long64();
    with_pending(m);
    m.run(bytes);
    return m.handling() == 16;
  };
  CHECK_FALSE(raises({0xDB, 0xE3}));  // fninit
  CHECK_FALSE(raises({0xDB, 0xE2}));  // fnclex
  CHECK_FALSE(raises({0xD9, 0x3B}));  // fnstcw
  CHECK_FALSE(raises({0xDD, 0x3B}));  // fnstsw
  CHECK_FALSE(raises({0xD9, 0x33}));  // fnstenv
  CHECK_FALSE(raises({0xDD, 0x33}));  // fnsave
  CHECK(raises({0xD9, 0x2B}));        // fldcw
  CHECK(raises({0xD9, 0x23}));        // fldenv
  CHECK(raises({0xDD, 0x23}));        // frstor
  CHECK(raises({0xD9, 0xD0}));        // fnop
  CHECK(raises({0xD9, 0xF7}));        // fincstp
  CHECK(raises({0xDD, 0xC0}));        // ffree
  CHECK(raises({0xD9, 0xE5}));        // fxam
}

TEST_CASE("x87: FLDCW that unmasks an old exception makes it pending") {
  TestMachine m;
  m.long64();
  m.cpu.s.x87 = X87State{};
  m.cpu.s.x87.status = 4;
  m.cpu.s.gpr[RBX] = kData;
  m.write<u16>(kData, 0x37B);
  m.run({0xD9, 0x2B});
  CHECK((x87_status_word(m.cpu.s.x87) & kX87Summary) != 0);
  m.run({0x9B});
  CHECK(m.handling() == 16);
}

TEST_CASE("x87: with CR0.NE clear, FERR# goes up with the exception and down when it is cleared") {
  TestMachine m;
  m.long64();
  m.cpu.s.cr0 &= ~u64{kCr0Ne};
  m.cpu.s.x87 = X87State{};
  m.cpu.s.x87.control = 0x37E;
  m.run({0xD9, 0xFA});  // fsqrt of an empty register: #IS
  CHECK(m.platform.ferr);
  m.run({0x9B});
  CHECK(m.handling() == -1);
  m.run({0xDB, 0xE2});
  CHECK_FALSE(m.platform.ferr);
  CHECK(m.cpu.s.x87.status == 0);
}

TEST_CASE("x87: EM and TS raise #NM; WAIT only for MP with TS") {
  TestMachine m;
  const auto raises = [&](u64 cr0, std::initializer_list<u8> bytes) {
    m.long64();
    m.cpu.s.cr0 |= cr0;
    m.run(bytes);
    return m.handling() == 7;
  };
  CHECK(raises(kCr0Em, {0xD9, 0xD0}));
  CHECK(raises(kCr0Ts, {0xD9, 0xD0}));
  CHECK(raises(kCr0Ts, {0xDB, 0xE3}));
  CHECK_FALSE(raises(kCr0Em, {0x9B}));
  CHECK_FALSE(raises(kCr0Ts, {0x9B}));
  CHECK_FALSE(raises(kCr0Mp, {0x9B}));
  CHECK(raises(kCr0Ts | kCr0Mp, {0x9B}));
}

TEST_CASE("x87: a store that faults changes nothing") {
  TestMachine m;
  m.long64();
  m.cpu.s.x87 = X87State{};
  m.run({0xD9, 0xEB});  // fldpi
  const X87State before = m.cpu.s.x87;
  m.cpu.s.gpr[RBX] = u64{1} << 47;
  m.run({0xD9, 0x1B});  // fstp dword [rbx]: inexact, popped, not canonical
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.cpu.s.x87.status == before.status);
  CHECK(m.cpu.s.x87.top == before.top);
  CHECK(m.cpu.s.x87.instruction_pointer == before.instruction_pointer);
}

TEST_CASE("x87: the environment in 16- and 32-bit fields, protected and real") {
  TestMachine m;
  const auto prepare = [&] {
    X87State& x = m.cpu.s.x87;
    x = X87State{};
    x.control = 0x37E;
    x.status = kX87C0;
    x.top = 5;
    x.empty = 0x1F;
    x.opcode = 0x5A5;
    x.instruction_pointer = 0x12345678;
    x.data_pointer = 0x9ABCDEF0;
    m.cpu.s.gpr[RBX] = 0x5000;
    for (u64 n = 0; n < 32; n++) m.write<u8>(0x5000 + n, 0xEE);
  };
  constexpr u16 kStatus = kX87C0 | 5 << 11;
  SUBCASE("32-bit protected") {
    m.protected32();
    prepare();
    m.run({0xD9, 0x33});
    const u32 expected[7] = {0xFFFF037E, 0xFFFF0000 | kStatus, 0xFFFF57FF, 0x12345678,
                             0x05A50000, 0x9ABCDEF0,           0xFFFF0000};
    for (unsigned n = 0; n < 7; n++) CHECK(m.read<u32>(0x5000 + 4 * n) == expected[n]);
    CHECK(m.read<u8>(0x501C) == 0xEE);
    CHECK(m.cpu.s.x87.control == 0x37F);  // all masked now
  }
  SUBCASE("16-bit protected") {
    m.protected32();
    prepare();
    m.run({0x66, 0xD9, 0x33});
    const u16 expected[7] = {0x037E, kStatus, 0x57FF, 0x5678, 0, 0xDEF0, 0};
    for (unsigned n = 0; n < 7; n++) CHECK(m.read<u16>(0x5000 + 2 * n) == expected[n]);
    CHECK(m.read<u8>(0x500E) == 0xEE);
    m.run({0x66, 0xD9, 0x23});  // fldenv [ebx]
    CHECK(m.cpu.s.x87.instruction_pointer == 0x5678);
    CHECK(m.cpu.s.x87.opcode == 0);  // as on a processor
  }
  SUBCASE("16-bit real") {
    m.real();
    prepare();
    m.run({0xD9, 0x37});  // fnstenv [bx]
    const u16 expected[7] = {0x037E, kStatus, 0x57FF, 0x5678, 0x45A5, 0xDEF0, 0xC000};
    for (unsigned n = 0; n < 7; n++) CHECK(m.read<u16>(0x5000 + 2 * n) == expected[n]);
    m.cpu.s.x87 = X87State{};
    m.run({0xD9, 0x27});  // fldenv [bx]
    CHECK(m.cpu.s.x87.instruction_pointer == 0x45678);
    CHECK(m.cpu.s.x87.data_pointer == 0xCDEF0);
    CHECK(m.cpu.s.x87.opcode == 0x5A5);
    CHECK(m.cpu.s.x87.top == 5);
    CHECK(m.cpu.s.x87.empty == 0x1F);
  }
  SUBCASE("32-bit real") {
    m.real();
    prepare();
    m.run({0x66, 0xD9, 0x37});
    const u32 expected[7] = {0xFFFF037E, 0xFFFF0000 | kStatus, 0xFFFF57FF, 0xFFFF5678,
                             0x012345A5, 0xFFFFDEF0,           0x09ABC000};
    for (unsigned n = 0; n < 7; n++) CHECK(m.read<u32>(0x5000 + 4 * n) == expected[n]);
    m.cpu.s.x87 = X87State{};
    m.run({0x66, 0xD9, 0x27});
    CHECK(m.cpu.s.x87.instruction_pointer == 0x12345678);
    CHECK(m.cpu.s.x87.data_pointer == 0x9ABCDEF0);
  }
}
