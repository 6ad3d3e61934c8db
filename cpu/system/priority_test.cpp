// Which of several faults an instruction raises. SDM 3A, Table 6-2 "Priority Among Concurrent Events": code
// breakpoints, then fetching (limit before page), then decoding (length, #UD, #NM), then executing.
#include <doctest/doctest.h>

#include "cpu/system/debug.h"
#include "cpu/system/test_machine.h"

using namespace callgate;
using test::descriptor;
using M = test::TestMachine;

namespace {

constexpr u64 kPt = M::kTables + 0x8000;
constexpr u64 kMissing = 0x41000;  ///< the only page that is not present
constexpr u64 kBefore = kMissing - 0x1000;

/// Long mode with 4 KiB pages below 2 MiB, all for everybody but kMissing.
void long_with_gap(M& m, unsigned cpl = 0, bool compatibility = false) {
  for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | (n << 12 == kMissing ? 0 : 7));
  m.long64(cpl, compatibility);
  m.write<u64>(M::kTables + 0x2000, kPt | 7);
  m.cpu.s.cr4 |= kCr4Osxmmexcpt;
  m.cpu.refresh();
}

/// Puts code at `at`, which may be in the last bytes before the gap, and runs it.
void run_at(M& m, u64 at, std::initializer_list<u8> bytes) {
  m.cpu.s.rip = at;
  u64 to = at;
  for (const u8 b : bytes) m.write<u8>(to++, b);
  m.run(1);
}

}  // namespace

TEST_CASE("an instruction across two pages faults at the second page's first byte, and resumes when it is there") {
  M m;
  long_with_gap(m, 3);
  run_at(m, kMissing - 2, {0xB8, 1, 2, 3, 4});  // mov eax, imm32
  CHECK(m.last_fault() == "#PF(0x14)");
  CHECK(m.cpu.s.cr2 == kMissing);
  CHECK(m.stack(1, 8) == kMissing - 2);
  CHECK(m.cpu.s.gpr[RAX] == 0);
  m.write<u64>(kPt + 8 * (kMissing >> 12), kMissing | 7);
  m.long64(3);
  m.write<u64>(M::kTables + 0x2000, kPt | 7);
  m.cpu.s.rip = kMissing - 2;
  m.run(1);
  CHECK(m.cpu.s.gpr[RAX] == 0x04030201);
  // The same address, now with another page behind it.
  m.write<u64>(kPt + 8 * (kMissing >> 12), (kMissing + 0x10000) | 7);
  m.write<u8>(kMissing + 0x10000, 0x77);
  m.cpu.refresh();
  m.cpu.s.rip = kMissing - 2;
  m.run(1);
  CHECK(m.cpu.s.gpr[RAX] == 0x7701);
}

TEST_CASE("an instruction that ends with its page needs nothing of the next") {
  M m;
  long_with_gap(m);
  run_at(m, kMissing - 5, {0xB8, 1, 2, 3, 4});
  CHECK(m.last_fault() == "none");
  CHECK(m.cpu.s.rip == kMissing);
  m.run(1);
  CHECK(m.last_fault() == "#PF(0x10)");
  // Nor does an invalid one that is known to be invalid by its first bytes.
  long_with_gap(m);
  run_at(m, kMissing - 2, {0x0F, 0x0B});
  CHECK(m.last_fault() == "#UD");
}

TEST_CASE("15 bytes are the most: prefixes without end are #GP, or #PF where the next page is missing first") {
  M m;
  long_with_gap(m);
  m.cpu.s.rip = kBefore;
  for (u64 n = 0; n < 0x1000; n++) m.write<u8>(kBefore + n, 0x66);
  m.run(1);
  CHECK(m.last_fault() == "#GP(0x0)");
  long_with_gap(m);
  m.cpu.s.rip = kMissing - 15;
  m.run(1);
  CHECK(m.last_fault() == "#GP(0x0)");
  long_with_gap(m);
  m.cpu.s.rip = kMissing - 14;
  m.run(1);
  CHECK(m.last_fault() == "#PF(0x10)");
}

TEST_CASE("a code breakpoint comes before everything that its instruction raises") {
  M m;
  long_with_gap(m);
  m.cpu.s.dr[0] = kMissing;
  m.cpu.s.dr7 = 0x401;
  m.cpu.refresh();
  m.cpu.s.rip = kMissing;
  m.run(1);
  CHECK(m.last_fault() == "#DB");
}

