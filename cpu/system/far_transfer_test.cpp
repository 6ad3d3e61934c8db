#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::descriptor;
using callgate::test::gate;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;

constexpr u8 lo(unsigned v) { return static_cast<u8>(v); }
constexpr u8 hi(unsigned v) { return static_cast<u8>(v >> 8); }

/// JMP (EA) or CALL (9A) to selector:0x9400 in 32-bit code.
void far(M& m, u8 opcode, u16 selector) { m.run({opcode, 0x00, 0x94, 0, 0, lo(selector), hi(selector)}); }
}  // namespace

TEST_CASE("real mode: JMP and CALL far load CS:IP; RETF takes them back") {
  M m;
  m.real();
  m.run({0x9A, 0x34, 0x12, 0x00, 0x20});  // call 2000:1234
  CHECK(m.cpu.s.seg[CS].base == 0x20000);
  CHECK(m.cpu.s.rip == 0x1234);
  CHECK(m.stack(0, 2) == M::kCode + 5);
  CHECK(m.stack(1, 2) == 0);
  m.run({0xCA, 0x04, 0x00});  // retf 4
  CHECK(m.cpu.s.rip == M::kCode + 5);
  CHECK(m.cpu.s.seg[CS].base == 0);
  CHECK(m.cpu.s.gpr[RSP] == 0x7004);
}

TEST_CASE("a direct jump: non-conforming code at CPL, conforming code at CPL or further in") {
  const auto fault = [](u16 selector, unsigned cpl) {
    M m;
    m.protected32(cpl);
    far(m, 0xEA, selector);
    if (m.last_fault() == "none") {
      CHECK(m.cpu.s.rip == 0x9400);
      CHECK(m.cpu.s.seg[CS].selector == ((selector & ~3) | cpl));
      CHECK(m.cpu.cpl() == cpl);
    }
    return m.last_fault();
  };
  CHECK(fault(M::kCode0, 0) == "none");
  CHECK(fault(M::kCode0 | 3, 0) == "#GP(0x8)");  // RPL > CPL
  CHECK(fault(M::kCode3, 0) == "#GP(0x18)");     // DPL > CPL
  CHECK(fault(M::kCode0, 3) == "#GP(0x8)");
  CHECK(fault(M::kCode3 & ~3, 3) == "none");
  CHECK(fault(M::kConforming, 3) == "none");
  CHECK(fault(0, 0) == "#GP(0x0)");
  CHECK(fault(M::kData0, 0) == "#GP(0x10)");
  CHECK(fault(0x104, 0) == "#GP(0x104)");
}

TEST_CASE("a jump to a code segment that isn't present is #NP, beyond its limit #GP(0)") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, descriptor(0, 0xFFFFF, 0x1B, 12));
  far(m, 0xEA, M::kFree);
  CHECK(m.last_fault() == "#NP(0x70)");
  M n;
  n.protected32(0);
  n.set_gdt(M::kFree, descriptor(0, 0x93FF, 0x9B, 4));
  far(n, 0xEA, M::kFree);
  CHECK(n.last_fault() == "#GP(0x0)");
  CHECK(n.cpu.s.seg[CS].selector == M::kCode0);
}

TEST_CASE("a far call pushes nothing when it faults, and the return goes back") {
  M m;
  m.protected32(0);
  far(m, 0x9A, M::kCode0);
  CHECK(m.stack(0, 4) == M::kCode + 7);
  CHECK(m.stack(1, 4) == M::kCode0);
  m.run({0xCB});
  CHECK(m.cpu.s.rip == M::kCode + 7);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0);
  m.run({0x66, 0x9A, 0x00, 0x94, lo(M::kCode0), 0});  // 16-bit operands
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 4);
  CHECK(m.cpu.s.rip == 0x9400);
}

TEST_CASE("a call gate to an inner ring switches the stack and copies the parameters") {
  M m;
  m.protected32(3);
  m.set_gdt(M::kFree, gate(M::kCode0, 0x9500, 0xEC, 3));
  for (u32 n = 0; n < 3; n++) m.push(0x1111 * (n + 1), 4);
  far(m, 0x9A, M::kFree | 3);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.rip == 0x9500);
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.s.seg[CS].selector == M::kCode0);
  CHECK(m.cpu.s.seg[SS].selector == M::kData0);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 28);
  const u64 frame[] = {M::kCode + 7, M::kCode3, 0x3333, 0x2222, 0x1111, M::kStack3 - 12, M::kData3};
  for (unsigned n = 0; n < 7; n++) CHECK(m.stack(n, 4) == frame[n]);

  m.set_segment(ES, M::kData0);
  m.run({0xCA, 12, 0});  // retf 12: releases the parameters from both stacks
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.rip == M::kCode + 7);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack3);
  CHECK(m.cpu.s.seg[SS].selector == M::kData3);
  CHECK(m.cpu.s.seg[ES].selector == 0);  // ring 0's segment became null
  CHECK(m.cpu.s.seg[ES].unusable());
  CHECK(m.cpu.s.seg[DS].selector == M::kData3);
}

