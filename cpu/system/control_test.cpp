// Control registers and mode changes: what MOV accepts, what it refuses, and what follows.
#include <doctest/doctest.h>

#include "cpu/system/control.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using test::TestMachine;

namespace {

/// Runs an instruction and returns the fault that it raised, or "none".
std::string outcome(TestMachine& m, std::initializer_list<u8> bytes) {
  const u64 rip = m.cpu.s.rip, retired = m.cpu.s.retired;
  m.code(bytes);
  m.run(1);
  const auto faults = m.cpu.recent_faults();
  if (faults.empty() || faults.back().rip != rip || faults.back().retired != retired) return "none";
  return m.last_fault();
}

std::string mov_cr0(TestMachine& m, u64 value) {
  m.cpu.s.gpr[RAX] = value;
  return outcome(m, {0x0F, 0x22, 0xC0});
}
std::string mov_cr3(TestMachine& m, u64 value) {
  m.cpu.s.gpr[RAX] = value;
  return outcome(m, {0x0F, 0x22, 0xD8});
}
std::string mov_cr4(TestMachine& m, u64 value) {
  m.cpu.s.gpr[RAX] = value;
  return outcome(m, {0x0F, 0x22, 0xE0});
}
std::string wrmsr(TestMachine& m, u32 index, u64 value) {
  m.cpu.s.gpr[RCX] = index;
  m.cpu.s.gpr[RAX] = static_cast<u32>(value);
  m.cpu.s.gpr[RDX] = value >> 32;
  return outcome(m, {0x0F, 0x30});
}
constexpr u32 kEferMsr = 0xC0000080;

}  // namespace

TEST_CASE("CR0 refuses PG without PE, NW without CD, and bits above 31") {
  TestMachine m;
  m.long64();
  const u64 cr0 = m.cpu.s.cr0;
  CHECK(mov_cr0(m, cr0 & ~u64{kCr0Pe}) == "#GP(0x0)");
  m.long64();
  CHECK(mov_cr0(m, cr0 | kCr0Nw) == "#GP(0x0)");
  m.long64();
  CHECK(mov_cr0(m, cr0 | u64{1} << 32) == "#GP(0x0)");
  m.long64();
  CHECK(mov_cr0(m, cr0 | kCr0Nw | kCr0Cd) == "none");
  CHECK(m.cpu.s.cr0 == (cr0 | kCr0Nw | kCr0Cd));
}

TEST_CASE("CR0 keeps ET and drops the reserved bits of its low half") {
  TestMachine m;
  m.protected32();
  CHECK(mov_cr0(m, kCr0Pe | 0x1FFBFFC0u) == "none");
  CHECK(m.cpu.s.cr0 == (kCr0Pe | kCr0Et | kCr0Wp));
}

TEST_CASE("paging with EFER.LME activates long mode, and only with PAE, a 32-bit TSS and CS.L clear") {
  TestMachine m;
  m.long64(0, true);
  const u64 cr0 = m.cpu.s.cr0;
  CHECK(mov_cr0(m, cr0 & ~u64{kCr0Pg}) == "none");  // from compatibility mode
  CHECK_FALSE(m.cpu.long_mode());
  CHECK((m.cpu.s.msr.efer & kEferLme) != 0);

  for (unsigned v = 0; v < 256; v++) m.set_idt(v, TestMachine::kCode0, TestMachine::handler(v), 0x8E);
  m.cpu.s.cr4 &= ~u64{kCr4Pae};
  CHECK(mov_cr0(m, cr0) == "#GP(0x0)");
  CHECK(m.last_reason() == "CR0.PG with EFER.LME needs CR4.PAE");

  const auto back = [&] {  // 32-bit code, paging off, ready to activate
    m.long64(0, true);
    m.cpu.s.cr0 &= ~u64{kCr0Pg};
    m.cpu.s.msr.efer &= ~u64{kEferLma};
    for (unsigned v = 0; v < 256; v++) m.set_idt(v, TestMachine::kCode0, TestMachine::handler(v), 0x8E);
    m.cpu.refresh();
  };
  back();
  m.cpu.s.tr.rights = (m.cpu.s.tr.rights & ~15u) | 3;
  CHECK(mov_cr0(m, cr0) == "#GP(0x0)");
  back();
  m.cpu.s.seg[CS].rights |= kRightsL;
  CHECK(mov_cr0(m, cr0) == "#GP(0x0)");
  back();
  CHECK(mov_cr0(m, cr0) == "none");
  CHECK(m.cpu.long_mode());
  CHECK_FALSE(m.cpu.bits64());
}

