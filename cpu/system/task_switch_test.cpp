#include <doctest/doctest.h>

#include "cpu/system/debug.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::descriptor;
using callgate::test::gate;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;

constexpr u16 kTask = M::kFree, kGate = M::kFree + 8;

/// A second task at ring 3, in a 32-bit TSS.
struct TwoTasks : M {
  explicit TwoTasks(u8 access = 0x89) {
    protected32(0);
    set_gdt(kTask, descriptor(kTss2, 0x67, access, 0));
    set_gdt(kGate, gate(kTask, 0, 0x85));
    const u32 registers[8] = {1, 2, 3, 4, 0x26000, 6, 7, 8};
    for (unsigned n = 0; n < 8; n++) write<u32>(kTss2 + 40 + 4 * n, registers[n]);
    write<u32>(kTss2 + 32, 0x9400);
    write<u32>(kTss2 + 36, kIF | kCF);
    const u16 seg[6] = {kData3, kCode3, kData3, kData3, 0, kData3};
    for (unsigned n = 0; n < 6; n++) write<u16>(kTss2 + 72 + 4 * n, seg[n]);
    write<u16>(kTss2 + 96, 0);
    write<u32>(kTss2 + 4, kStack0);
    write<u32>(kTss2 + 8, kData0);
    write<u16>(0x9400, 0xFEEB);
  }
  void far(u8 opcode, u16 selector) { run({opcode, 0, 0, 0, 0, static_cast<u8>(selector), 0}); }
};
}  // namespace

TEST_CASE("JMP to a TSS saves the old task and loads the new one") {
  TwoTasks m;
  m.cpu.s.gpr[RBX] = 0xB0B0;
  m.cpu.s.dr7 = 0x4FF;
  m.far(0xEA, kTask);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.rip == 0x9400);
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.gpr[RDX] == 3);
  CHECK(m.cpu.s.gpr[RSP] == 0x26000);
  CHECK(m.cpu.s.flags.value() == (kIF | kCF | 2));
  CHECK(m.cpu.s.seg[CS].selector == M::kCode3);
  CHECK(m.cpu.s.seg[FS].unusable());
  CHECK(m.cpu.s.seg[GS].selector == M::kData3);
  CHECK(m.cpu.s.tr.selector == kTask);
  CHECK((m.cpu.s.cr0 & kCr0Ts) != 0);
  CHECK(m.cpu.s.dr7 == 0x4AA);  // local breakpoints are the old task's
  // The old TSS: image and busy bit.
  CHECK(m.read<u32>(M::kTss + 32) == M::kCode + 7);
  CHECK(m.read<u32>(M::kTss + 40 + 4 * RBX) == 0xB0B0);
  CHECK(m.read<u16>(M::kTss + 76) == M::kCode0);
  CHECK(m.gdt(M::kTssSelector) == descriptor(M::kTss, 0xFFF, 0x89, 0));
  CHECK(m.gdt(kTask) == descriptor(M::kTss2, 0x67, 0x8B, 0));
}

TEST_CASE("CALL nests: back link, NT, and IRET returns") {
  TwoTasks m;
  m.write<u16>(M::kTss2 + 76, M::kCode0);
  m.write<u16>(M::kTss2 + 80, M::kData0);
  m.cpu.s.gpr[RBX] = 0xB0B0;
  m.far(0x9A, kTask);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.flags.test(kNT));
  CHECK(m.read<u16>(M::kTss2) == M::kTssSelector);
  CHECK(m.gdt(M::kTssSelector) == descriptor(M::kTss, 0xFFF, 0x8B, 0));  // still busy
  m.run({0xCF});
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.rip == M::kCode + 7);
  CHECK(m.cpu.s.gpr[RBX] == 0xB0B0);
  CHECK(m.cpu.s.tr.selector == M::kTssSelector);
  CHECK(!m.cpu.s.flags.test(kNT));
  CHECK(m.gdt(kTask) == descriptor(M::kTss2, 0x67, 0x89, 0));
  CHECK((m.read<u32>(M::kTss2 + 36) & kNT) == 0);  // NT is clear in the image that IRET leaves
}