TEST_CASE("a 16-bit call gate copies words and cuts the offset") {
  M m;
  m.protected32(3);
  m.set_gdt(M::kFree, gate(M::kCode0, 0xFFFF9500, 0xE4, 2));
  m.push(0x22221111, 4);
  far(m, 0x9A, M::kFree);
  CHECK(m.cpu.s.rip == 0x9500);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 12);
  const u64 frame[] = {M::kCode + 7, M::kCode3, 0x1111, 0x2222, (M::kStack3 - 4) & 0xFFFF, M::kData3};
  for (unsigned n = 0; n < 6; n++) CHECK(m.stack(n, 2) == frame[n]);
}

TEST_CASE("a call gate's checks, in order") {
  const auto fault = [](u64 raw, u16 selector, u8 opcode = 0x9A) {
    M m;
    m.protected32(3);
    m.set_gdt(M::kFree, raw);
    m.set_gdt(M::kFree + 8, descriptor(0, 0xFFFFF, 0x1B, 12));
    far(m, opcode, selector);
    return m.last_fault();
  };
  CHECK(fault(gate(M::kCode0, 0x9500, 0x8C), M::kFree) == "#GP(0x70)");  // DPL 0
  CHECK(fault(gate(M::kCode0, 0x9500, 0xCC), M::kFree) == "#GP(0x70)");  // DPL 2
  CHECK(fault(gate(M::kCode0, 0x9500, 0x6C), M::kFree) == "#NP(0x70)");
  CHECK(fault(gate(0, 0x9500, 0xEC), M::kFree) == "#GP(0x0)");
  CHECK(fault(gate(M::kData0, 0x9500, 0xEC), M::kFree) == "#GP(0x10)");
  CHECK(fault(gate(M::kFree + 8, 0x9500, 0xEC), M::kFree) == "#NP(0x78)");
  CHECK(fault(gate(M::kCode0, 0x9500, 0xEC), M::kFree, 0xEA) == "#GP(0x8)");  // a jump can't change rings
  CHECK(fault(gate(M::kConforming, 0x9500, 0xEC), M::kFree, 0xEA) == "none");
  CHECK(fault(gate(M::kCode3, 0x9500, 0xEC), M::kFree, 0xEA) == "none");
  CHECK(fault(gate(M::kCode0, 0x9500, 0xEE), M::kFree) == "#GP(0x70)");  // an interrupt gate
}

TEST_CASE("a call gate with an RPL beyond its DPL is #GP") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, gate(M::kCode0, 0x9500, 0x8C));
  far(m, 0x9A, M::kFree | 1);
  CHECK(m.last_fault() == "#GP(0x70)");
  M n;
  n.protected32(0);
  n.set_gdt(M::kFree, gate(M::kCode0, 0x9500, 0x8C, 4));
  far(n, 0x9A, M::kFree);
  CHECK(n.last_fault() == "none");
  CHECK(n.cpu.s.gpr[RSP] == M::kStack0 - 8);  // same ring: no parameters
}

TEST_CASE("a call gate through a bad inner stack changes nothing") {
  M m;
  m.protected32(3);
  m.set_gdt(M::kFree, gate(M::kCode1, 0x9500, 0xEC, 1));
  m.write<u16>(M::kTss + 16, M::kData0);
  far(m, 0x9A, M::kFree);
  CHECK(m.last_fault() == "#TS(0x10)");
  CHECK(m.stack(2, 4) == M::kCode3);  // the fault's frame, after the error code
  CHECK(m.stack(1, 4) == M::kCode);
}

TEST_CASE("long mode: a 64-bit call gate has 16 bytes, copies nothing and makes SS null") {
  M m;
  m.long64(3);
  m.set_gdt(M::kFree, gate(M::kCode64, 0x9500, 0xEC, 5));
  m.set_gdt(M::kFree + 8, 0);
  m.write<u32>(0x7000, 0);
  m.write<u16>(0x7004, M::kFree);
  m.run({0xFF, 0x1C, 0x25, 0x00, 0x70, 0, 0});  // call far [0x7000]
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.rip == 0x9500);
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.s.seg[SS].selector == 0);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 32);
  const u64 frame[] = {M::kCode + 7, M::kCode64User, M::kStack3, M::kData3};
  for (unsigned n = 0; n < 4; n++) CHECK(m.stack(n, 8) == frame[n]);
  m.run({0x48, 0xCB});  // retfq
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack3);
}

TEST_CASE("long mode: gates that need 64-bit code, and system types that don't exist there") {
  const auto fault = [](u64 low, u64 high) {
    M m;
    m.long64(0);
    m.set_gdt(M::kFree, low);
    m.set_gdt(M::kFree + 8, high);
    m.write<u32>(0x7000, 0);
    m.write<u16>(0x7004, M::kFree);
    m.run({0xFF, 0x2C, 0x25, 0x00, 0x70, 0, 0});  // jmp far [0x7000]
    return m.last_fault();
  };
  CHECK(fault(gate(M::kCode64, 0x9500, 0x8C), 0) == "none");
  CHECK(fault(gate(M::kCode64, 0x9500, 0x8C), u64{0x100} << 32) == "#GP(0x70)");
  CHECK(fault(gate(M::kCode64, 0x9500, 0x8C), 0x8000) == "#GP(0x0)");  // not canonical
  CHECK(fault(gate(M::kCode0, 0x9500, 0x8C), 0) == "#GP(0x8)");
  CHECK(fault(gate(M::kCode64, 0x9500, 0x84), 0) == "#GP(0x70)");  // a 16-bit gate
  CHECK(fault(gate(M::kTssSelector, 0, 0x85), 0) == "#GP(0x70)");  // a task gate
  CHECK(fault(descriptor(M::kTss2, 0x67, 0x89, 0), 0) == "#GP(0x70)");
  CHECK(fault(descriptor(0, 0xFFFFF, 0x9B, 14), 0) == "#GP(0x70)");  // L and D
}

