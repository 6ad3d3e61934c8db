#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::descriptor;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;

/// MOV to the segment register from AX; the fault it raises, or "none".
std::string load(M& m, SegReg seg, u16 selector) {
  m.cpu.s.gpr[RAX] = selector;
  m.run({0x8E, static_cast<u8>(0xC0 | seg << 3)});
  return m.last_fault();
}
}  // namespace

TEST_CASE("a data segment needs DPL >= CPL and RPL, except conforming code") {
  M m;
  m.protected32(3);
  CHECK(load(m, DS, M::kData0) == "#GP(0x10)");
  CHECK(m.last_reason() == "data segment 0x10 has DPL 0 < CPL 3");
  CHECK(m.handling() == 13);

  M ok;
  ok.protected32(3);
  CHECK(load(ok, ES, M::kConforming | 3) == "none");
  CHECK(ok.cpu.s.seg[ES].selector == (M::kConforming | 3));
  CHECK(ok.cpu.s.seg[ES].limit == 0xFFFFFFFF);

  M rpl;
  rpl.protected32(0);
  CHECK(load(rpl, FS, M::kData0 | 3) == "#GP(0x10)");
  CHECK(rpl.last_reason() == "data segment 0x13 has DPL 0 < the selector's RPL 3");
}

TEST_CASE("type comes before privilege, and privilege before presence") {
  const auto fault = [](u8 access, unsigned cpl, SegReg seg) {
    M m;
    m.protected32(cpl);
    m.set_gdt(M::kFree, descriptor(0, 0xFFFFF, access, 12));
    return load(m, seg, static_cast<u16>(M::kFree | cpl));
  };
  CHECK(fault(0x18, 0, DS) == "#GP(0x70)");  // execute-only and not present
  CHECK(fault(0x12, 3, DS) == "#GP(0x70)");  // not present, DPL 0
  CHECK(fault(0x12, 0, DS) == "#NP(0x70)");
  CHECK(fault(0x12, 0, SS) == "#SS(0x70)");
  CHECK(fault(0x10, 0, SS) == "#GP(0x70)");  // read-only, not present
  CHECK(fault(0x90, 0, SS) == "#GP(0x70)");
  CHECK(fault(0x90, 0, DS) == "none");
  CHECK(fault(0x82, 0, DS) == "#GP(0x70)");  // an LDT
}

TEST_CASE("SS needs RPL = DPL = CPL") {
  M m;
  m.protected32(0);
  CHECK(load(m, SS, M::kData3 & ~3) == "#GP(0x20)");
  M n;
  n.protected32(0);
  CHECK(load(n, SS, M::kData0 | 1) == "#GP(0x10)");
}

TEST_CASE("a selector beyond its table is #GP with the selector, the LDT's with TI") {
  M m;
  m.protected32(0);
  CHECK(load(m, DS, 0x100) == "#GP(0x100)");
  CHECK(m.last_reason() == "selector 0x100 is beyond the GDT's limit 0xff");
  M n;
  n.protected32(0);
  CHECK(load(n, DS, 0x0C) == "#GP(0xc)");
  CHECK(n.last_reason() == "selector 0xc is in the LDT, and LDTR is null");
}

TEST_CASE("a segment of the LDT") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, descriptor(M::kLdt, 0x0F, 0x82, 0));
  m.write<u64>(M::kLdt + 8, descriptor(0x1234, 0x10, 0x92, 0));
  m.cpu.s.gpr[RCX] = M::kFree;
  m.run({0x0F, 0x00, 0xD1});  // lldt cx
  CHECK(load(m, DS, 0x0C) == "none");
  CHECK(m.cpu.s.seg[DS].base == 0x1234);
  CHECK(m.cpu.s.seg[DS].limit == 0x10);
  CHECK(load(m, DS, 0x14) == "#GP(0x14)");
}

TEST_CASE("a null selector: loads into DS, faults when used; never into SS outside 64-bit mode") {
  M m;
  m.protected32(0);
  CHECK(load(m, DS, 3) == "none");
  CHECK(m.cpu.s.seg[DS].selector == 3);
  m.run({0xA1, 0, 0, 0, 0});  // mov eax, [0]
  CHECK(m.last_fault() == "#GP(0x0)");
  M n;
  n.protected32(0);
  CHECK(load(n, SS, 0) == "#GP(0x0)");
}

