// From one mode to another as programs do it, instruction by instruction: what a transition changes, and what it must
// leave alone (the hidden parts of segment registers above all). Refs: SDM 3A 9.8.5, 9.9 and 9.10.
#include <doctest/doctest.h>

#include "cpu/model.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using test::descriptor;
using M = test::TestMachine;

namespace {

/// Real-address mode with a GDTR that serves for the way on, and 4 KiB tables for long mode.
void prepare_real(M& m) {
  m.long64();  // writes page tables
  m.cpu.s.cr4 = 0;
  m.cpu.s.cr3 = 0;
  m.cpu.s.msr.efer = 0;
  m.real();
}

/// Executes `bytes` at CS:RIP as one instruction; they must not fault.
void step(M& m, std::initializer_list<u8> bytes) {
  const u64 faults = m.cpu.faults_delivered();
  m.run(bytes);
  CHECK_MESSAGE(m.cpu.faults_delivered() == faults, m.last_fault(), ": ", m.last_reason());
}

void mov_cr0(M& m, u64 value) {
  m.cpu.s.gpr[RAX] = value;
  step(m, {0x0F, 0x22, 0xC0});
}

}  // namespace

TEST_CASE("from real mode to long mode and back, by way of every mode between") {
  M m;
  prepare_real(m);
  // PE: still 16-bit code by the old CS, at the same place.
  mov_cr0(m, kCr0Pe | kCr0Et | kCr0Ne);
  CHECK(m.cpu.code_size() == CodeSize::Bits16);
  CHECK(m.cpu.s.rip == M::kCode + 3);
  step(m, {0x66, 0xB8, 1, 2, 3, 4});  // mov eax, imm32, with the prefix that 16-bit code needs
  CHECK(m.cpu.s.gpr[RAX] == 0x04030201);
  // 16-bit protected mode.
  step(m, {0xEA, 0x00, 0x81, M::kCode16, 0});
  CHECK(m.cpu.s.seg[CS].selector == M::kCode16);
  CHECK(m.cpu.code_size() == CodeSize::Bits16);
  m.cpu.s.gpr[RBX] = M::kData0;
  step(m, {0x8E, 0xDB});
  step(m, {0x8E, 0xD3});
  CHECK(m.cpu.stack_size() == 4);  // 16-bit code on a 32-bit stack
  // 32-bit code.
  step(m, {0xEA, 0x00, 0x82, M::kCode0, 0});
  CHECK(m.cpu.code_size() == CodeSize::Bits32);
  CHECK(m.cpu.s.rip == 0x8200);
  // Compatibility mode: PAE, CR3, LME, PG.
  m.cpu.s.gpr[RAX] = kCr4Pae;
  step(m, {0x0F, 0x22, 0xE0});
  m.cpu.s.gpr[RAX] = M::kTables;
  step(m, {0x0F, 0x22, 0xD8});
  m.cpu.s.gpr[RCX] = 0xC0000080;
  m.cpu.s.gpr[RAX] = kEferLme;
  m.cpu.s.gpr[RDX] = 0;
  step(m, {0x0F, 0x30});
  CHECK(!m.cpu.long_mode());
  mov_cr0(m, kCr0Pg | kCr0Pe | kCr0Et | kCr0Ne);
  CHECK(m.cpu.long_mode());
  CHECK((m.cpu.s.msr.efer & kEferLma) != 0);
  CHECK(!m.cpu.bits64());
  CHECK(m.cpu.code_size() == CodeSize::Bits32);
  step(m, {0x40});  // inc eax: no REX prefix yet
  CHECK(m.cpu.s.gpr[RAX] == (kCr0Pg | kCr0Pe | kCr0Et | kCr0Ne) + 1);
  // 64-bit mode.
  step(m, {0xEA, 0x00, 0x84, 0, 0, M::kCode64, 0});
  CHECK(m.cpu.bits64());
  step(m, {0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8});  // mov rax, imm64
  CHECK(m.cpu.s.gpr[RAX] == 0x0807060504030201);
  // And back: compatibility mode by a far return, paging off ends long mode.
  m.cpu.s.gpr[RSP] = M::kStack0;
  m.push(M::kCode0, 8);
  m.push(0x8500, 8);
  step(m, {0x48, 0xCB});
  CHECK(!m.cpu.bits64());
  CHECK(m.cpu.long_mode());
  CHECK(m.cpu.s.rip == 0x8500);
  mov_cr0(m, kCr0Pe | kCr0Et | kCr0Ne);
  CHECK(!m.cpu.long_mode());
  CHECK((m.cpu.s.msr.efer & kEferLma) == 0);
  CHECK((m.cpu.s.msr.efer & kEferLme) != 0);
  step(m, {0xEA, 0x00, 0x86, 0, 0, M::kCode16, 0});
  CHECK(m.cpu.code_size() == CodeSize::Bits16);
  m.cpu.s.gpr[RBX] = M::kData16;
  for (const u8 modrm : {0xDB, 0xC3, 0xD3}) step(m, {0x8E, modrm});  // DS, ES, SS
  mov_cr0(m, kCr0Et);
  CHECK(!m.cpu.protected_mode());
  CHECK(m.cpu.s.rip == 0x8603 + 6);
  step(m, {0xEA, 0x00, 0x00, 0x70, 0x08});
  CHECK(m.cpu.s.seg[CS].base == 0x8700);
  CHECK(m.cpu.s.rip == 0);
  step(m, {0xB8, 0x34, 0x12});
  CHECK(static_cast<u16>(m.cpu.s.gpr[RAX]) == 0x1234);
}