TEST_CASE("through a task gate, and an exception's error code goes to the new task's stack") {
  TwoTasks m;
  m.far(0xEA, kGate);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.tr.selector == kTask);

  TwoTasks e;
  e.set_idt(13, kTask, 0, 0x85);
  e.cpu.s.gpr[RAX] = 0x100;
  e.run({0x8E, 0xD8});
  CHECK(e.cpu.s.tr.selector == kTask);
  CHECK(e.cpu.s.gpr[RSP] == 0x26000 - 4);
  CHECK(e.stack(0, 4) == 0x100);
  CHECK(e.cpu.s.flags.test(kNT));
  CHECK(e.read<u32>(M::kTss + 32) == M::kCode);
  CHECK((e.read<u32>(M::kTss + 36) & kRF) != 0);
}

TEST_CASE("a double fault through a task gate finds a good stack") {
  TwoTasks m;
  m.set_idt(8, kTask, 0, 0x85);
  m.cpu.s.seg[SS].limit = 0xFFF;
  m.cpu.refresh();
  m.run({0x60});
  CHECK(m.cpu.s.tr.selector == kTask);
  CHECK(m.stack(0, 4) == 0);
}

TEST_CASE("tasks that may not be switched to") {
  const auto fault = [](u8 access, u16 selector, u8 opcode = 0xEA) {
    TwoTasks m(access);
    m.far(opcode, selector);
    CHECK(m.cpu.s.tr.selector == M::kTssSelector);
    return m.last_fault();
  };
  CHECK(fault(0x8B, kTask) == "#GP(0x70)");  // busy
  CHECK(fault(0x8B, kGate) == "#GP(0x70)");
  CHECK(fault(0x09, kTask) == "#NP(0x70)");
  CHECK(fault(0x89, kTask | 1) == "#GP(0x70)");  // RPL > DPL
  CHECK(fault(0x89, kGate | 3) == "#GP(0x78)");
}

TEST_CASE("a TSS that is too small is #TS in the old task") {
  TwoTasks m;
  m.set_gdt(kTask, descriptor(M::kTss2, 0x66, 0x89, 0));
  m.far(0xEA, kTask);
  CHECK(m.last_fault() == "#TS(0x70)");
  CHECK(m.stack(1, 4) == M::kCode);
  CHECK(m.cpu.s.tr.selector == M::kTssSelector);
}

TEST_CASE("bad segments of the new task fault in it, as #TS with the selector") {
  const auto fault = [](u32 at, u16 selector) {
    TwoTasks m;
    m.set_gdt(0x80, descriptor(0, 0xFFFFF, 0x7B, 12));
    m.set_gdt(0x88, descriptor(0, 0xFFFFF, 0x73, 12));
    m.write<u16>(M::kTss2 + at, selector);
    m.far(0xEA, kTask);
    CHECK(m.cpu.s.tr.selector == kTask);
    const FaultRecord first = m.cpu.recent_faults().front();
    CHECK(first.rip == 0x9400);
    const std::string text = describe(first);
    return text.substr(0, text.find(' '));
  };
  CHECK(fault(76, 0) == "#TS(0x0)");
  CHECK(fault(76, M::kData3) == "#TS(0x20)");
  CHECK(fault(76, M::kCode0 | 3) == "#TS(0x8)");
  CHECK(fault(76, 0x83) == "#NP(0x80)");
  CHECK(fault(80, 0) == "#TS(0x0)");
  CHECK(fault(80, M::kData0 | 3) == "#TS(0x10)");
  CHECK(fault(80, 0x8B) == "#SS(0x88)");
  CHECK(fault(84, M::kData0) == "#TS(0x10)");
  CHECK(fault(84, 0x8B) == "#NP(0x88)");
  CHECK(fault(96, M::kData0) == "#TS(0x10)");
}

TEST_CASE("IRET with NT to something that is no busy TSS is #TS") {
  TwoTasks m;
  m.cpu.s.flags.assign(kNT, true);
  m.write<u16>(M::kTss, kTask);
  m.run({0xCF});
  CHECK(m.last_fault() == "#TS(0x70)");
}