TEST_CASE("64-bit mode: a null SS at CPL < 3 with RPL = CPL only") {
  M m;
  m.long64(0);
  CHECK(load(m, SS, 0) == "none");
  M n;
  n.long64(0);
  CHECK(load(n, SS, 3) == "#GP(0x0)");
  M u;
  u.long64(3);
  CHECK(load(u, SS, 3) == "#GP(0x0)");
  M c;
  c.long64(0, true);
  CHECK(load(c, SS, 0) == "#GP(0x0)");
}

TEST_CASE("a null selector in FS clears its base, as on Intel's processors") {
  M m;
  m.long64(3);
  m.cpu.s.seg[FS].base = 0x123456789;
  m.cpu.refresh();
  CHECK(load(m, FS, 0) == "none");
  CHECK(m.cpu.s.seg[FS].base == 0);
}

TEST_CASE("the accessed bit is written when it is 0") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, descriptor(0, 0xFFFFF, 0x92, 12));
  CHECK(load(m, DS, M::kFree) == "none");
  CHECK(m.gdt(M::kFree) == descriptor(0, 0xFFFFF, 0x93, 12));
  CHECK((m.cpu.s.seg[DS].rights & kRightsAccessed) != 0);
}

TEST_CASE("a read-only GDT: loads of accessed segments work, others page-fault and change nothing") {
  M m;
  m.long64(0);
  // The first 2 MiB in 4 KiB pages, the GDT's one read-only.
  constexpr u64 kPt = M::kTables + 0x8000;
  for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | (n == M::kGdt >> 12 ? 5 : 7));
  m.write<u64>(M::kTables + 0x2000, kPt | 7);
  m.write<u64>(M::kGdt + M::kFree, descriptor(0, 0xFFFFF, 0x92, 12));
  CHECK(load(m, DS, M::kData0) == "none");
  CHECK(load(m, DS, M::kFree) == "#PF(0x3)");
  CHECK(m.cpu.s.cr2 == M::kGdt + M::kFree + 5);
  CHECK(m.cpu.s.seg[DS].selector == M::kData0);
}

TEST_CASE("expand-down: valid above the limit, up to 64 KiB or 4 GiB") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, descriptor(0, 0x0FFF, 0x97, 0));
  CHECK(load(m, DS, M::kFree) == "none");
  m.run({0xA0, 0x00, 0x10, 0, 0});  // mov al, [0x1000]
  m.run({0xA0, 0xFF, 0xFF, 0, 0});
  CHECK(m.last_fault() == "none");
  SUBCASE("at the limit") { m.run({0xA0, 0xFF, 0x0F, 0, 0}); }
  SUBCASE("above 64 KiB with B = 0") { m.run({0xA0, 0x00, 0x00, 1, 0}); }
  SUBCASE("across 64 KiB") { m.run({0xA1, 0xFE, 0xFF, 0, 0}); }
  CHECK(m.last_fault() == "#GP(0x0)");
}

TEST_CASE("MOV to CS and to registers 6 and 7 is #UD") {
  for (const u8 reg : {1, 6, 7}) {
    M m;
    m.protected32(0);
    m.run({0x8E, static_cast<u8>(0xC0 | reg << 3)});
    CHECK(m.last_fault() == "#UD");
  }
}

TEST_CASE("MOV from a segment register: 16 bits to memory and 16-bit registers, zero-extended to wider ones") {
  M m;
  m.protected32(0);
  m.cpu.s.gpr[RAX] = m.cpu.s.gpr[RCX] = 0xAAAAAAAA;
  m.write<u32>(0x7000, 0xFFFFFFFF);
  m.run({0x8C, 0xD8});                          // mov eax, ds
  m.run({0x66, 0x8C, 0xD9});                    // mov cx, ds
  m.run({0x8C, 0x1D, 0x00, 0x70, 0x00, 0x00});  // mov [0x7000], ds
  CHECK(m.cpu.s.gpr[RAX] == M::kData0);
  CHECK(m.cpu.s.gpr[RCX] == (0xAAAA0000 | M::kData0));
  CHECK(m.read<u32>(0x7000) == (0xFFFF0000 | M::kData0));
}