TEST_CASE("64-bit code can't switch paging off, nor anybody PAE in long mode") {
  TestMachine m;
  m.long64();
  CHECK(mov_cr0(m, m.cpu.s.cr0 & ~u64{kCr0Pg}) == "#GP(0x0)");
  m.long64();
  CHECK(mov_cr4(m, m.cpu.s.cr4 & ~u64{kCr4Pae}) == "#GP(0x0)");
}

TEST_CASE("EFER.LME changes only while paging is off; LMA is read-only; reserved bits are refused") {
  TestMachine m;
  m.long64();
  CHECK(wrmsr(m, kEferMsr, kEferSce | kEferNxe) == "#GP(0x0)");
  m.long64();
  CHECK(wrmsr(m, kEferMsr, kEferLme | kEferNxe) == "none");
  CHECK(m.cpu.s.msr.efer == (kEferLme | kEferLma | kEferNxe));
  CHECK(wrmsr(m, kEferMsr, kEferLme | 2) == "#GP(0x0)");
  m.protected32();
  m.cpu.s.msr.efer = 0;
  CHECK(wrmsr(m, kEferMsr, kEferLme | kEferLma) == "none");
  CHECK(m.cpu.s.msr.efer == kEferLme);
}

TEST_CASE("CR4 refuses bits that the model lacks") {
  TestMachine m;
  m.long64();
  const u64 cr4 = m.cpu.s.cr4;
  for (const unsigned n : {12u, 13u, 14u, 15u, 19u, 22u, 23u, 24u, 31u, 32u, 63u}) {
    m.long64();
    CHECK_MESSAGE(mov_cr4(m, cr4 | u64{1} << n) == "#GP(0x0)", n);
  }
  m.long64();
  const u64 all = supported_cr4(m.model) & ~u64{kCr4Pcide};
  CHECK(mov_cr4(m, all) == "none");
  CHECK(m.cpu.s.cr4 == all);
}

TEST_CASE("PCIDE needs long mode and a CR3 without a PCID; with it, CR3's bit 63 is taken and not kept") {
  TestMachine m;
  m.protected32();
  m.cpu.s.cr4 = kCr4Pae;
  CHECK(mov_cr4(m, kCr4Pae | kCr4Pcide) == "#GP(0x0)");
  m.long64();
  m.cpu.s.cr3 |= 8;
  m.cpu.refresh();
  CHECK(mov_cr4(m, m.cpu.s.cr4 | kCr4Pcide) == "#GP(0x0)");
  m.long64();
  CHECK(mov_cr3(m, TestMachine::kTables | u64{1} << 63) == "#GP(0x0)");
  m.long64();
  CHECK(mov_cr4(m, m.cpu.s.cr4 | kCr4Pcide) == "none");
  CHECK(mov_cr3(m, TestMachine::kTables | 0x123 | u64{1} << 63) == "none");
  CHECK(m.cpu.s.cr3 == (TestMachine::kTables | 0x123));
  CHECK(mov_cr3(m, TestMachine::kTables | u64{1} << kPhysicalBits) == "#GP(0x0)");
  m.long64(0, true);
  m.cpu.s.cr4 |= kCr4Pcide;
  CHECK(mov_cr0(m, m.cpu.s.cr0 & ~u64{kCr0Pg}) == "#GP(0x0)");
}

TEST_CASE("PAE paging loads its four PDPTEs with CR3 and refuses reserved bits") {
  TestMachine m;
  m.protected32();
  constexpr u64 kPdpt = 0x110020, kDirectory = 0x111000;
  for (u64 n = 0; n < 4; n++) m.write<u64>(kPdpt + 8 * n, n == 0 ? kDirectory | 1 : 0);
  for (u64 n = 0; n < 2; n++) m.write<u64>(kDirectory + 8 * n, n << 21 | 0x83);
  m.cpu.s.cr4 = kCr4Pae;
  m.cpu.s.cr3 = kPdpt;
  m.cpu.refresh();
  CHECK(mov_cr0(m, m.cpu.s.cr0 | kCr0Pg) == "none");
  CHECK(m.cpu.s.pdpte[0] == (kDirectory | 1));

  m.write<u64>(kPdpt + 8, kDirectory | 3);  // R/W is reserved in a PDPTE
  CHECK(m.cpu.s.pdpte[1] == 0);             // loaded, not looked up
  CHECK(mov_cr3(m, kPdpt) == "#GP(0x0)");
  CHECK(m.cpu.s.pdpte[1] == 0);
  m.cpu.s.rip = TestMachine::kCode + 0x100;
  m.write<u64>(kPdpt + 8, kDirectory | 1);
  CHECK(mov_cr3(m, kPdpt) == "none");
  CHECK(m.cpu.s.pdpte[1] == (kDirectory | 1));
}

