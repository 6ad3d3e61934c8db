// Descriptor tables, task-state segments and frames full of random bits: whatever the guest puts there, the processor
// ends in a state that the architecture allows, and the emulator never trips over it.
#include <doctest/doctest.h>

#include <random>

#include "cpu/system/test_machine.h"

using namespace callgate;
using callgate::test::TestMachine;

namespace {
using M = TestMachine;
using Random = std::mt19937_64;

/// A descriptor or gate that is random, but often nearly right: otherwise nothing gets past the first check.
u64 random_descriptor(Random& random) {
  const u64 noise = random();
  const u8 kAccess[] = {0x9B, 0x93, 0xFB, 0xF3, 0x9F, 0xFF, 0x97, 0xF7, 0x89, 0x8B, 0xE9, 0x82, 0x8C, 0xEC,
                        0x84, 0xE4, 0x85, 0xE5, 0x8E, 0xEE, 0x8F, 0xEF, 0x86, 0x87, 0x81, 0x83, 0xBB, 0xB3};
  const u8 access = kAccess[random() % std::size(kAccess)] ^ (random() % 8 == 0 ? 1u << (random() % 8) : 0);
  if (!(access & 0x10) && (access & 4)) {  // a gate: to a selector of the table, a low offset
    const u16 selector = static_cast<u16>(random() % 0x100);
    return callgate::test::gate(selector, static_cast<u32>(noise & 0xFFFF), access, static_cast<u8>(random() % 32));
  }
  const u32 base = random() % 2 ? 0 : static_cast<u32>(noise % 0x60000);
  const u32 limit = random() % 2 ? 0xFFFFF : static_cast<u32>(noise >> 32 & 0xFFFFF);
  return callgate::test::descriptor(base, limit, access, static_cast<u8>(random() % 16));
}

void fill_tables(M& m, Random& random) {
  for (u16 selector = 8; selector < M::kGdtLimit; selector += 8)
    if (selector >= M::kFree || random() % 8 == 0) m.set_gdt(selector, random_descriptor(random));
  for (unsigned v = 0; v < 512; v++)
    if (random() % 8 == 0) m.write<u64>(M::kIdt + 8 * v, random_descriptor(random));
  for (const u64 tss : {M::kTss, M::kTss2}) {
    for (u64 at = 0; at < 0x68; at += 4) m.write<u32>(tss + at, static_cast<u32>(random() % 0x40000));
    for (u64 at = 8; at < 0x20; at += 8) m.write<u16>(tss + at, static_cast<u16>(random() % 0x100));
    for (u64 at = 72; at < 100; at += 4) m.write<u16>(tss + at, static_cast<u16>(random() % 0x100));
  }
}

/// Selectors, small addresses and noise below the stack pointer, as a frame that a return may take.
void fill_stack(M& m, Random& random) {
  const u64 top = (m.cpu.bits64() ? 0 : m.cpu.s.seg[SS].base) + m.cpu.s.gpr[RSP];
  if (top > 0x60000) return;
  const unsigned size = random() % 2 ? 4 : 8;
  for (unsigned n = 0; n < 10; n++) {
    u64 value = random() % 0x100;
    if (random() % 8 == 0) value = random();
    if (n % 3 == 0 && random() % 2) value = M::kCode + random() % 0x100;
    m.ram_map.bus_write(top + n * size, {reinterpret_cast<const u8*>(&value), size});
  }
}

void random_instruction(M& m, Random& random) {
  const auto byte = [&] { return static_cast<u8>(random()); };
  const u8 selector = byte();
  m.cpu.s.gpr[RAX] = selector;
  switch (random() % 12) {
    case 0: return m.code({0xCD, byte()});
    case 1: return m.code({0xCF});
    case 2: return m.code({0x48, 0xCF});
    case 3: return m.code({0xEA, byte(), byte(), 0, 0, selector, 0});
    case 4: return m.code({0x9A, byte(), byte(), 0, 0, selector, 0});
    case 5: return m.code({0x8E, static_cast<u8>(0xC0 | (byte() & 0x38))});
    case 6: return m.code({0xCA, byte(), 0});
    case 7: return m.code({0x0F, 0x00, static_cast<u8>(0xC0 | (byte() & 0x38))});
    case 8: return m.code({0x0F, static_cast<u8>(2 + random() % 2), 0xC8});
    case 9: return m.code({0x0F, static_cast<u8>(0x34 + random() % 2)});
    case 10: return m.code({0x48, 0x0F, 0x07});
    default: return m.code({0xFF, static_cast<u8>(random() % 2 ? 0x18 : 0x28)});  // far through [eax]
  }
}

/// What holds between any two instructions.
void check_state(M& m) {
  const CpuState& s = m.cpu.s;
  if (s.activity == Activity::Shutdown) return;
  if (m.cpu.v86()) {
    CHECK(s.cpl == 3);
    for (const Segment& seg : s.seg) CHECK(seg.base == u64{seg.selector} << 4);
    return;
  }
  CHECK(s.cpl == (s.seg[CS].selector & 3));
  if (!s.seg[CS].unusable()) {
    CHECK(s.seg[CS].is_code());
    CHECK(s.seg[CS].present());
    CHECK((s.seg[CS].conforming() ? s.seg[CS].dpl() <= s.cpl : s.seg[CS].dpl() == s.cpl));
  }
  if (!s.seg[SS].unusable()) {
    CHECK(s.seg[SS].writable());
    CHECK((s.seg[SS].selector & 3) == s.cpl);
    CHECK(s.seg[SS].dpl() == s.cpl);
  }
  for (const SegReg seg : {DS, ES, FS, GS}) {
    if (!s.seg[seg].unusable()) CHECK(s.seg[seg].readable());
  }
  if (m.cpu.bits64()) CHECK(is_canonical(s.rip));
  else CHECK(s.rip <= 0xFFFFFFFF);
}
}  // namespace

TEST_CASE("random descriptor tables leave the processor in a state that the architecture allows") {
  for (u64 seed = 0; seed < 6000; seed++) {
    Random random(seed);
    static M machine;  // one for all: making 4 MiB anew costs more than the test
    M& m = machine;
    const unsigned cpl = random() % 2 ? 3 : 0;
    m.set_default_gdt();
    m.cpu.reset();
    m.cpu.s.gdtr = {M::kGdt, M::kGdtLimit};
    switch (random() % 4) {
      case 0: m.long64(cpl); break;
      case 1: m.long64(cpl, true); break;
      case 2: m.v86(static_cast<unsigned>(random() % 4)); break;
      default: m.protected32(cpl);
    }
    fill_tables(m, random);
    CAPTURE(seed);
    for (unsigned n = 0; n < 12 && m.cpu.s.activity == Activity::Running; n++) {
      fill_stack(m, random);
      random_instruction(m, random);
      m.run(1);
      check_state(m);
    }
  }
}
