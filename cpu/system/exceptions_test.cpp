#include <doctest/doctest.h>

#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::descriptor;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;

std::string chain(const M& m) {
  std::string text;
  for (const FaultRecord& r : m.cpu.recent_faults()) {
    if (!text.empty()) text += ", ";
    text += name_of(r.fault.vector);
  }
  return text;
}

/// Makes the handler of `vector` unreachable, in the given way.
void break_gate(M& m, unsigned vector, Vector with) {
  switch (with) {
    case Vector::NP: m.set_idt(vector, M::kCode0, 0, 0x0E); break;
    default: m.set_idt(vector, M::kData0, 0, 0x8E);
  }
}
}  // namespace

TEST_CASE("a fault pushes its instruction's address, RF in the image, and the error code") {
  M m;
  m.protected32(0);
  m.run({0x8E, 0xD8});  // mov ds, ax
  m.cpu.s.gpr[RAX] = 0x100;
  m.run({0x8E, 0xD8});
  CHECK(m.handling() == 13);
  CHECK(m.stack(0, 4) == 0x100);
  CHECK(m.stack(1, 4) == M::kCode + 2);
  CHECK((m.stack(3, 4) & kRF) != 0);
  CHECK(!m.cpu.s.flags.test(kRF));
}

TEST_CASE("a page fault sets CR2 and pushes the access in its error code") {
  M m;
  m.long64(3);
  m.write<u64>(M::kTables + 0x1000 + 8 * 3, 0);       // the fourth GiB is missing
  m.run({0xA2, 0x10, 0x00, 0x00, 0xC0, 0, 0, 0, 0});  // mov [0xC0000010], al
  CHECK(m.last_fault() == "#PF(0x6)");
  CHECK(m.cpu.s.cr2 == 0xC0000010);
  CHECK(m.stack(0, 8) == 6);
}

TEST_CASE("two contributory faults make a double fault") {
  M m;
  m.protected32(0);
  break_gate(m, 13, Vector::NP);
  m.cpu.s.gpr[RAX] = 0x100;
  m.run({0x8E, 0xD8});
  CHECK(m.handling() == 8);
  CHECK(chain(m) == "#GP, #NP, #DF");
  CHECK(m.stack(0, 4) == 0);
  CHECK(m.stack(1, 4) == M::kCode);
}

TEST_CASE("a benign exception first: the second fault is simply delivered") {
  M m;
  m.protected32(0);
  break_gate(m, 6, Vector::GP);
  m.run({0x0F, 0x0B});
  CHECK(m.handling() == 13);
  CHECK(chain(m) == "#UD, #GP");
}

TEST_CASE("a contributory fault, then a page fault: the page fault is delivered; two page faults are a double fault") {
  M m;
  m.long64(3);
  m.write<u64>(M::kTables + 0x1000 + 8 * 3, 0);
  m.write<u64>(M::kTss + 4, 0xC0001000);  // ring 0's stack is not there
  m.set_idt64(14, M::kCode64, M::handler(14), 0x8E, 1);
  m.set_idt64(8, M::kCode64, M::handler(8), 0x8E, 2);
  SUBCASE("#GP, then #PF") {
    m.cpu.s.gpr[RAX] = 0x100;
    m.run({0x8E, 0xD8});
    CHECK(chain(m) == "#GP, #PF");
    CHECK(m.handling() == 14);
    CHECK(m.cpu.s.cr2 == 0xC0000FF8);
  }
  SUBCASE("#PF, then #PF") {
    m.set_idt64(14, M::kCode64, M::handler(14), 0x8E);
    m.run({0xA2, 0x10, 0x00, 0x00, 0xC0, 0, 0, 0, 0});
    CHECK(chain(m) == "#PF, #PF, #DF");
    CHECK(m.handling() == 8);
    CHECK(m.cpu.s.cr2 == 0xC0000FF8);
    CHECK(m.cpu.s.gpr[RSP] == M::kIst + 0x800 - 48);
  }
}