TEST_CASE("long mode: a far return between 64-bit and compatibility mode") {
  M m;
  m.long64(0);
  m.push(M::kCode0, 8);
  m.push(0x9400, 8);
  m.run({0x48, 0xCB});
  CHECK(!m.cpu.bits64());
  CHECK(m.cpu.s.rip == 0x9400);
  m.run({0xEA, 0x00, 0x96, 0, 0, M::kCode64, 0});
  CHECK(m.cpu.bits64());
  CHECK(m.cpu.s.rip == 0x9600);
}

TEST_CASE("long mode: a call gate to the same ring from compatibility mode pushes on a 64-bit stack") {
  M m;
  m.long64(0, true);
  m.set_gdt(M::kFree, gate(M::kCode64, 0x9500, 0x8C));
  m.set_gdt(M::kFree + 8, 0);
  far(m, 0x9A, M::kFree);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.bits64());
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 16);
  CHECK(m.stack(0, 8) == M::kCode + 7);
  CHECK(m.stack(1, 8) == M::kCode0);
}

TEST_CASE("a frame that wraps in a 16-bit stack is whole or not at all") {
  M m;
  m.protected32(0);
  m.set_segment(SS, M::kData16);
  m.cpu.s.gpr[RSP] = 0x10004;
  far(m, 0x9A, M::kCode0);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.gpr[RSP] == 0x1FFFC);  // the upper half stays
  CHECK(m.read<u32>(0xFFFC) == M::kCode + 7);
  CHECK(m.read<u32>(0) == M::kCode0);
}

TEST_CASE("RETF to an outer ring releases the arguments on both stacks and clears segments of the inner one") {
  M m;
  m.protected32(0);
  m.set_segment(FS, M::kConforming);
  m.set_segment(GS, M::kData3);
  for (const u32 v : {u32{M::kData3}, u32{0x28000}, u32{0xA}, u32{0xB}, u32{M::kCode3}, u32{0x9400}}) m.push(v, 4);
  m.run({0xCA, 8, 0});  // retf 8
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.rip == 0x9400);
  CHECK(m.cpu.s.gpr[RSP] == 0x28008);
  CHECK(m.cpu.s.seg[SS].selector == M::kData3);
  CHECK(m.cpu.s.seg[DS].unusable());
  CHECK(m.cpu.s.seg[ES].unusable());
  CHECK(m.cpu.s.seg[FS].selector == M::kConforming);
  CHECK(m.cpu.s.seg[GS].selector == M::kData3);
}

TEST_CASE("RETF refuses inner rings, null selectors and bad stacks") {
  const auto fault = [](u16 cs, u16 ss, unsigned cpl) {
    M m;
    m.protected32(cpl);
    for (const u32 v : {u32{ss}, u32{0x12345}, u32{cs}, u32{0x9400}}) m.push(v, 4);
    const u64 rsp = m.cpu.s.gpr[RSP];
    m.run({0xCB});
    if (m.last_fault() != "none" && cpl == 0) CHECK(m.cpu.s.gpr[RSP] == rsp - 16);
    return m.last_fault();
  };
  CHECK(fault(M::kCode3, M::kData3, 0) == "none");
  CHECK(fault(M::kCode0, 0, 3) == "#GP(0x8)");
  CHECK(fault(0, 0, 0) == "#GP(0x0)");
  CHECK(fault(M::kCode3, 0, 0) == "#GP(0x0)");
  CHECK(fault(M::kCode3, M::kData0 | 3, 0) == "#GP(0x10)");
  CHECK(fault(M::kCode3, M::kData3 & ~3, 0) == "#GP(0x20)");
  CHECK(fault(M::kData3, M::kData3, 0) == "#GP(0x20)");
  CHECK(fault(M::kCode0 | 3, M::kData3, 0) == "#GP(0x8)");
}

TEST_CASE("a far pointer in memory has its selector after the offset, of 16, 32 or 64 bits") {
  M m;
  m.long64(0);
  m.write<u64>(0x7000, 0x9400);
  m.write<u16>(0x7008, M::kCode64);
  m.run({0x48, 0xFF, 0x2C, 0x25, 0x00, 0x70, 0, 0});
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.rip == 0x9400);
}

TEST_CASE("a far transfer with a register operand is #UD") {
  M m;
  m.protected32(0);
  m.run({0xFF, 0xE8});
  CHECK(m.last_fault() == "#UD");
}