TEST_CASE("the code segment's limit comes before a missing page, for the first byte and for a later one") {
  M m;
  long_with_gap(m, 0, true);
  m.set_gdt(M::kFree, descriptor(0, kMissing - 1, 0x9B, 4));
  m.set_segment(CS, M::kFree);
  run_at(m, kMissing, {});
  CHECK(m.last_fault() == "#GP(0x0)");
  m.set_segment(CS, M::kFree);
  m.cpu.refresh();
  run_at(m, kMissing - 2, {0xB8, 1});
  CHECK(m.last_fault() == "#GP(0x0)");
  CHECK(m.last_reason().find("limit") != std::string::npos);
}

TEST_CASE("#UD comes before every fault of executing: the operand's, the privilege's, #NM") {
  M m;
  const auto fault_of = [&](std::initializer_list<u8> code, unsigned cpl = 0) {
    long_with_gap(m, cpl);
    m.cpu.s.gpr[RBX] = kMissing;
    m.run(code);
    return m.last_fault();
  };
  CHECK(fault_of({0xF0, 0x8B, 0x03}) == "#UD");              // lock mov eax, [missing]
  CHECK(fault_of({0x0F, 0x20, 0xC8}, 3) == "#UD");           // mov rax, cr1 in ring 3
  CHECK(fault_of({0x0F, 0x20, 0xC0}, 3) == "#GP(0x0)");      // mov rax, cr0 in ring 3
  CHECK(fault_of({0x0F, 0x01, 0x13}, 3) == "#GP(0x0)");      // lgdt [missing] in ring 3
  CHECK(fault_of({0x0F, 0x01, 0x13}) == "#PF(0x0)");
  CHECK(fault_of({0x8E, 0x0B}) == "#UD");                    // mov cs, [missing]
  CHECK(fault_of({0x0F, 0x00, 0x1B}, 3) == "#GP(0x0)");      // ltr [missing] in ring 3
  m.cpu.s.cr0 |= kCr0Ts | kCr0Em;
  const auto sse = [&](u64 cr0, u64 cr4_without) {
    long_with_gap(m);
    m.cpu.s.cr0 |= cr0;
    m.cpu.s.cr4 &= ~cr4_without;
    m.cpu.s.gpr[RBX] = kMissing + 1;
    m.cpu.refresh();
    m.run({0x0F, 0x58, 0x03});  // addps xmm0, [rbx]: misaligned and missing
    return m.last_fault();
  };
  CHECK(sse(kCr0Ts, kCr4Osfxsr) == "#UD");
  CHECK(sse(kCr0Ts | kCr0Em, 0) == "#UD");
  CHECK(sse(kCr0Ts, 0) == "#NM");
  CHECK(sse(0, 0) == "#GP(0x0)");  // alignment before the page
}

TEST_CASE("segment checks come before page faults, and a division's operand before #DE") {
  M m;
  long_with_gap(m, 0, true);
  m.set_gdt(M::kFree, descriptor(0, 0xFFF, 0x93, 4));
  m.set_segment(DS, M::kFree);
  m.run({0xA1, 0x00, 0x10, 0x04, 0x00});  // mov eax, [kMissing]
  CHECK(m.last_fault() == "#GP(0x0)");
  long_with_gap(m);
  m.cpu.s.gpr[RBX] = kMissing;
  m.run({0xF7, 0x33});  // div dword [missing]
  CHECK(m.last_fault() == "#PF(0x0)");
}

TEST_CASE("an access over two missing pages reports the first byte that cannot be reached") {
  M m;
  long_with_gap(m);
  m.cpu.s.gpr[RBX] = kMissing - 4;
  m.run({0x48, 0x8B, 0x03});
  CHECK(m.cpu.s.cr2 == kMissing);
  long_with_gap(m);
  m.cpu.s.gpr[RBX] = kMissing + 0xFFC;
  m.run({0x48, 0x8B, 0x03});
  CHECK(m.cpu.s.cr2 == kMissing + 0xFFC);
}

TEST_CASE("a trap comes before an NMI, an NMI before an interrupt, an interrupt before the next instruction's faults") {
  M m;
  long_with_gap(m);
  m.cpu.s.flags.assign(kIF, true);
  m.cpu.s.rip = kMissing;
  m.platform.interrupt = true;
  m.run(1);
  CHECK(m.cpu.faults_delivered() == 0);
  CHECK(m.handling() == 0x30);
  long_with_gap(m);
  m.cpu.s.flags.assign(kIF, true);
  m.cpu.s.rip = kMissing;
  m.platform.interrupt = true;
  m.cpu.s.nmi_pending = true;
  m.run(1);
  CHECK(m.handling() == 2);
  CHECK(m.platform.interrupt);
}
