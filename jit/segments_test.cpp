// Random programs in 16- and 32-bit segments with bases and limits (real mode, virtual-8086 mode, protected mode, compatibility mode),
// which load segment registers, jump and call far, and run into limits: both engines must be in the same state at any count.
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
using Code = std::vector<u8>;

enum class Kind : u8 { Real, V86, Protected16, Protected32, Compatibility };

/// Where the program is in its segment, and a RETF behind it; the code segment's base is odd, so that pages end anywhere.
constexpr u32 kStart = 0x100, kFarRoutine = 0x700, kNearRoutine = 0x710;
constexpr u64 kBase16 = 0x7F00, kBase32 = 0x7E31, kData = 0x30A30;
// Descriptors of the test's own.
constexpr u16 kCodeA = M::kFree, kCodeB = M::kFree + 8, kLimited = M::kFree + 16, kDown = M::kFree + 24, kReadOnly = M::kFree + 32,
              kStack = M::kFree + 40, kTiny = M::kFree + 48;

bool is_real(Kind k) { return k == Kind::Real || k == Kind::V86; }

struct Program {
  Kind kind{};
  Code code;
};

Program make_program(Random& random) {
  static constexpr u8 kModRm[] = {0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0A, 0x0B, 0x10, 0x11, 0x18, 0x19, 0x20, 0x21, 0x22, 0x23, 0x28, 0x29, 0x2A, 0x2B,
                                  0x30, 0x31, 0x32, 0x33, 0x38, 0x39, 0x3A, 0x3B, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89};
  Program p;
  p.kind = static_cast<Kind>(random() % 5);
  const bool small = is_real(p.kind) || p.kind == Kind::Protected16;
  const auto any = [&](auto& from) { return from[random() % std::size(from)]; };
  const auto put = [&](std::initializer_list<u8> bytes) { p.code.insert(p.code.end(), bytes); };
  const auto put_offset = [&](u32 offset) {
    for (unsigned n = 0; n < (small ? 2u : 4u); n++) p.code.push_back(static_cast<u8>(offset >> 8 * n));
  };
  const auto put_selector = [&](bool second) {
    const u16 selector = is_real(p.kind) ? static_cast<u16>(second ? 0x7E0 : 0x7F0) : second ? kCodeB : kCodeA;
    put({static_cast<u8>(selector), static_cast<u8>(selector >> 8)});
  };
  while (p.code.size() < 120) {
    const u8 prefixes[] = {0x66, 0x67, 0x26, 0x2E, 0x36, 0x64, 0x65};
    if (random() % 5 == 0) put({any(prefixes)});
    switch (random() % 14) {
      case 0: case 1: case 2: case 3: case 4: {  // with an operand in memory or a register
        static constexpr u8 kOps[] = {0x01, 0x03, 0x11, 0x29, 0x2B, 0x31, 0x39, 0x3B, 0x85, 0x88, 0x89, 0x8A, 0x8B, 0x87, 0x8D, 0x8B, 0x89, 0xFE, 0xD1, 0xD3};
        const u8 op = any(kOps);
        u8 modrm = random() % 3 == 0 ? static_cast<u8>(0xC0 | random()) : any(kModRm);
        if (op == 0xFE) modrm &= 0xCF;  // INC, DEC
        if ((modrm >> 3 & 7) == 4 && op != 0xFE && op != 0xD1 && op != 0xD3) modrm ^= 0x20;  // not SP
        if (op == 0x8D && modrm >= 0xC0) modrm &= 0x3F;
        put({op, modrm});
        if ((modrm & 0xC0) == 0x80) put_offset(static_cast<u32>(random() % 0x400));
        else if ((modrm & 0xC7) == 0x04 && !small) put({static_cast<u8>(random() & 0x1F)});
        break;
      }
      case 5: put({static_cast<u8>(0x50 | random() % 4)}); break;
      case 6: put({static_cast<u8>(0x58 | random() % 4)}); break;
      case 7: {  // segment registers
        static constexpr u8 kMoves[] = {0xD8, 0xC0, 0xE0, 0xE8, 0xDB, 0xC3};
        if (random() % 2) put({0x8E, any(kMoves)});
        else put({static_cast<u8>(random() % 2 ? 0x06 : 0x1E), static_cast<u8>(random() % 2 ? 0x07 : 0x1F)});
        break;
      }
      case 8: put({static_cast<u8>(0x70 | random() % 16), static_cast<u8>(random() % 3)}); break;
      case 9:
        put({static_cast<u8>(random() % 2 ? 0x9A : 0xE8)});
        if (p.code.back() == 0xE8) put_offset(kNearRoutine - (kStart + static_cast<u32>(p.code.size()) + (small ? 2 : 4)));
        else put_offset(kFarRoutine), put_selector(false);
        break;
      case 10:
        if (random() % 4 == 0) put({0xEA}), put_offset(kStart), put_selector(random() % 2);
        else put({0x9C, 0x58});
        break;
      case 11: put({static_cast<u8>(random() % 2 ? 0xA1 : 0xA3)}), put_offset(static_cast<u32>(random() % 0x340)); break;
      case 12: put({0xFF, 0x36}), put_offset(static_cast<u32>(random() % 0x300)); break;
      default: put({static_cast<u8>(0x40 | random() % 4)}); break;
    }
  }
  put({0xE9});
  put_offset(0u - static_cast<u32>(p.code.size()) - (small ? 2 : 4));
  return p;
}

