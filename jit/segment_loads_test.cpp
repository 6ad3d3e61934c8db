// Loads of segment registers by descriptors of the GDT and the LDT: random ones, which the program rewrites as it runs, at both
// privilege levels, in 32-bit, compatibility and 64-bit mode. Both engines must be in the same state at any count.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cpu/system/segments.h"
#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

using Random = std::mt19937_64;
enum class Kind : u8 { Protected32, Compatibility, Long };

constexpr u64 kData = 0x30000, kSelectors = 0x38000;  ///< what the program accesses; a table of selectors
constexpr u16 kLocal = 4, kUser = 3;

u64 random_descriptor(Random& random) {
  static constexpr u8 kAccess[] = {0xF3, 0xF3, 0xF3, 0x93, 0xF2, 0xF1, 0xF7, 0xF5, 0x73, 0xFB, 0xFA, 0xF9, 0xFF, 0xB3, 0x82, 0x00};
  const bool flat = random() % 3 == 0;
  const u32 base = flat && random() % 2 ? 0 : static_cast<u32>(kData + random() % 0x100);
  const u32 limit = flat ? 0xFFFFF : static_cast<u32>(random() % 4 == 0 ? random() % 0x40 : 0xFFF);
  return test::descriptor(base, limit, kAccess[random() % std::size(kAccess)], flat ? 12 : random() % 8 == 0 ? 8 : 4);
}

struct Program {
  Kind kind{};
  unsigned cpl = 0;
  std::vector<u8> code;
};

u16 random_selector(Random& random) {
  switch (random() % 8) {
    case 0: return static_cast<u16>(random() % 4);
    case 1: return static_cast<u16>(random() % 2 ? M::kData3 : M::kData0);
    case 2: case 3: return static_cast<u16>((M::kFree + 8 * (random() % 18)) | random() % 4);
    default: return static_cast<u16>(8 * (random() % 17) | kLocal | (random() % 4 == 0 ? random() % 4 : u64{kUser}));
  }
}

Program make_program(Random& random) {
  Program p;
  p.kind = static_cast<Kind>(random() % 3);
  p.cpl = random() % 2 ? 3 : 0;
  const bool wide = p.kind == Kind::Long;
  const auto put = [&](std::initializer_list<u8> bytes) { p.code.insert(p.code.end(), bytes); };
  const auto put32 = [&](u64 v) {
    for (unsigned n = 0; n < 4; n++) p.code.push_back(static_cast<u8>(v >> 8 * n));
  };
  static constexpr u8 kSegments[] = {0, 3, 4, 5}, kPrefixes[] = {0x26, 0x3E, 0x64, 0x65};
  constexpr u8 kAbsolute = 0x04, kNoBase = 0x25;  // ModRM and SIB of [disp32] in every mode
  while (p.code.size() < 150) {
    const u8 seg = kSegments[random() % 4], prefix = kPrefixes[random() % 4];
    switch (random() % 8) {
      case 0: case 1:
        if (wide && random() % 4 == 0) put({0x41});
        put({0x8E, static_cast<u8>(0xC0 | seg << 3 | random() % 4)});
        break;
      case 2: put({0x36, 0x8E, static_cast<u8>(kAbsolute | seg << 3), kNoBase}), put32(kSelectors + 2 * (random() % 64)); break;
      case 3:
        put({0x68}), put32(random_selector(random));
        if (wide || random() % 2) put({0x0F, static_cast<u8>(random() % 2 ? 0xA1 : 0xA9)});
        else put({static_cast<u8>(random() % 2 ? 0x07 : 0x1F)});
        break;
      case 4: put({prefix, 0x03, static_cast<u8>(kAbsolute | 5 << 3), kNoBase}), put32(random() % 0x60 + (random() % 2 ? kData : 0)); break;
      case 5: put({prefix, 0x01, static_cast<u8>(kAbsolute | 6 << 3), kNoBase}), put32(random() % 0x60 + (random() % 2 ? kData : 0)); break;
      case 6:  // a descriptor's access byte, or a base's
        if (random() % 2) {
          const u64 table = random() % 2 ? M::kLdt : M::kGdt + M::kFree;
          put({0x36, 0xC6, kAbsolute, kNoBase}), put32(table + 8 * (random() % 16) + (random() % 4 == 0 ? 2 : 5)), put({static_cast<u8>(0xF2 | random() % 2)});
        }
        break;
      default: put({0xB8}), p.code.back() |= static_cast<u8>(random() % 4), put32(random_selector(random));
    }
  }
  put({0xE9}), put32(0u - p.code.size() - 4);
  return p;
}

struct Side {
  Side(const Program& program, u64 seed, const jit::TranslatorOptions* options) : p(program), seed_(seed) {
    m.engine = nullptr;
    if (options != nullptr) translator = &jit::use_translator(m, *options);
    m.platform.counter = &m.cpu.s.retired;
    for (std::size_t n = 0; n < p.code.size(); n++) m.write<u8>(M::kCode + n, p.code[n]);
    begin(0);
  }

