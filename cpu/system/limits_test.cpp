// What a segment's limit and type mean for an access, in every mode: the last byte counts, #SS or #GP, where addresses
// wrap, and what 64-bit mode ignores. Refs: SDM 3A 5.3, "Limit Checking"; 5.4; 3.4.4, "Segment Loading Instructions in
// IA-32e Mode".
#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;
using test::descriptor;
using M = test::TestMachine;

namespace {

/// The fault that loading four bytes at [seg:offset] delivers, or "none".
std::string load_at(M& m, SegReg seg, u64 offset, unsigned size = 4) {
  try {
    u8 bytes[8];
    m.cpu.load_bytes(seg, offset, bytes, size);
  } catch (const Fault& f) {
    return std::string(name_of(f.vector)) + (f.has_error_code ? "(" + std::to_string(f.error_code) + ")" : "");
  }
  return "none";
}

void use(M& m, SegReg seg, u64 raw) {
  m.set_gdt(M::kFree, raw);
  m.set_segment(seg, M::kFree);
}

}  // namespace

TEST_CASE("the last byte of an access is checked against the limit, which G = 1 makes end in FFF") {
  M m;
  m.protected32(0);
  use(m, DS, descriptor(0, 0x12, 0x93, 4));  // in bytes
  CHECK(load_at(m, DS, 0x0F) == "none");
  CHECK(load_at(m, DS, 0x10) == "#GP(0)");
  CHECK(load_at(m, DS, 0x12, 1) == "none");
  CHECK(load_at(m, DS, 0x13, 1) == "#GP(0)");
  use(m, DS, descriptor(0, 0x12, 0x93, 12));  // in pages: 0x12FFF
  CHECK(m.cpu.s.seg[DS].limit == 0x12FFF);
  CHECK(load_at(m, DS, 0x12FFC) == "none");
  CHECK(load_at(m, DS, 0x12FFD) == "#GP(0)");
  use(m, DS, descriptor(0, 0, 0x93, 12));  // G = 1 and L = 0: one page, not nothing
  CHECK(load_at(m, DS, 0xFFC) == "none");
  CHECK(load_at(m, DS, 0xFFD) == "#GP(0)");
  CHECK(load_at(m, DS, 0xFFFFFFFE) == "#GP(0)");
}

TEST_CASE("a violation through SS is #SS(0), through any other register #GP(0), whichever the instruction's base is") {
  M m;
  m.protected32(0);
  use(m, SS, descriptor(0, 0xFFF, 0x93, 4));
  CHECK(load_at(m, SS, 0x1000, 1) == "#SS(0)");
  m.set_segment(DS, M::kFree);
  m.cpu.s.gpr[RBP] = 0x2000;
  const auto fault_of = [&](std::initializer_list<u8> code) {
    m.set_segment(CS, M::kCode0);
    m.cpu.s.rip = M::kCode;
    m.cpu.s.gpr[RSP] = 0x800;
    m.run(code);
    return m.last_fault();
  };
  CHECK(fault_of({0x8B, 0x45, 0x00}) == "#SS(0x0)");              // mov eax, [ebp]: SS by default
  CHECK(fault_of({0x3E, 0x8B, 0x45, 0x00}) == "#GP(0x0)");        // mov eax, ds:[ebp]
  CHECK(fault_of({0xA1, 0x00, 0x20, 0, 0}) == "#GP(0x0)");        // mov eax, [0x2000]
  CHECK(fault_of({0x36, 0xA1, 0x00, 0x20, 0, 0}) == "#SS(0x0)");  // mov eax, ss:[0x2000]
}

TEST_CASE("types are checked before limits, and both are ignored in 64-bit mode") {
  M m;
  m.protected32(0);
  use(m, DS, descriptor(0x1000, 0xF, 0x91, 4));  // read-only
  CHECK(load_at(m, DS, 0) == "none");
  m.run({0xC6, 0x05, 0, 0, 0, 0, 1});
  CHECK(m.last_reason().find("write through the read-only data segment 0x70") != std::string::npos);
  m.long64(0);
  use(m, DS, descriptor(0x1000, 0xF, 0x91, 4));
  m.write<u8>(0x40000, 0);
  m.cpu.s.gpr[RBX] = 0x40000;
  const u64 faults = m.cpu.faults_delivered();
  m.run({0xC6, 0x03, 0x5A});  // mov byte [rbx], 0x5A
  CHECK(m.cpu.faults_delivered() == faults);
  CHECK(m.read<u8>(0x40000) == 0x5A);  // no base, no limit, no type
}