class Side {
 public:
  Side(const Program& p, u64 seed, const jit::TranslatorOptions* options) : program(p), seed_(seed) {
    m.engine = nullptr;
    if (options != nullptr) translator = &jit::use_translator(m, *options);
    m.platform.counter = &m.cpu.s.retired;
    const u64 base = code_base();
    for (std::size_t n = 0; n < p.code.size(); n++) m.write<u8>(base + kStart + n, p.code[n]);
    m.write<u8>(base + kFarRoutine, 0xCB);
    m.write<u8>(base + kNearRoutine, 0xC3);
    const u8 size = p.kind == Kind::Protected16 ? 0 : 4;
    const u32 limit = seed % 3 == 0 ? kStart + 0x70 : 0x7FF;  // some programs run into their end
    m.set_gdt(kCodeA, test::descriptor(static_cast<u32>(base), limit, 0x9B, size));
    m.set_gdt(kCodeB, test::descriptor(static_cast<u32>(base), 0xFFFF, 0x9B, size));
    m.set_gdt(kLimited, test::descriptor(kData, 0x2FF, 0x93, 4));
    m.set_gdt(kDown, test::descriptor(kData, 0x1FF, 0x97, seed % 2 ? 4 : 0));
    m.set_gdt(kReadOnly, test::descriptor(kData, 0x3FF, 0x91, 0));
    m.set_gdt(kStack, test::descriptor(0x20010, 0xFFF, 0x93, seed % 2 ? 4 : 0));
    m.set_gdt(kTiny, test::descriptor(kData, 2, 0x93, 0));
    begin(0);
  }

  /// Everything but memory as it is at the program's start, for the n-th time.
  void begin(u64 n) {
    switch (program.kind) {
      case Kind::Real: m.real(); break;
      case Kind::V86: m.v86(3); break;
      case Kind::Compatibility: m.long64(0, true); break;
      default: m.protected32(0);
    }
    CpuState& s = m.cpu.s;
    Random random(seed_ * 1000 + n);
    static constexpr u16 kSelectors[] = {kLimited, kLimited, kDown, kReadOnly, kTiny, M::kData0, kCodeA, 0, 0x1234};
    for (unsigned r = 0; r < 8; r++) s.gpr[r] = random() % 0x320;
    if (is_real(program.kind)) {
      for (const SegReg seg : {DS, ES, FS, GS}) s.seg[seg] = real_segment(static_cast<u16>(0x3000 + random() % 0x20), s.seg[seg].rights);
      s.seg[SS] = real_segment(0x2001, s.seg[SS].rights);
      s.seg[CS] = real_segment(static_cast<u16>(kBase16 >> 4), s.seg[CS].rights);
      s.gpr[RAX] = 0x3000 + random() % 0x20;
    } else {
      for (const SegReg seg : {DS, ES, FS, GS}) m.set_segment(seg, kSelectors[random() % 6]);
      if (random() % 2) m.set_segment(SS, kStack);
      m.set_segment(CS, random() % 2 ? kCodeA : kCodeB);
      s.gpr[RAX] = kSelectors[random() % std::size(kSelectors)];
      s.gpr[RBX] = kSelectors[random() % 3];
    }
    s.gpr[RSP] = random() % 8 == 0 ? random() % 8 : 0x800;
    s.flags.set_value((s.flags.value() & (kVM | kIOPL)) | kFlagsFixed);
    s.rip = kStart;
    s.activity = Activity::Running;
    m.cpu.refresh();
  }

  u64 registers() { return jit::registers_hash(m); }
  u64 memory() { return jit::memory_hash(m, 0x40000); }

  M m;
  jit::Translator* translator = nullptr;

 private:
  static Segment real_segment(u16 selector, u32 rights) { return {u64{selector} << 4, 0xFFFF, rights, selector}; }
  u64 code_base() const { return program.kind == Kind::Protected32 || program.kind == Kind::Compatibility ? kBase32 : kBase16; }

  const Program program;
  u64 seed_;
};

void compare(const jit::TranslatorOptions& options, u64 programs) {
  if (!jit::translator_supported()) return;
  Random random(4);
  u64 faults = 0, retired = 0, interpreted = 0;
  for (u64 seed = 1; seed <= programs; seed++) {
    const Program p = make_program(random);
    Side reference(p, seed, nullptr), subject(p, seed, &options);
    bool good = true;
    for (unsigned step = 0; step < 100 && good; step++) {
      const u64 count = 1 + random() % (random() % 3 == 0 ? 9 : 120);
      for (Side* side : {&reference, &subject}) side->m.run(count);
      good = reference.registers() == subject.registers();
      CHECK_MESSAGE(good, "program ", seed, " of kind ", static_cast<unsigned>(p.kind), " differs at ", reference.m.cpu.s.retired, " or ",
                    subject.m.cpu.s.retired, ": rip ", reference.m.cpu.s.rip, " or ", subject.m.cpu.s.rip, ", last ",
                    reference.m.last_fault(), " or ", subject.m.last_fault());
      if (reference.m.handling() == -1 && !reference.m.platform.shut_down && step % 16 != 15) continue;
      faults += reference.m.handling() != -1;
      for (Side* side : {&reference, &subject}) {
        side->m.platform.shut_down = false;
        side->begin(step + 1);
      }
    }
    CHECK(reference.memory() == subject.memory());
    retired += subject.m.cpu.s.retired;
    interpreted += subject.translator->stats().interpreted;
  }
  CHECK(faults > programs);
  CHECK(retired > programs * 1000);
  if (options.passes) CHECK(interpreted * 5 < retired);
}

}  // namespace

TEST_CASE("random programs in segments end in the same state on both engines") { compare({.code_bytes = 1 << 20}, 500); }
TEST_CASE("random programs in segments, with blocks that end anywhere, without passes and chaining") {
  compare({.code_bytes = 1 << 20, .chaining = false, .passes = false, .most_insns = 3, .split_seed = 5}, 100);
}