TEST_CASE("setting PE changes no segment register, and CPL is 0 whatever CS holds") {
  M m;
  prepare_real(m);
  m.cpu.s.seg[CS].selector = 0x0103;  // its low bits look like ring 3
  m.cpu.s.seg[CS].base = 0x1030;
  m.cpu.s.rip = M::kCode - 0x1030;
  m.cpu.refresh();
  m.cpu.load_segment_real(DS, 0x4321);
  mov_cr0(m, kCr0Pe | kCr0Et);
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.s.seg[CS].base == 0x1030);
  CHECK(m.cpu.s.seg[DS].base == 0x43210);
  CHECK(m.cpu.s.seg[DS].selector == 0x4321);
  m.write<u8>(0x43210 + 0x10, 0x5A);
  step(m, {0xA0, 0x10, 0x00});  // mov al, [0x10]: by the old base
  CHECK(static_cast<u8>(m.cpu.s.gpr[RAX]) == 0x5A);
}

TEST_CASE("clearing PE keeps the hidden parts: limits, D/B and bases stay until the registers are loaded") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, descriptor(0x123450, 0xFFFFF, 0x93, 12));
  m.set_segment(FS, M::kFree);
  mov_cr0(m, kCr0Et);
  CHECK(!m.cpu.protected_mode());
  CHECK(m.cpu.code_size() == CodeSize::Bits32);  // until CS is loaded, and even then: CS.D is not reset
  CHECK(m.cpu.stack_size() == 4);
  m.write<u8>(0x123450 + 0x20000, 0x77);
  step(m, {0x64, 0xA0, 0x00, 0x00, 0x02, 0x00});  // mov al, fs:[0x20000]
  CHECK(static_cast<u8>(m.cpu.s.gpr[RAX]) == 0x77);
  m.cpu.s.gpr[RBX] = 0x2000;
  step(m, {0x8E, 0xE3});  // mov fs, bx
  CHECK(m.cpu.s.seg[FS].base == 0x20000);
  CHECK(m.cpu.s.seg[FS].limit == 0xFFFFFFFF);
}

TEST_CASE("unreal mode: a real-mode program reaches 4 GiB through a limit loaded in protected mode") {
  M m;
  prepare_real(m);
  m.write<u8>(0x200000, 0x99);
  m.cpu.s.gpr[RBX] = 0x200000;
  m.run({0x67, 0x8A, 0x03});  // mov al, [ebx]
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.handling() == 13);
  m.real();
  mov_cr0(m, kCr0Pe | kCr0Et);
  m.cpu.s.gpr[RAX] = M::kData0;
  step(m, {0x8E, 0xD8});
  mov_cr0(m, kCr0Et);
  m.cpu.s.gpr[RBX] = 0x200000;
  step(m, {0x67, 0x8A, 0x03});
  CHECK(static_cast<u8>(m.cpu.s.gpr[RAX]) == 0x99);
  m.cpu.s.gpr[RAX] = 0x1000;
  step(m, {0x8E, 0xD8});  // a new base, the same limit
  CHECK(m.cpu.s.seg[DS].base == 0x10000);
  m.cpu.s.gpr[RBX] = 0x1F0000;
  step(m, {0x67, 0x8A, 0x03});
  CHECK(static_cast<u8>(m.cpu.s.gpr[RAX]) == 0x99);
  step(m, {0x8E, 0xC0});  // ES was never loaded in protected mode: 64 KiB
  m.run({0x26, 0x67, 0x8A, 0x03});
  CHECK(m.last_fault() == "#GP(0x0)");
}

TEST_CASE("big real mode: code beyond 64 KiB runs by a CS limit loaded in protected mode") {
  M m;
  m.protected32(0);
  mov_cr0(m, kCr0Et);
  m.cpu.s.gpr[RBX] = 0x18000;
  step(m, {0xFF, 0xE3});  // jmp ebx: 32-bit code in real mode
  CHECK(m.cpu.s.rip == 0x18000);
  step(m, {0xB8, 1, 2, 3, 4});
  CHECK(m.cpu.s.gpr[RAX] == 0x04030201);
}