TEST_CASE("hidden parts that 64-bit mode ignored are back in compatibility mode") {
  M m;
  m.long64(0);
  m.set_gdt(M::kFree, descriptor(0x40000, 0xF, 0x93, 4));
  m.cpu.s.gpr[RAX] = M::kFree;
  m.run({0x8E, 0xD8});  // mov ds, eax in 64-bit mode
  m.push(M::kCode0, 8);
  m.push(0x8500, 8);
  m.run({0x48, 0xCB});
  CHECK(!m.cpu.bits64());
  m.write<u8>(0x4000F, 0x5A);
  m.run({0xA0, 0x0F, 0, 0, 0});
  CHECK(static_cast<u8>(m.cpu.s.gpr[RAX]) == 0x5A);
  m.run({0xA0, 0x10, 0, 0, 0});
  CHECK(m.last_fault() == "#GP(0x0)");
}

TEST_CASE("compatibility mode: linear addresses wrap at 4 GiB, base and bytes of an access alike") {
  M m;
  m.long64(0, true);
  use(m, DS, descriptor(0xFFFFFFF0, 0xFFFFF, 0x93, 12));
  // The last 2 MiB below 4 GiB are mapped to 2 MiB in RAM.
  m.write<u64>(M::kTables + 0x5000 + 8 * 511, 0x200087);
  m.cpu.refresh();
  m.write<u32>(0x10, 0x12345678);
  m.run({0xA1, 0x20, 0, 0, 0});  // base + 0x20 is 4 GiB + 0x10
  CHECK(static_cast<u32>(m.cpu.s.gpr[RAX]) == 0x12345678);
  m.write<u16>(0x3FFFFE, 0xBBAA);
  m.write<u16>(0, 0xDDCC);
  m.run({0xA1, 0x0E, 0, 0, 0});  // two bytes on each side
  CHECK(static_cast<u32>(m.cpu.s.gpr[RAX]) == 0xDDCCBBAA);
  m.cpu.s.gpr[RAX] = 0x44332211;
  m.run({0xA3, 0x0E, 0, 0, 0});
  CHECK(m.read<u16>(0x3FFFFE) == 0x2211);
  CHECK(m.read<u16>(0) == 0x4433);
}

TEST_CASE("64-bit mode: a non-canonical address is #GP(0), or #SS(0) by a stack register as the base") {
  M m;
  m.long64(0);
  const u64 faults = m.cpu.faults_delivered();
  const auto fault_of = [&](std::initializer_list<u8> code) {
    m.long64(0);
    m.cpu.s.gpr[RBX] = 0x0000800000000000;
    m.cpu.s.gpr[RBP] = 0x0000800000000000;
    m.cpu.s.gpr[R13] = 0x0000800000000000;
    m.run(code);
    return m.last_fault();
  };
  CHECK(fault_of({0x48, 0x8B, 0x03}) == "#GP(0x0)");              // [rbx]
  CHECK(fault_of({0x48, 0x8B, 0x45, 0x00}) == "#SS(0x0)");        // [rbp]
  CHECK(fault_of({0x49, 0x8B, 0x45, 0x00}) == "#GP(0x0)");        // [r13]: no stack register
  CHECK(fault_of({0x3E, 0x48, 0x8B, 0x45, 0x00}) == "#SS(0x0)");  // the DS prefix means nothing here
  CHECK(fault_of({0x64, 0x48, 0x8B, 0x45, 0x00}) == "#GP(0x0)");  // fs:[rbp]
  CHECK(fault_of({0x48, 0x8B, 0x5B, 0xFD}) == "#GP(0x0)");        // the last byte of eight at ...FFFD
  CHECK(m.cpu.faults_delivered() == faults + 6);
  m.long64(0);
  m.set_idt64(12, M::kCode64, M::handler(12), 0x8E, 1);
  m.cpu.s.gpr[RSP] = 0x0000800000000004;
  m.run({0x50});
  CHECK(m.last_fault() == "#SS(0x0)");
}