TEST_CASE("there is no CR1; ring 3 moves no control register") {
  TestMachine m;
  m.long64();
  CHECK(outcome(m, {0x0F, 0x20, 0xC8}) == "#UD");
  m.long64(3);
  CHECK(outcome(m, {0x0F, 0x20, 0xC8}) == "#UD");
  m.long64(3);
  CHECK(outcome(m, {0x0F, 0x20, 0xC0}) == "#GP(0x0)");
  m.long64(3);
  CHECK(outcome(m, {0x0F, 0x06}) == "#GP(0x0)");  // CLTS
}

TEST_CASE("MOV CR ignores ModRM.mod and the operand-size prefix") {
  TestMachine m;
  m.long64();
  m.cpu.s.cr2 = 0x123456789ABCDEF0;
  CHECK(outcome(m, {0x66, 0x0F, 0x20, 0x13}) == "none");  // mov rbx, cr2 with mod 0
  CHECK(m.cpu.s.gpr[RBX] == 0x123456789ABCDEF0);
}

TEST_CASE("CR8 is the local APIC's task priority") {
  TestMachine m;
  m.long64();
  m.cpu.s.gpr[RAX] = 9;
  CHECK(outcome(m, {0x44, 0x0F, 0x22, 0xC0}) == "none");
  CHECK(m.platform.tpr == 9);
  CHECK(outcome(m, {0x44, 0x0F, 0x20, 0xC3}) == "none");
  CHECK(m.cpu.s.gpr[RBX] == 9);
  m.cpu.s.gpr[RAX] = 16;
  CHECK(outcome(m, {0x44, 0x0F, 0x22, 0xC0}) == "#GP(0x0)");
}

TEST_CASE("LMSW sets PE but does not clear it; SMSW stores 16 bits in memory and more in a register") {
  TestMachine m;
  m.protected32();
  m.cpu.s.gpr[RAX] = 0xFFF0 | kCr0Ts;
  CHECK(outcome(m, {0x0F, 0x01, 0xF0}) == "none");
  CHECK(m.cpu.s.cr0 == (kCr0Pe | kCr0Et | kCr0Ne | kCr0Ts));
  m.cpu.s.cr0 |= kCr0Wp;
  m.cpu.s.gpr[RBX] = ~u64{0};
  CHECK(outcome(m, {0x0F, 0x01, 0xE3}) == "none");
  CHECK(m.cpu.gpr<u32>(RBX) == m.cpu.s.cr0);
  m.write<u32>(0x50000, 0xFFFFFFFF);
  m.cpu.s.gpr[RBX] = 0x50000;
  CHECK(outcome(m, {0x0F, 0x01, 0x23}) == "none");
  CHECK(m.read<u32>(0x50000) == (0xFFFF0000 | (m.cpu.s.cr0 & 0xFFFF)));
}

TEST_CASE("UMIP keeps SMSW, SGDT and SIDT from ring 3") {
  for (const bool umip : {false, true}) {
    TestMachine m;
    const auto ring3 = [&] {
      m.long64(3);
      if (umip) m.cpu.s.cr4 |= kCr4Umip;
      m.cpu.s.gpr[RBX] = 0x50000;
    };
    const std::string expected = umip ? "#GP(0x0)" : "none";
    ring3();
    CHECK(outcome(m, {0x0F, 0x01, 0xE0}) == expected);
    ring3();
    CHECK(outcome(m, {0x0F, 0x01, 0x03}) == expected);
    ring3();
    CHECK(outcome(m, {0x0F, 0x01, 0x0B}) == expected);
  }
}

TEST_CASE("LGDT takes 24, 32 or 64 bits of base; SGDT stores all of them") {
  TestMachine m;
  m.protected32();
  m.write<u16>(0x50000, 0x1234);
  m.write<u32>(0x50002, 0xABCDEF01);
  m.cpu.s.gpr[RBX] = 0x50000;
  CHECK(outcome(m, {0x0F, 0x01, 0x1B}) == "none");  // lidt
  CHECK(m.cpu.s.idtr.base == 0xABCDEF01);
  CHECK(m.cpu.s.idtr.limit == 0x1234);
  CHECK(outcome(m, {0x66, 0x0F, 0x01, 0x1B}) == "none");
  CHECK(m.cpu.s.idtr.base == 0xCDEF01);
  m.long64();
  m.write<u64>(0x50002, 0xFFFF800012345678);
  CHECK(outcome(m, {0x0F, 0x01, 0x1B}) == "none");
  CHECK(m.cpu.s.idtr.base == 0xFFFF800012345678);
  CHECK(outcome(m, {0x0F, 0x01, 0x4B, 0x10}) == "none");  // sidt [rbx + 0x10]
  CHECK(m.read<u64>(0x50012) == 0xFFFF800012345678);
  m.long64();
  m.write<u64>(0x50002, 0x0000800000000000);
  CHECK(outcome(m, {0x0F, 0x01, 0x13}) == "#GP(0x0)");  // lgdt
  CHECK(m.cpu.s.gdtr.base == TestMachine::kGdt);
}

