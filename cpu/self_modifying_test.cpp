// Decoded instructions are a cache that nobody can see: whoever writes to code, the next execution sees the new bytes.
#include <doctest/doctest.h>

#include <vector>

#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::TestMachine;

namespace {
constexpr u64 kCode = TestMachine::kCode;
constexpr u8 kIncEax = 0x40, kDecEax = 0x48, kNop = 0x90;
}  // namespace

TEST_CASE("a store to the next instruction takes effect at once, in the same block") {
  TestMachine m;
  m.protected32();
  m.code({0xC6, 0x05, 0x07, 0x80, 0x00, 0x00, kDecEax, kIncEax});  // mov byte [0x8007], dec; inc eax
  m.run(2);
  CHECK(static_cast<u32>(m.cpu.s.gpr[RAX]) == 0xFFFFFFFF);
}

TEST_CASE("a loop that rewrites itself on each turn executes what it wrote") {
  TestMachine m;
  m.protected32();
  // 8000: xor byte [0x8007], 8 (inc <-> dec); 8007: inc eax; 8008: jmp 8000
  m.code({0x80, 0x35, 0x07, 0x80, 0x00, 0x00, 0x08, kIncEax, 0xEB, 0xF6});
  m.run(3 * 5);
  CHECK(static_cast<u32>(m.cpu.s.gpr[RAX]) == 0xFFFFFFFF);  // dec inc dec inc dec
}

TEST_CASE("an instruction that overwrites itself is finished as it was, and is new the next time") {
  TestMachine m;
  m.protected32();
  m.code({0xC6, 0x05, 0x00, 0x80, 0x00, 0x00, kNop});  // mov byte [0x8000], nop: its own first byte
  m.run(1);
  CHECK(m.cpu.s.rip == kCode + 7);
  m.cpu.s.rip = kCode;
  m.run(1);
  CHECK(m.cpu.s.rip == kCode + 1);
}

TEST_CASE("code is found changed after DMA and after a write through the bus") {
  TestMachine m;
  m.protected32();
  m.run({kIncEax});
  const u8 dec = kDecEax;
  m.ram_map.PhysicalMap::write(kCode, {&dec, 1});  // DMA
  m.cpu.s.rip = kCode;
  m.run(1);
  CHECK(static_cast<u32>(m.cpu.s.gpr[RAX]) == 0);
}

TEST_CASE("code is found changed after a write through another mapping of its page") {
  TestMachine m;
  m.long64();
  // A 4 KiB alias of the code's page at 0x40000000: split that 2 MiB page.
  constexpr u64 kAlias = 0x4000'0000, kTable = 0x18'0000;
  m.write<u64>(kTable, kCode | 7);
  m.write<u64>(TestMachine::kTables + 0x3000, kTable | 7);
  m.cpu.s.gpr[RBX] = kAlias;
  m.code({0xFF, 0xC0, 0xC6, 0x43, 0x01, 0xC8});  // inc eax; mov byte [rbx + 1], 0xc8: inc eax becomes dec eax
  m.run(2);
  m.cpu.s.rip = kCode;
  m.run(1);
  CHECK(static_cast<u32>(m.cpu.s.gpr[RAX]) == 0);
}