TEST_CASE("virtual-8086 mode forces 64 KiB limits, and protected mode's are loaded again after it") {
  M m;
  m.protected32(0);
  m.push(M::kStack0 >> 4, 4);  // GS, FS, DS, ES, SS: any
  for (unsigned n = 0; n < 3; n++) m.push(0x1000, 4);
  m.push(0x3000, 4);
  m.push(0x8000, 4);
  m.push(kVM | 2, 4);
  m.push(M::kCode >> 4, 4);
  m.push(0, 4);
  step(m, {0xCF});
  CHECK(m.cpu.v86());
  for (unsigned n = 0; n < kSegCount; n++) CHECK(m.cpu.s.seg[n].limit == 0xFFFF);
  m.cpu.s.gpr[RBX] = 0x10000;
  m.run({0x67, 0x8A, 0x03});  // mov al, [ebx], no unreal mode here
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(!m.cpu.v86());
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.s.seg[SS].limit == 0xFFFFFFFF);
  CHECK(m.cpu.s.seg[DS].unusable());
}

TEST_CASE("the A20 gate decides where FFFF:0010 is, for data, the stack and code") {
  M m;
  prepare_real(m);
  m.write<u8>(0x100000, 0x11);
  m.write<u8>(0, 0x22);
  m.cpu.load_segment_real(DS, 0xFFFF);
  step(m, {0xA0, 0x10, 0x00});
  CHECK(static_cast<u8>(m.cpu.s.gpr[RAX]) == 0x11);
  m.ram_map.set_a20(false);
  step(m, {0xA0, 0x10, 0x00});
  CHECK(static_cast<u8>(m.cpu.s.gpr[RAX]) == 0x22);
  m.cpu.load_segment_real(SS, 0xFFFF);
  m.cpu.s.gpr[RSP] = 0x6012;
  m.cpu.s.gpr[RBX] = 0xABCD;
  step(m, {0x53});
  CHECK(m.read<u16>(0x6000) == 0xABCD);
  // Code: FFFF:8010 is 0000:8000 too.
  m.write<u8>(0x108000, 0xF4);
  m.write<u16>(0x8000, 0xB0 | 0x33 << 8);
  m.cpu.load_segment_real(CS, 0xFFFF);
  m.cpu.s.rip = 0x8010;
  m.cpu.refresh();
  m.run(1);
  CHECK(static_cast<u8>(m.cpu.s.gpr[RAX]) == 0x33);
  m.ram_map.set_a20(true);
}

TEST_CASE("the state after reset is the manual's") {  // SDM 3A, Table 9-1
  M m;
  m.long64(3);
  m.cpu.reset();
  const CpuState& s = m.cpu.s;
  CHECK(s.flags.value() == 2);
  CHECK(s.rip == 0xFFF0);
  CHECK(s.cr0 == 0x60000010);
  CHECK((s.cr2 | s.cr3 | s.cr4 | s.msr.efer) == 0);
  CHECK(s.seg[CS].selector == 0xF000);
  CHECK(s.seg[CS].base == 0xFFFF0000);
  CHECK(s.seg[CS].limit == 0xFFFF);
  CHECK(s.seg[CS].is_code());
  for (const SegReg seg : {DS, ES, SS, FS, GS}) {
    CHECK(s.seg[seg].selector == 0);
    CHECK(s.seg[seg].base == 0);
    CHECK(s.seg[seg].limit == 0xFFFF);
    CHECK((s.seg[seg].rights & 0xFF) == 0x93);
  }
  CHECK(s.gdtr.base == 0);
  CHECK(s.gdtr.limit == 0xFFFF);
  CHECK(s.idtr.base == 0);
  CHECK(s.idtr.limit == 0xFFFF);
  CHECK(s.ldtr.limit == 0xFFFF);
  CHECK(s.tr.limit == 0xFFFF);
  CHECK(s.gpr[RDX] == kCpuidSignature);
  for (const unsigned reg : {RAX, RBX, RCX, RSI, RDI, RBP, RSP, R8, R15}) CHECK(s.gpr[reg] == 0);
  CHECK(s.dr6 == 0xFFFF0FF0);
  CHECK(s.dr7 == 0x400);
  CHECK(s.x87.control == 0x40);
  CHECK(s.mxcsr == 0x1F80);
  CHECK(s.cpl == 0);
  CHECK(m.cpu.code_size() == CodeSize::Bits16);
  // The first instruction comes from FFFFFFF0, 16 bytes below 4 GiB, until CS is loaded.
  CHECK(code_linear(m.cpu, s.rip) == 0xFFFFFFF0);
}
