#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;

void set_syscall_msrs(M& m) {
  m.cpu.s.msr.star = u64{0x0023'0010} << 32;
  m.cpu.s.msr.lstar = 0x9400;
  m.cpu.s.msr.sfmask = kIF | kTF | kDF | kCF;
}
}  // namespace

TEST_CASE("SYSCALL enters 64-bit code at ring 0 without looking at a descriptor") {
  M m;
  m.long64(3);
  set_syscall_msrs(m);
  m.cpu.s.flags.set_value(kIF | kCF | kZF);
  m.cpu.s.gdtr.limit = 0;
  m.run({0x0F, 0x05});
  CHECK(m.cpu.s.rip == 0x9400);
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.s.gpr[RCX] == M::kCode + 2);
  CHECK(m.cpu.s.gpr[R11] == (kIF | kCF | kZF | 2));
  CHECK(m.cpu.s.flags.value() == (kZF | 2));
  CHECK(m.cpu.s.seg[CS].selector == 0x10);
  CHECK(m.cpu.s.seg[SS].selector == 0x18);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack3);
  CHECK(m.cpu.bits64());
}

TEST_CASE("SYSRET goes back to 64-bit or compatibility mode") {
  M m;
  m.long64(0);
  set_syscall_msrs(m);
  m.cpu.s.gpr[RCX] = 0xFFFFFFFF00009400;
  m.cpu.s.gpr[R11] = kIF | kCF | kRF | kVM;
  m.run({0x0F, 0x07});
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.rip == 0x9400);
  CHECK(m.cpu.code_size() == CodeSize::Bits32);
  CHECK(m.cpu.s.seg[CS].selector == 0x23);
  CHECK(m.cpu.s.seg[SS].selector == 0x2B);
  CHECK(m.cpu.s.flags.value() == (kIF | kCF | 2));

  M n;
  n.long64(0);
  set_syscall_msrs(n);
  n.cpu.s.gpr[RCX] = 0x9400;
  n.run({0x48, 0x0F, 0x07});
  CHECK(n.cpu.bits64());
  CHECK(n.cpu.s.seg[CS].selector == 0x33);
}

TEST_CASE("SYSRET to an address that isn't canonical is #GP(0) in ring 0, as on Intel's processors") {
  M m;
  m.long64(0);
  set_syscall_msrs(m);
  m.cpu.s.gpr[RCX] = 0x800000000000;
  m.run({0x48, 0x0F, 0x07});
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.stack(2, 8) == M::kCode64);
}

TEST_CASE("SYSCALL is #UD without EFER.SCE and outside 64-bit mode; SYSRET is for ring 0") {
  M m;
  m.long64(3);
  m.cpu.s.msr.efer &= ~u64{kEferSce};
  m.run({0x0F, 0x05});
  CHECK(m.last_fault() == "#UD");
  M c;
  c.long64(3, true);
  c.run({0x0F, 0x05});
  CHECK(c.last_fault() == "#UD");
  M u;
  u.long64(3);
  u.run({0x48, 0x0F, 0x07});
  CHECK(u.last_fault() == "#GP(0x0)");
}

TEST_CASE("SYSCALL with TF masked is not stepped into the kernel; SYSRET with TF traps at once") {
  M m;
  m.long64(3);
  set_syscall_msrs(m);
  m.write<u8>(0x9400, 0x90);
  m.cpu.s.flags.assign(kTF, true);
  m.code({0x0F, 0x05});
  m.run(2);
  CHECK(m.cpu.s.rip == 0x9401);
  m.cpu.s.gpr[RCX] = 0x9400;
  m.run({0x48, 0x0F, 0x07});
  m.run(1);
  CHECK(m.handling() == 1);
  CHECK(m.stack(0, 8) == 0x9400);
}