TEST_CASE("code is found changed when the page walk sets an accessed bit in it") {
  TestMachine m;
  m.long64();
  // The page table of the alias is the page of the code: entry 1 is at kCode + 8.
  constexpr u64 kAlias = 0x4000'0000;
  m.write<u64>(TestMachine::kTables + 0x3000, kCode | 7);
  // At kCode + 8: 07 20 00 00 ..: not an instruction that we run. mov eax, imm32 at kCode + 0x10 has entry 2 as its bytes:
  // B8 00 10 00 00 would not be present; so the entry is B9 (P, D, ...) = mov ecx, imm32 without the accessed bit (0x20).
  m.write<u64>(kCode + 0x10, 0x0000'0000'0000'1199 & ~u64{0x20});  // 99 = cdq, present, not accessed, not dirty
  m.write<u64>(kCode + 0x10, (m.read<u64>(kCode + 0x10) & ~u64{0xFF}) | 0x57);  // 57 = push rdi; A is 0x20: becomes 77 = ja
  m.cpu.s.rip = kCode + 0x10;
  m.cpu.s.gpr[RSP] = TestMachine::kStack0;
  m.run(1);
  CHECK(m.cpu.s.gpr[RSP] == TestMachine::kStack0 - 8);  // it was push rdi
  m.cpu.load_linear<u8>(kAlias + 0x2000, true);         // the walk sets the accessed bit in entry 2
  CHECK(m.read<u8>(kCode + 0x10) == 0x77);
  m.cpu.s.flags.set_arithmetic(0);  // ja is taken
  m.cpu.s.rip = kCode + 0x10;
  m.run(1);
  CHECK(m.cpu.s.rip == kCode + 0x12 + 0x11);
}

TEST_CASE("an instruction across two pages sees a change of its second half") {
  TestMachine m;
  m.protected32();
  m.cpu.s.rip = kCode + 0xFFE;
  m.code({0xB8, 1, 2, 3, 4});  // mov eax, imm32 over the page's end
  m.run(1);
  CHECK(m.cpu.s.gpr[RAX] == 0x04030201);
  m.write<u8>(kCode + 0x1001, 9);
  m.cpu.s.rip = kCode + 0xFFE;
  m.run(1);
  CHECK(m.cpu.s.gpr[RAX] == 0x04090201);
}

TEST_CASE("an instruction across two pages is the one that is there each time, whichever part was changed, and however long it is") {
  TestMachine m;
  m.protected32();
  constexpr u64 kLast = kCode + 0xFFE;  // two bytes are in the first page
  struct {
    std::vector<u8> code;
    u64 eax, ecx, length;
  } const kSteps[] = {
      {{0xB8, 0x11, 0x22, 0x33, 0x44}, 0x44332211, 0, 5},             // mov eax, imm32
      {{0xB8, 0x11, 0x22, 0x33, 0x55}, 0x55332211, 0, 5},             // another second part
      {{0xB9, 0x11, 0x22, 0x33, 0x55}, 0x55332211, 0x55332211, 5},    // another first part: mov ecx
      {{0x66, 0xB9, 0x22, 0x33, 0x55}, 0x55332211, 0x55333322, 4},    // mov cx, imm16
      {{0xB0, 0x77, 0x22, 0x33, 0x55}, 0x55332277, 0x55333322, 2},    // mov al, imm8: in one page
      {{0xB8, 0x11, 0x22, 0x33, 0x44}, 0x44332211, 0x55333322, 5},
  };
  for (const auto& step : kSteps) {
    for (unsigned times = 0; times < 2; times++) {
      for (std::size_t n = 0; n < step.code.size(); n++) m.write<u8>(kLast + n, step.code[n]);
      m.cpu.s.rip = kLast;
      m.run(1);
      CHECK(static_cast<u32>(m.cpu.s.gpr[RAX]) == step.eax);
      CHECK(static_cast<u32>(m.cpu.s.gpr[RCX]) == step.ecx);
      CHECK(m.cpu.s.rip == kLast + step.length);
    }
  }
}

TEST_CASE("the same bytes are other instructions under another code size") {
  TestMachine m;
  m.protected32();
  m.code({kIncEax, kNop});
  m.run(2);
  CHECK(m.cpu.s.gpr[RAX] == 1);
  m.long64();  // 40 is a REX prefix now: one instruction of two bytes
  m.cpu.s.rip = kCode;
  m.run(1);
  CHECK(m.cpu.s.rip == kCode + 2);
  CHECK(m.cpu.s.gpr[RAX] == 1);
}

TEST_CASE("code is found changed after a REP wrote over it, over the REP itself, too") {
  TestMachine m;
  m.protected32();
  m.code({0xF3, 0xAA, kIncEax, kIncEax, kIncEax});  // rep stosb; inc eax; inc eax; inc eax
  m.run(2);
  CHECK(m.cpu.s.gpr[RAX] == 1);  // rCX is 0 at first: nothing stored
  m.cpu.s.gpr[RAX] = kDecEax;
  m.cpu.s.gpr[RCX] = 3;
  m.cpu.s.gpr[RDI] = kCode + 2;
  m.cpu.s.rip = kCode;
  m.run(4);
  CHECK(m.cpu.s.gpr[RAX] == kDecEax - 3);
  m.cpu.s.gpr[RAX] = kNop;
  m.cpu.s.gpr[RCX] = 0x1800;  // to the end of the page, and on: the first step overwrites the instruction
  m.cpu.s.gpr[RDI] = kCode;
  m.cpu.s.rip = kCode;
  m.run(1);
  CHECK(m.cpu.s.rip == kCode);
  CHECK(m.cpu.s.gpr[RCX] == 0x800);
  m.run(1);
  CHECK(m.cpu.s.rip == kCode + 1);  // a NOP now
  CHECK(m.cpu.s.gpr[RCX] == 0x800);
}

TEST_CASE("an address shows other code when its page is mapped elsewhere, after MOV CR3 or INVLPG") {
  TestMachine m;
  m.long64();
  constexpr u64 kAlias = 0x4000'0000, kTable = 0x18'0000, kOther = 0x19'0000;
  m.write<u64>(kTable, kCode | 7);
  m.write<u64>(TestMachine::kTables + 0x3000, kTable | 7);
  m.write<u16>(kCode, 0xC0FF);   // inc eax
  m.write<u16>(kOther, 0xC8FF);  // dec eax
  m.cpu.s.rip = kAlias;
  m.run(1);
  CHECK(m.cpu.s.gpr[RAX] == 1);
  m.write<u64>(kTable, kOther | 7);
  m.cpu.s.gpr[RBX] = kAlias;
  m.cpu.s.rip = kCode + 0x100;
  m.run({0x0F, 0x01, 0x3B});  // invlpg [rbx]
  m.cpu.s.rip = kAlias;
  m.run(1);
  CHECK(m.cpu.s.gpr[RAX] == 0);
  m.write<u64>(kTable, kCode | 7);
  m.cpu.s.gpr[RBX] = TestMachine::kTables;
  m.cpu.s.rip = kCode + 0x100;
  m.run({0x0F, 0x22, 0xDB});  // mov cr3, rbx
  m.cpu.s.rip = kAlias;
  m.run(1);
  CHECK(m.cpu.s.gpr[RAX] == 1);
}