TEST_CASE("64-bit mode still checks the limits of the GDT, the LDT and the IDT") {
  M m;
  m.long64(0);
  m.set_gdt(M::kFree, descriptor(0, 0xFFFFF, 0x93, 12));
  m.cpu.s.gdtr.limit = M::kFree + 6;  // all of it but a byte
  m.cpu.s.gpr[RAX] = M::kFree;
  m.run({0x8E, 0xD8});
  CHECK(m.last_fault() == "#GP(0x70)");
  m.long64(0);
  m.cpu.s.gdtr.limit = M::kGdtLimit;
  m.cpu.s.ldtr = {M::kLdt, 6, 0x82, 0x78};
  m.write<u64>(M::kLdt, descriptor(0, 0xFFFFF, 0x93, 12));
  m.cpu.s.gpr[RAX] = 4;
  m.run({0x8E, 0xD8});
  CHECK(m.last_fault() == "#GP(0x4)");
  m.long64(0);
  m.cpu.s.idtr.limit = 0x41 * 16 - 2;
  m.run({0xCD, 0x40});
  CHECK(m.last_fault() == "#GP(0x202)");
}

TEST_CASE("64-bit mode still checks the TSS: its limit and its I/O bitmap") {
  M m;
  m.long64(3);
  m.write<u16>(M::kTss + 0x66, 0x68);
  m.write<u8>(M::kTss + 0x68 + 0x80 / 8, 0);
  m.write<u8>(M::kTss + 0x69 + 0x80 / 8, 0);
  m.run({0xE6, 0x80});
  CHECK(m.last_fault() == "none");
  m.write<u8>(M::kTss + 0x68 + 0x80 / 8, 1);
  m.run({0xE6, 0x80});
  CHECK(m.last_fault() == "#GP(0x0)");
  m.long64(3);
  m.cpu.s.tr.limit = 7;  // RSP0 needs bytes 4 to 11
  m.run({0x0F, 0x0B});
  CHECK(m.last_fault() == "#TS(0x51)");  // for #UD, for #TS and for #DF
  CHECK(m.platform.shut_down);
}

TEST_CASE("a base loaded by a selector is zero-extended into FS, whatever was there") {
  M m;
  m.long64(0);
  m.set_gdt(M::kFree, descriptor(0x80001000, 0xFFFFF, 0x93, 12));
  m.cpu.s.seg[FS].base = 0xFFFF888000000000;
  m.cpu.s.gpr[RAX] = M::kFree;
  m.run({0x8E, 0xE0});
  CHECK(m.cpu.s.seg[FS].base == 0x80001000);
}

TEST_CASE("the stack pointer of a 16-bit stack wraps within 64 KiB: SP alone moves") {
  M m;
  m.protected32(0);
  m.set_segment(SS, M::kData16);
  m.cpu.s.gpr[RSP] = 0xABCD0000;
  m.run({0x66, 0x50});  // push ax
  CHECK(m.cpu.s.gpr[RSP] == 0xABCDFFFE);
  m.run({0x66, 0x58});
  CHECK(m.cpu.s.gpr[RSP] == 0xABCD0000);
  m.cpu.s.gpr[RSP] = 0xABCD0002;
  m.run({0x50});  // push eax: FFFE to 10001 is not one piece of the segment
  REQUIRE(m.cpu.faults_delivered() > 0);
  CHECK(m.cpu.recent_faults()[0].fault.vector == Vector::SS);
  CHECK(m.cpu.recent_faults()[0].fault.reason.text() == "offset 0x10001 beyond the limit 0xffff of segment 0x30");
}

TEST_CASE("LTR writes the busy bit into a GDT that must be writable, loads of accessed segments don't") {
  M m;
  m.long64(0);
  constexpr u64 kPt = M::kTables + 0x8000;
  for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | (n == M::kGdt >> 12 ? 1 : 3));
  m.set_gdt(M::kFree, descriptor(M::kTss, 0xFFF, 0x89, 0));
  m.set_gdt(M::kFree + 8, 0);
  m.write<u64>(M::kTables + 0x2000, kPt | 3);
  m.cpu.refresh();
  m.cpu.s.gpr[RAX] = M::kData0;
  m.run({0x8E, 0xD8});
  CHECK(m.last_fault() == "none");
  m.cpu.s.gpr[RAX] = M::kFree;
  m.run({0x0F, 0x00, 0xD8});
  CHECK(m.last_fault() == "#PF(0x3)");
  CHECK(m.cpu.s.tr.selector == M::kTssSelector);
}