TEST_CASE("POP SS moves the pointer by the old stack's width") {
  M m;
  m.protected32(0);
  m.push(M::kData16, 4);
  m.cpu.s.gpr[RSP] = 0x1FFFC;
  m.run({0x17});
  CHECK(m.cpu.s.seg[SS].selector == M::kData16);
  CHECK(m.cpu.s.gpr[RSP] == 0x20000);
  CHECK(m.cpu.s.mov_ss_shadow);
}

TEST_CASE("a POP of a bad selector leaves the stack pointer alone") {
  M m;
  m.protected32(0);
  m.push(0x100, 4);
  m.code({0x1F});
  m.run();
  CHECK(m.last_fault() == "#GP(0x100)");
  CHECK(m.stack(1, 4) == M::kCode);                // the frame: error code, EIP
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0 - 4 - 16);  // below the selector
}

TEST_CASE("LDS loads the register only when the segment is good") {
  M m;
  m.protected32(0);
  m.cpu.s.gpr[RBX] = 7;
  m.write<u32>(0x7000, 0x12345678);
  m.write<u16>(0x7004, M::kFree);
  m.run({0xC5, 0x1D, 0x00, 0x70, 0x00, 0x00});  // lds ebx, [0x7000]
  CHECK(m.last_fault() == "#GP(0x70)");
  CHECK(m.cpu.s.gpr[RBX] == 7);
  M n;
  n.protected32(0);
  n.write<u32>(0x7000, 0x12345678);
  n.write<u16>(0x7004, M::kData3);
  n.run({0xC5, 0x1D, 0x00, 0x70, 0x00, 0x00});
  CHECK(n.cpu.s.gpr[RBX] == 0x12345678);
  CHECK(n.cpu.s.seg[DS].selector == M::kData3);
}

TEST_CASE("real mode loads the base and keeps the limit: unreal mode") {
  M m;
  m.protected32(0);
  m.real();
  m.cpu.s.seg[DS].limit = 0xFFFFFFFF;
  m.cpu.refresh();
  CHECK(load(m, DS, 0x1234) == "none");
  CHECK(m.cpu.s.seg[DS].base == 0x12340);
  CHECK(m.cpu.s.seg[DS].limit == 0xFFFFFFFF);
}

TEST_CASE("v86 mode sets the whole hidden part") {
  M m;
  m.v86(3);
  CHECK(load(m, DS, 0x1234) == "none");
  CHECK(m.cpu.s.seg[DS].base == 0x12340);
  CHECK(m.cpu.s.seg[DS].limit == 0xFFFF);
  CHECK(m.cpu.s.seg[DS].dpl() == 3);
}

TEST_CASE("LTR marks the TSS busy, and takes no busy one") {
  M m;
  m.protected32(0);
  m.set_gdt(M::kFree, descriptor(0x6000, 0x67, 0x89, 0));
  m.cpu.s.gpr[RAX] = M::kFree;
  m.run({0x0F, 0x00, 0xD8});
  CHECK(m.last_fault() == "none");
  CHECK(m.gdt(M::kFree) == descriptor(0x6000, 0x67, 0x8B, 0));
  CHECK(m.cpu.s.tr.base == 0x6000);
  m.run({0x0F, 0x00, 0xD8});
  CHECK(m.last_fault() == "#GP(0x70)");
}

TEST_CASE("long mode: system descriptors have 16 bytes, and a non-canonical base is #GP") {
  const auto ltr = [](u64 upper) {
    M m;
    m.long64(0);
    m.set_gdt(M::kFree, descriptor(0x6000, 0x67, 0x89, 0));
    m.set_gdt(M::kFree + 8, upper);
    m.cpu.s.gpr[RAX] = M::kFree;
    m.run({0x0F, 0x00, 0xD8});
    return m.last_fault() == "none" ? fmt::format("{:#x}", m.cpu.s.tr.base) : m.last_fault();
  };
  CHECK(ltr(0xFFFF8000) == "0xffff800000006000");
  CHECK(ltr(0x80000000) == "#GP(0x70)");
  CHECK(ltr(0x1F0000000000) == "#GP(0x70)");

  M end;
  end.long64(0);
  end.cpu.s.gdtr.limit = 0x77;
  end.set_gdt(M::kFree, descriptor(0x6000, 0x67, 0x89, 0));
  end.cpu.s.gpr[RAX] = M::kFree;
  end.run({0x0F, 0x00, 0xD8});
  CHECK(end.last_fault() == "#GP(0x70)");
}