TEST_CASE("SYSENTER and SYSEXIT in protected mode") {
  M m;
  m.protected32(3);
  m.cpu.s.msr.sysenter_cs = M::kCode0;
  m.cpu.s.msr.sysenter_esp = 0x27000;
  m.cpu.s.msr.sysenter_eip = 0x9400;
  m.cpu.s.flags.set_value(kIF | kCF);
  m.run({0x0F, 0x34});
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.s.rip == 0x9400);
  CHECK(m.cpu.s.gpr[RSP] == 0x27000);
  CHECK(m.cpu.s.seg[CS].selector == M::kCode0);
  CHECK(m.cpu.s.seg[SS].selector == M::kData0);
  CHECK(m.cpu.s.flags.value() == (kCF | 2));
  m.cpu.s.gpr[RCX] = 0x33000;
  m.cpu.s.gpr[RDX] = 0x9500;
  m.run({0x0F, 0x35});
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.rip == 0x9500);
  CHECK(m.cpu.s.gpr[RSP] == 0x33000);
  CHECK(m.cpu.s.seg[CS].selector == M::kCode3);
  CHECK(m.cpu.s.seg[SS].selector == M::kData3);
}

TEST_CASE("SYSENTER in long mode enters 64-bit code") {
  M m;
  m.long64(3, true);
  m.cpu.s.msr.sysenter_cs = 0x10;
  m.cpu.s.msr.sysenter_esp = 0xFFFF800000000000;
  m.cpu.s.msr.sysenter_eip = 0x9400;
  m.run({0x0F, 0x34});
  CHECK(m.cpu.bits64());
  CHECK(m.cpu.s.gpr[RSP] == 0xFFFF800000000000);
  m.cpu.s.gpr[RCX] = 0x33000;
  m.cpu.s.gpr[RDX] = 0x9500;
  m.run({0x48, 0x0F, 0x35});
  CHECK(m.cpu.s.seg[CS].selector == (0x10 + 32 + 3));
  CHECK(m.cpu.bits64());
}

TEST_CASE("SYSENTER with a null selector is #GP(0); SYSEXIT is for ring 0") {
  M m;
  m.protected32(3);
  m.cpu.s.msr.sysenter_cs = 3;
  m.run({0x0F, 0x34});
  CHECK(m.last_fault() == "#GP(0x0)");
  M n;
  n.protected32(3);
  n.cpu.s.msr.sysenter_cs = 8;
  n.run({0x0F, 0x35});
  CHECK(n.last_fault() == "#GP(0x0)");
}

TEST_CASE("SWAPGS is for ring 0 in 64-bit mode") {
  M m;
  m.long64(0);
  m.cpu.s.seg[GS].base = 0x1111;
  m.cpu.s.msr.kernel_gs_base = 0xFFFF800000002222;
  m.run({0x0F, 0x01, 0xF8});
  CHECK(m.cpu.s.seg[GS].base == 0xFFFF800000002222);
  CHECK(m.cpu.s.msr.kernel_gs_base == 0x1111);
  M u;
  u.long64(3);
  u.run({0x0F, 0x01, 0xF8});
  CHECK(u.last_fault() == "#GP(0x0)");
  M p;
  p.protected32(0);
  p.run({0x0F, 0x01, 0xF8});
  CHECK(p.last_fault() == "#UD");
}

TEST_CASE("RDFSBASE and WRGSBASE need CR4.FSGSBASE; a 32-bit base is zero-extended") {
  M m;
  m.long64(3);
  m.run({0xF3, 0x48, 0x0F, 0xAE, 0xC0});
  CHECK(m.last_fault() == "#UD");

  M n;
  n.long64(3);
  n.cpu.s.cr4 |= kCr4Fsgsbase;
  n.cpu.s.gpr[RAX] = 0xFFFF800012345678;
  n.run({0xF3, 0x48, 0x0F, 0xAE, 0xD8});  // wrgsbase rax
  CHECK(n.cpu.s.seg[GS].base == 0xFFFF800012345678);
  n.run({0xF3, 0x0F, 0xAE, 0xD8});  // wrgsbase eax
  CHECK(n.cpu.s.seg[GS].base == 0x12345678);
  n.cpu.s.seg[FS].base = 0xFFFF800087654321;
  n.run({0xF3, 0x48, 0x0F, 0xAE, 0xC1});  // rdfsbase rcx
  CHECK(n.cpu.s.gpr[RCX] == 0xFFFF800087654321);
  n.run({0xF3, 0x0F, 0xAE, 0xC1});  // rdfsbase ecx
  CHECK(n.cpu.s.gpr[RCX] == 0x87654321);
  n.cpu.s.gpr[RAX] = 0x800000000000;
  n.run({0xF3, 0x48, 0x0F, 0xAE, 0xD0});
  CHECK(n.last_fault() == "#GP(0x0)");
}