TEST_CASE("INVPCID checks its type and its descriptor") {
  TestMachine m;
  const auto invpcid = [&](u64 type, u64 pcid, u64 linear) {
    m.long64();
    m.write<u64>(0x50000, pcid);
    m.write<u64>(0x50008, linear);
    m.cpu.s.gpr[RAX] = type;
    m.cpu.s.gpr[RBX] = 0x50000;
    return outcome(m, {0x66, 0x0F, 0x38, 0x82, 0x03});
  };
  CHECK(invpcid(0, 0, 0x1000) == "none");
  CHECK(invpcid(0, 1, 0x1000) == "#GP(0x0)");  // a PCID without CR4.PCIDE
  CHECK(invpcid(1, 1, 0) == "#GP(0x0)");
  CHECK(invpcid(2, 1, 0) == "none");
  CHECK(invpcid(3, 0x1000, 0) == "#GP(0x0)");
  CHECK(invpcid(4, 0, 0) == "#GP(0x0)");
  CHECK(invpcid(0, 0, u64{1} << 47) == "#GP(0x0)");
  CHECK(invpcid(3, 0, u64{1} << 47) == "none");
}

TEST_CASE("STAC and CLAC are #UD outside ring 0") {
  TestMachine m;
  m.long64();
  CHECK(outcome(m, {0x0F, 0x01, 0xCB}) == "none");
  CHECK(m.cpu.s.flags.test(kAC));
  CHECK(outcome(m, {0x0F, 0x01, 0xCA}) == "none");
  CHECK_FALSE(m.cpu.s.flags.test(kAC));
  m.long64(3);
  CHECK(outcome(m, {0x0F, 0x01, 0xCB}) == "#UD");
}

TEST_CASE("XSETBV wants OSXSAVE, ring 0, x87, and components that exist") {
  TestMachine m;
  const auto xsetbv = [&](u64 value, bool osxsave = true, unsigned cpl = 0) {
    m.long64(cpl);
    if (osxsave) m.cpu.s.cr4 |= kCr4Osxsave;
    m.cpu.s.gpr[RAX] = static_cast<u32>(value);
    m.cpu.s.gpr[RDX] = value >> 32;
    m.cpu.s.gpr[RCX] = 0;
    return outcome(m, {0x0F, 0x01, 0xD1});
  };
  CHECK(xsetbv(3) == "none");
  CHECK(m.cpu.s.xcr0 == 3);
  CHECK(xsetbv(3, false) == "#UD");
  CHECK(xsetbv(3, true, 3) == "#GP(0x0)");
  CHECK(xsetbv(2) == "#GP(0x0)");
  CHECK(xsetbv(1 | u64{1} << 62) == "#GP(0x0)");
}

TEST_CASE("RDTSC follows CR4.TSD; RDTSCP gives IA32_TSC_AUX too") {
  TestMachine m;
  m.long64(3);
  m.platform.time = 0x123456789;
  m.cpu.s.msr.tsc_aux = 0x77;
  CHECK(outcome(m, {0x0F, 0x01, 0xF9}) == "none");
  CHECK(m.cpu.s.gpr[RAX] == 0x23456789);
  CHECK(m.cpu.s.gpr[RDX] == 1);
  CHECK(m.cpu.s.gpr[RCX] == 0x77);
  m.cpu.s.cr4 |= kCr4Tsd;
  CHECK(outcome(m, {0x0F, 0x31}) == "#GP(0x0)");
}

TEST_CASE("MONITOR and MWAIT exist when IA32_MISC_ENABLE says so") {
  TestMachine m;
  m.long64();
  CHECK(outcome(m, {0x0F, 0x01, 0xC9}) == "#UD");
  m.long64();
  CHECK(wrmsr(m, 0x1A0, 0x40001) == "none");
  m.cpu.s.gpr[RCX] = m.cpu.s.gpr[RAX] = 0;
  CHECK(outcome(m, {0x0F, 0x01, 0xC8}) == "none");
  CHECK(outcome(m, {0x0F, 0x01, 0xC9}) == "none");
  CHECK(m.cpu.s.activity == Activity::Halted);
}
