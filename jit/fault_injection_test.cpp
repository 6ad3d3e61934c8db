// Random code with a page fault at each of its memory accesses in turn: both engines must show the same frame, flags,
// registers, memory and count. Every access of a program has a page of its own, which is first there (so that code, probes
// and links are warm), and then missing, or read-only.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

constexpr u64 kPt = M::kTables + 0x8000, kRegion = 0x40000;
constexpr unsigned kPages = 24;
using Random = std::mt19937_64;

/// Instructions with one memory operand [rdi + disp32], as bytes before ModRM. `reg`: a fixed field there, or -1: any register.
struct Form {
  std::vector<u8> bytes;
  int reg = -1;
  bool imm8 = false;
};
const std::vector<Form> kMemory = {
    {{0x48, 0x8B}}, {{0x48, 0x89}}, {{0x8B}}, {{0x89}}, {{0x66, 0x89}}, {{0x88}}, {{0x8A}},                    // mov
    {{0x48, 0x01}}, {{0x03}}, {{0x48, 0x11}}, {{0x1B}}, {{0x29}}, {{0x66, 0x2B}}, {{0x31}}, {{0x0B}}, {{0x20}},  // ALU
    {{0x48, 0x39}}, {{0x3A}}, {{0x85}}, {{0x48, 0x87}}, {{0x0F, 0xB1}}, {{0x48, 0x0F, 0xB1}}, {{0x0F, 0xC1}}, {{0x48, 0x0F, 0xC1}},
    {{0xFF}, 0}, {{0x48, 0xFF}, 1}, {{0xF6}, 3}, {{0xF7}, 2}, {{0x48, 0xD3}, 4}, {{0xD2}, 7}, {{0xD1}, 3}, {{0xC1}, 0, true},
    {{0x0F, 0xBA}, 5, true}, {{0x48, 0x0F, 0xAB}}, {{0x0F, 0xA5}}, {{0x48, 0x0F, 0xAC}, -1, true},
    {{0x0F, 0x94}, 0}, {{0x0F, 0x92}, 0}, {{0x0F, 0x4C}}, {{0x48, 0x0F, 0x42}}, {{0x0F, 0xB6}}, {{0x48, 0x63}}, {{0x48, 0x0F, 0xBF}},
    {{0xFF}, 6}, {{0x8F}, 0}, {{0x48, 0x0F, 0xAF}}, {{0xF7}, 4}, {{0x48, 0xF7}, 5}, {{0xF7}, 6}, {{0x80}, 7, true}, {{0x83}, 2, true},
    {{0x0F, 0x10}}, {{0x0F, 0x11}}, {{0xF3, 0x0F, 0x7E}}, {{0x66, 0x0F, 0xD6}}, {{0xF2, 0x0F, 0x58}}, {{0x66, 0x0F, 0xFE}}, {{0xF3, 0x0F, 0x6F}},
    {{0xDD}, 0}, {{0xDD}, 3}, {{0xD8}, 1}, {{0xD9}, 7},
};
/// Instructions without: flags of all kinds, that may or may not be read.
const std::vector<std::vector<u8>> kPlain = {
    {0x01, 0xD8}, {0x48, 0x11, 0xCA}, {0x83, 0xE9, 0x7F}, {0xF5}, {0xF9}, {0xFF, 0xC0}, {0x48, 0xFF, 0xC9}, {0x31, 0xD2}, {0xD1, 0xE0},
    {0x48, 0xD3, 0xEB}, {0x0F, 0xAF, 0xC2}, {0x39, 0xF0}, {0x4D, 0x85, 0xC0}, {0x0F, 0x92, 0xC1}, {0x48, 0x8D, 0x44, 0x8B, 0x10},
    {0x9F}, {0x50}, {0x5B}, {0x0F, 0x4F, 0xC3}, {0x49, 0x29, 0xD1}, {0xF7, 0xD8}, {0x98}, {0x0F, 0xB1, 0xCB}, {0x0F, 0xC1, 0xF1}, {0x90},
};

struct Program {
  std::vector<u8> code;
  unsigned instructions = 0, pages = 0;
};

Program make_program(Random& random) {
  Program p;
  const auto emit = [&](const std::vector<u8>& bytes) { p.code.insert(p.code.end(), bytes.begin(), bytes.end()); };
  for (; p.pages < kPages; p.instructions++) {
    if (random() % 3 == 0) {
      emit(kPlain[random() % kPlain.size()]);
      continue;
    }
    const Form& f = kMemory[random() % kMemory.size()];
    unsigned reg = f.reg >= 0 ? static_cast<unsigned>(f.reg) : random() % 8;
    if (f.reg < 0 && (reg == 4 || reg == 7)) reg = 0;  // neither RSP nor the base is overwritten
    emit(f.bytes);
    p.code.push_back(static_cast<u8>(0x87 | reg << 3));
    // Most accesses are inside their page, some go over into the next.
    const u32 disp = p.pages * 0x1000 + (random() % 8 == 0 ? 0xFFD : static_cast<u32>(random() % 0xFC) * 16);
    for (unsigned n = 0; n < 4; n++) p.code.push_back(static_cast<u8>(disp >> 8 * n));
    if (f.imm8) p.code.push_back(static_cast<u8>(random() % 40));
    p.pages++;
  }
  p.code.insert(p.code.end(), {0xEB, 0xFE});
  return p;
}