  void begin(u64 n) {
    if (p.kind == Kind::Protected32) m.protected32(p.cpl);
    else m.long64(p.cpl, p.kind == Kind::Compatibility);
    Random random(seed_ * 1000 + n);
    for (u64 d = 0; d < 16; d++) m.write<u64>(M::kLdt + 8 * d, random_descriptor(random));
    for (u16 s = M::kFree; s < 0xF8; s += 8) m.set_gdt(s, random_descriptor(random));
    for (u64 e = 0; e < 64; e++) m.write<u16>(kSelectors + 2 * e, random_selector(random));
    CpuState& s = m.cpu.s;
    if (random() % 8 != 0) s.ldtr = Segment{M::kLdt, static_cast<u32>(random() % 4 == 0 ? 0x3F : 0x7F), 0x82, 0x50};
    for (unsigned r = 0; r < 16; r++) s.gpr[r] = r < 4 || r > 7 ? random_selector(random) : random() % 0x100;
    s.gpr[RSP] = M::kStack3 - 0x100;
    s.flags.set_value(kFlagsFixed);
    s.rip = M::kCode;
    s.activity = Activity::Running;
    m.cpu.refresh();
  }
  u64 registers() { return jit::registers_hash(m); }
  u64 memory() { return jit::memory_hash(m, 0x40000); }

  M m;
  const Program p;
  jit::Translator* translator = nullptr;
  u64 seed_;
};

void compare(const jit::TranslatorOptions& options, u64 programs) {
  if (!jit::translator_supported()) return;
  Random random(11);
  u64 faults = 0, retired = 0;
  for (u64 seed = 1; seed <= programs; seed++) {
    const Program p = make_program(random);
    Side reference(p, seed, nullptr), subject(p, seed, &options);
    bool good = true;
    for (unsigned step = 0; step < 100 && good; step++) {
      const u64 count = 1 + random() % (random() % 3 == 0 ? 9 : 90);
      for (Side* side : {&reference, &subject}) side->m.run(count);
      good = reference.registers() == subject.registers();
      CHECK_MESSAGE(good, "program ", seed, " of kind ", static_cast<unsigned>(p.kind), " differs at ", reference.m.cpu.s.retired, " or ",
                    subject.m.cpu.s.retired, ": rip ", reference.m.cpu.s.rip, " or ", subject.m.cpu.s.rip, ", last ",
                    reference.m.last_fault(), " or ", subject.m.last_fault());
      if (reference.m.handling() == -1 && step % 16 != 15) continue;
      faults += reference.m.handling() != -1;
      for (Side* side : {&reference, &subject}) side->begin(step + 1);
    }
    CHECK(reference.memory() == subject.memory());
    retired += subject.m.cpu.s.retired;
  }
  CHECK(faults > programs);
  CHECK(retired > programs * 500);
}

}  // namespace

TEST_CASE("random loads of segment registers end in the same state on both engines") { compare({.code_bytes = 1 << 20}, 400); }
TEST_CASE("random loads of segment registers, with blocks that end anywhere, without passes and chaining") {
  compare({.code_bytes = 1 << 20, .chaining = false, .passes = false, .most_insns = 3, .split_seed = 5}, 100);
}

TEST_CASE("loads of LDT segments of the usual kind call no handler") {
  if (!jit::translator_supported()) return;
  for (const Kind kind : {Kind::Protected32, Kind::Compatibility, Kind::Long}) {
    // One with a limit to ES, a null selector where that changes nothing, a flat one with a base to GS, and back.
    const std::vector<u8> code = {0x8E, 0xC0, 0x8E, 0xE1, 0x8E, 0xEB, 0x53, 0x0F, 0xA9, 0x50, 0x0F, 0xA9, 0x8E, 0xEB, 0x8E, 0xC2, 0xEB, 0xEE};
    const jit::TranslatorOptions options{.code_bytes = 1 << 20};
    Side side({kind, 3, code}, 1, &options);
    M& m = side.m;
    m.write<u64>(M::kLdt, test::descriptor(kData, 0xFFF, 0xF3, 4));
    m.write<u64>(M::kLdt + 8, test::descriptor(kData, 0xFFF, 0xF3, 4));
    m.write<u64>(M::kLdt + 16, test::descriptor(kData, 0xFFFF, 0xF3, 4));
    CpuState& s = m.cpu.s;
    s.ldtr = Segment{M::kLdt, 0x7F, 0x82, 0x50};
    s.gpr[RAX] = kLocal | kUser;
    s.gpr[RCX] = kind == Kind::Long ? 0 : 8 | kLocal | kUser;
    s.gpr[RDX] = 16 | kLocal | kUser;
    s.gpr[RBX] = 8 | kLocal | kUser;
    m.run(12000);
    CHECK(m.handling() == -1);
    u64 calls = 0;
    for (const jit::HandlerFigure& f : side.translator->handler_figures()) calls += f.handler_calls + f.interpreted;
    CHECK_MESSAGE(calls < 100, "kind ", static_cast<unsigned>(kind));
    CHECK(side.translator->stats().interpreted < 200);
  }
}