TEST_CASE("the T bit raises a debug trap before the new task's first instruction") {
  TwoTasks m;
  m.write<u16>(M::kTss2 + 100, 1);
  m.code({0xEA, 0, 0, 0, 0, kTask, 0});
  m.run(2);
  CHECK(m.handling() == 1);
  CHECK((m.cpu.s.dr6 & kDr6Bt) != 0);
  CHECK(m.stack(0, 4) == 0x9400);
}

TEST_CASE("a task in virtual-8086 mode") {
  TwoTasks m;
  m.write<u32>(M::kTss2 + 36, kVM | kIOPL);
  m.write<u32>(M::kTss2 + 32, 0x10);
  for (unsigned n = 0; n < 6; n++) m.write<u16>(M::kTss2 + 72 + 4 * n, static_cast<u16>(0x1000 + n));
  m.far(0xEA, kTask);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.v86());
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.s.seg[CS].base == 0x10010);
  CHECK(m.cpu.s.rip == 0x10);
}

TEST_CASE("a 16-bit TSS has words, and no FS, GS or CR3") {
  M m;
  m.protected32(0);
  m.set_gdt(kTask, descriptor(M::kTss2, 0x2B, 0x81, 0));
  m.write<u16>(M::kTss2 + 14, 0x9400);
  m.write<u16>(M::kTss2 + 16, kIF);
  for (unsigned n = 0; n < 8; n++) m.write<u16>(M::kTss2 + 18 + 2 * n, static_cast<u16>(0x6000 + n));
  const u16 seg[4] = {M::kData0, M::kCode0, M::kData0, M::kData0};
  for (unsigned n = 0; n < 4; n++) m.write<u16>(M::kTss2 + 34 + 2 * n, seg[n]);
  m.write<u16>(0x9400, 0xFEEB);
  m.run({0xEA, 0, 0, 0, 0, kTask, 0});
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.rip == 0x9400);
  CHECK(m.cpu.s.gpr[RDI] == 0x6007);
  CHECK(m.cpu.s.seg[FS].unusable());
  CHECK(m.gdt(kTask) == descriptor(M::kTss2, 0x2B, 0x83, 0));
}

TEST_CASE("a task switch loads CR3 when paging is on") {
  TwoTasks m;
  // 4 MiB pages, twice the same map in two directories.
  for (const u64 directory : {u64{0x100000}, u64{0x101000}}) m.write<u32>(directory, 0x87);
  m.cpu.s.cr4 |= kCr4Pse;
  m.cpu.s.cr3 = 0x100000;
  m.cpu.s.cr0 |= kCr0Pg;
  m.cpu.refresh();
  m.write<u32>(M::kTss2 + 28, 0x101000);
  m.far(0xEA, kTask);
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.cr3 == 0x101000);
}

TEST_CASE("PAE: a new CR3 whose PDPTEs have reserved bits is #TS in the old task") {
  TwoTasks m;
  for (const u64 pdpt : {u64{0x100000}, u64{0x101000}}) m.write<u64>(pdpt, 0x102001);
  m.write<u64>(0x102000, 0x87);  // 2 MiB
  m.write<u64>(0x101008, 0x1E7);
  m.cpu.s.cr4 |= kCr4Pae;
  m.cpu.s.cr3 = 0x100000;
  m.cpu.s.pdpte[0] = 0x102001;
  m.cpu.s.cr0 |= kCr0Pg;
  m.cpu.refresh();
  m.write<u32>(M::kTss2 + 28, 0x101000);
  m.far(0xEA, kTask);
  CHECK(m.last_fault() == "#TS(0x70)");
  CHECK(m.cpu.s.cr3 == 0x100000);
  CHECK(m.cpu.s.tr.selector == M::kTssSelector);
  m.write<u64>(0x101008, 0);
  m.cpu.s.rip = M::kCode;
  m.far(0xEA, kTask);
  CHECK(m.cpu.s.cr3 == 0x101000);
  CHECK(m.cpu.s.tr.selector == kTask);
}