enum class Page { There, Missing, ReadOnly };

class Side {
 public:
  explicit Side(const jit::TranslatorOptions* options) {
    if (options != nullptr) jit::use_translator(m, *options);
  }

  /// Runs the program from the start, with page `page` as asked, and gives a hash of everything.
  u64 run(const Program& p, u64 seed, unsigned page, Page how) {
    if (!entered_) enter(p);
    const auto entry = [&](u64 n) { return (kRegion >> 12) + n; };
    for (u64 n = 0; n <= kPages; n++) {
      const u64 rights = n != page ? 3 : how == Page::Missing ? 0 : how == Page::ReadOnly ? 1 : 3;
      const u64 want = entry(n) << 12 | rights, at = kPt + 8 * entry(n);
      // Accessed and dirty bits as a walk will set them again.
      if ((m.read<u64>(at) & ~u64{0x60}) != want) m.write<u64>(at, want);
      for (u64 k = 0; k < 0x1000; k += 8) m.write<u64>(kRegion + n * 0x1000 + k, seed * (n * 0x200 + k + 1) * 0x9E3779B97F4A7C15ull);
    }
    CpuState& s = m.cpu.s;
    for (unsigned r = 0; r < 16; r++) s.gpr[r] = seed * (r + 3) * 0xD1B54A32D192ED03ull;
    s.gpr[RDI] = kRegion;
    s.gpr[RSP] = M::kStack0;
    s.flags.set_value(static_cast<u32>(seed * 0x9E3779B9) & kArithmetic);
    for (unsigned v = 0; v < 16; v++) s.vec[v].lo = {{seed * v, 0x4000000000000000 + seed}};
    s.x87 = {};
    s.mxcsr = 0x1F80;
    s.cr2 = 0;
    s.rip = M::kCode;
    s.retired = 0;
    m.cpu.refresh();
    m.run(p.instructions + 3);
    StateHasher hasher;
    s.sync(hasher);
    std::vector<u8> memory(kRegion + (kPages + 1) * 0x1000);
    m.ram_map.bus_read(0, memory);
    hasher.bytes(memory.data(), memory.size());
    return hasher.digest();
  }

  M m;

 private:
  void enter(const Program& p) {
    entered_ = true;
    for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | 3);
    m.long64(0);
    m.write<u64>(M::kTables + 0x2000, kPt | 7);
    m.set_idt64(14, M::kCode64, M::handler(14), 0x8E, 1);
    for (std::size_t n = 0; n < p.code.size(); n++) m.write<u8>(M::kCode + n, p.code[n]);
  }
  bool entered_ = false;
};

void compare(const jit::TranslatorOptions& options, unsigned programs) {
  if (!jit::translator_supported()) return;
  Random random(7);
  unsigned faults = 0;
  for (unsigned n = 0; n < programs; n++) {
    const Program p = make_program(random);
    Side reference(nullptr), subject(&options);
    const auto same = [&](u64 seed, unsigned page, Page how) {
      const u64 expected = reference.run(p, seed, page, how), found = subject.run(p, seed, page, how);
      faults += reference.m.handling() == 14;
      CHECK_MESSAGE(expected == found, "program ", n, ", page ", page, how == Page::Missing ? " missing" : " read-only", ": ",
                    reference.m.last_fault(), " at ", reference.m.cpu.s.retired, " rip ", reference.m.stack(1, 8), "; ",
                    subject.m.last_fault(), " rip ", subject.m.stack(1, 8), " flags ", reference.m.stack(3, 8), " ",
                    subject.m.stack(3, 8));
      return expected == found;
    };
    bool good = same(1, 0, Page::There);
    for (unsigned page = 0; page <= kPages && good; page++)
      for (const Page how : {Page::Missing, Page::ReadOnly}) good = good && same(page + 2, page, how) && same(page + 2, page, Page::There);
  }
  CHECK(faults > programs * kPages / 2);
}

}  // namespace

TEST_CASE("a fault at any memory access shows the same state on both engines") { compare({.code_bytes = 1 << 20}, 60); }
TEST_CASE("a fault at any memory access shows the same state without passes and chaining") {
  compare({.code_bytes = 1 << 20, .chaining = false, .passes = false}, 20);
}
TEST_CASE("a fault at any memory access shows the same state with blocks that end anywhere") {
  compare({.code_bytes = 1 << 20, .most_insns = 5, .split_seed = 3}, 20);
}