TEST_CASE("LLDT: null is fine, a TSS isn't, absence is #NP") {
  const auto lldt = [](u16 selector, u8 access) {
    M m;
    m.protected32(0);
    m.set_gdt(M::kFree, descriptor(0x6000, 0x67, access, 0));
    m.cpu.s.gpr[RAX] = selector;
    m.run({0x0F, 0x00, 0xD0});
    return m.last_fault();
  };
  CHECK(lldt(0, 0x82) == "none");
  CHECK(lldt(M::kFree, 0x82) == "none");
  CHECK(lldt(M::kFree, 0x89) == "#GP(0x70)");
  CHECK(lldt(M::kFree, 0x02) == "#NP(0x70)");
  CHECK(lldt(M::kFree | 4, 0x82) == "#GP(0x74)");
}

TEST_CASE("LAR, LSL, VERR and VERW change ZF only") {
  M m;
  m.protected32(3);
  m.cpu.s.flags.set_value(kCF | kOF | kSF | kPF | kAF);
  const auto zf = [&](std::initializer_list<u8> bytes, u16 selector) {
    m.cpu.s.gpr[RAX] = selector;
    m.run(bytes);
    CHECK(m.last_fault() == "none");
    CHECK(m.cpu.s.flags.cf());
    CHECK(m.cpu.s.flags.of());
    CHECK(m.cpu.s.flags.sf());
    CHECK(m.cpu.s.flags.pf());
    CHECK(m.cpu.s.flags.af());
    return m.cpu.s.flags.zf();
  };
  CHECK(zf({0x0F, 0x02, 0xC8}, M::kData3));  // lar ecx, eax
  CHECK(m.cpu.s.gpr[RCX] == 0x00CFF300);
  CHECK(zf({0x0F, 0x03, 0xC8}, M::kData3));  // lsl ecx, eax
  CHECK(m.cpu.s.gpr[RCX] == 0xFFFFFFFF);
  m.cpu.s.gpr[RCX] = 5;
  CHECK(!zf({0x0F, 0x02, 0xC8}, M::kData0));
  CHECK(!zf({0x0F, 0x03, 0xC8}, 0));
  CHECK(!zf({0x0F, 0x03, 0xC8}, 0x100));
  CHECK(m.cpu.s.gpr[RCX] == 5);
  CHECK(zf({0x0F, 0x02, 0xC8}, M::kConforming | 3));
  CHECK(zf({0x0F, 0x00, 0xE0}, M::kData3));   // verr ax
  CHECK(zf({0x0F, 0x00, 0xE8}, M::kData3));   // verw ax
  CHECK(zf({0x0F, 0x00, 0xE0}, M::kCode3));   // readable code
  CHECK(!zf({0x0F, 0x00, 0xE8}, M::kCode3));  // never writable
  CHECK(!zf({0x0F, 0x00, 0xE0}, M::kData0));
}

TEST_CASE("ARPL raises the RPL and says so in ZF") {
  M m;
  m.protected32(3);
  m.cpu.s.gpr[RAX] = 0x10;
  m.cpu.s.gpr[RCX] = 0x0B;
  m.run({0x63, 0xC8});  // arpl ax, cx
  CHECK(m.cpu.s.gpr[RAX] == 0x13);
  CHECK(m.cpu.s.flags.zf());
  m.run({0x63, 0xC8});
  CHECK(!m.cpu.s.flags.zf());
}

TEST_CASE("SLDT, LAR and their kin are #UD in real and v86 mode") {
  for (const bool v86 : {false, true}) {
    M m;
    if (v86) m.v86(3);
    else m.real();
    m.code({0x0F, 0x00, 0xC0});
    m.run();
    CHECK(m.handling() == 6);
  }
}

TEST_CASE("UMIP keeps SLDT and STR from ring 3") {
  M m;
  m.protected32(3);
  m.run({0x0F, 0x00, 0xC8});  // str eax
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.gpr[RAX] == M::kTssSelector);
  m.cpu.s.cr4 |= kCr4Umip;
  m.run({0x0F, 0x00, 0xC8});
  CHECK(m.last_fault() == "#GP(0x0)");
}