TEST_CASE("a fault while pushing on a read-only stack becomes a double fault on its IST, as Linux's espfix64 needs") {
  M m;
  m.long64(0);
  constexpr u64 kPt = M::kTables + 0x8000;
  for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | (n == (M::kStack0 >> 12) ? 1 : 3));
  m.write<u64>(M::kTables + 0x2000, kPt | 3);
  m.set_idt64(8, M::kCode64, M::handler(8), 0x8E, 1);
  // IRETQ on the read-only page, to a selector that is bad: #GP, whose frame can't be written: #PF: delivered on the
  // same stack: #PF again: #DF.
  const u64 frame[] = {0x1234, 0x100, 2, 0x5678, M::kData3};
  for (unsigned n = 0; n < 5; n++) m.write<u64>(M::kStack0 + 0x100 + 8 * n, frame[n]);
  m.cpu.s.gpr[RSP] = M::kStack0 + 0x100;
  m.run({0x48, 0xCF});
  CHECK(chain(m) == "#GP, #PF, #PF, #DF");
  CHECK(m.handling() == 8);
  CHECK(m.stack(1, 8) == M::kCode);
  CHECK(m.stack(4, 8) == M::kStack0 + 0x100);
  CHECK(m.cpu.s.gpr[RSP] == M::kIst + 0x400 - 48);
}

TEST_CASE("a triple fault shuts the processor down, and its chain is told in words") {
  M m;
  m.protected32(3);
  break_gate(m, 13, Vector::NP);
  break_gate(m, 8, Vector::GP);
  std::vector<std::string> lines;
  m.log.set_sink([&](LogChannel, std::string_view line) { lines.emplace_back(line); });
  m.log.enable(LogChannel::Faults);
  m.cpu.s.gpr[RAX] = M::kData0;
  m.run({0x8E, 0xD8});
  CHECK(m.cpu.s.activity == Activity::Shutdown);
  CHECK(m.platform.shut_down);
  const auto faults = m.cpu.recent_faults();
  REQUIRE(faults.size() == 4);
  CHECK(describe(faults[0]) == "#GP(0x10) at 0x1b:0x8000 (count 0): data segment 0x10 has DPL 0 < CPL 3");
  CHECK(describe(faults[1]) == "#NP(0x6b) at 0x1b:0x8000 (count 0): IDT entry 0xd is not present");
  CHECK(describe(faults[2]) ==
        "#DF(0x0) at 0x1b:0x8000 (count 0): #NP(0x6b) while #GP was delivered");
  CHECK(describe(faults[3]) ==
        "#GP(0x11) at 0x1b:0x8000 (count 0): IDT entry 0x8 names 0x10, which is no code segment");
  REQUIRE(lines.size() == 5);
  for (unsigned n = 0; n < 4; n++) CHECK(lines[n] == describe(faults[n]));
  CHECK(lines[4] == "triple fault: the processor shuts down");
}

TEST_CASE("only the last eight faults are remembered") {
  M m;
  m.protected32(0);
  for (unsigned n = 0; n < 11; n++) {
    m.cpu.s.rip = M::kCode;
    m.cpu.s.gpr[RAX] = 0x100 + 8 * n;
    m.run({0x8E, 0xD8});
  }
  const auto faults = m.cpu.recent_faults();
  REQUIRE(faults.size() == 8);
  CHECK(faults.front().fault.error_code == 0x118);
  CHECK(faults.back().fault.error_code == 0x150);
}

TEST_CASE("a fault retires nothing and leaves the registers as they were") {
  M m;
  m.protected32(0);
  m.cpu.s.seg[SS].limit = 0xFFF;
  m.cpu.refresh();
  m.set_idt(12, M::kTssSelector + 0x20, 0, 0x85);
  m.set_idt(8, 0, 0, 0);
  m.run({0x60});  // pusha
  CHECK(m.cpu.s.retired == 0);
  CHECK(m.cpu.s.gpr[RSP] == M::kStack0);
  CHECK(m.cpu.s.activity == Activity::Shutdown);
}
