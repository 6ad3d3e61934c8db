// Loops whose accesses walk through memory, in rounds that ask for all they need in front and one by one: random bodies, steps
// and lengths, pages that are missing or read-only on the way, and stops at random counts. Both engines must show the same
// state wherever they stop.
#include <doctest/doctest.h>

#include <random>
#include <utility>
#include <vector>

#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

constexpr u64 kPt = M::kTables + 0x8000, kRegion = 0x40000;
constexpr unsigned kPages = 6;
using Random = std::mt19937_64;

struct Program {
  std::vector<u8> code;
  unsigned body = 0;  ///< instructions of a round
};

// Streams: [rsi], [rdi] and [rbx + r8]; rax, rdx, r9, xmm0 to xmm3 are data. rcx counts.
Program make_program(Random& random) {
  Program p;
  const auto emit = [&](std::initializer_list<unsigned> bytes) {
    for (const unsigned b : bytes) p.code.push_back(static_cast<u8>(b));
  };
  const auto step = [&] {
    static constexpr int kSteps[] = {1, 2, 4, 8, 16, 16, 16, 24, 32, 48, 64, -1, -4, -8, -16, 0};
    return static_cast<u8>(kSteps[random() % std::size(kSteps)]);
  };
  const bool vectors = random() % 2 == 0, aligned = random() % 2 == 0;
  const unsigned count = 2 + random() % 7;
  for (unsigned n = 0; n < count; n++) {
    const unsigned base = random() % 3;  // rsi, rdi, rbx + r8
    const unsigned disp = (random() % 8) * (aligned ? 16 : 5);
    const auto operand = [&](unsigned reg) {
      if (base < 2) emit({0x40 | reg << 3 | (6 + base), disp});
      else emit({0x44 | reg << 3, 0x03, disp});
    };
    const unsigned x = base == 2 ? 0x42 : 0x40;  // REX.X: the index is r8
    switch (random() % (vectors ? 14 : 9)) {
      case 0: emit({x | 8, 0x8B}), operand(0); break;           // mov rax, m
      case 1: emit({x | 8, 0x89}), operand(0); break;           // mov m, rax
      case 2: emit({x, 0x03}), operand(2); break;               // add edx, m
      case 3: emit({x, 0x01}), operand(2); break;               // add m, edx
      case 4: emit({x, 0x0F, 0xB6}), operand(0); break;         // movzx eax, byte m
      case 5: emit({x | 4, 0x88}), operand(1); break;           // mov byte m, r9b
      case 6: emit({x | 4 | 8, 0x33}), operand(1); break;       // xor r9, m
      case 7: emit({0x48, 0x0F, 0xAF, 0xC2}); break;            // imul rax, rdx
      case 8: emit({0x49, 0x01, 0xC1}); break;                  // add r9, rax
      case 9: emit({x, 0x0F, aligned ? 0x28u : 0x10u}), operand(0); break;   // movaps/movups xmm0, m
      case 10: emit({x, 0x0F, aligned ? 0x29u : 0x11u}), operand(1); break;  // m, xmm1
      case 11: emit({0x66, x, 0x0F, 0xFE}), operand(2); break;  // paddd xmm2, m: aligned, or a fault
      case 12: emit({0x66, 0x0F, 0xFE, 0xCA}); break;           // paddd xmm1, xmm2
      case 13: emit({0x66, 0x0F, 0xEF, 0xC8}); break;           // pxor xmm1, xmm0
    }
  }
  p.body = count;
  const auto move = [&](unsigned rex, unsigned reg, u8 by) { emit({rex, 0x83, 0xC0 | reg, by}), p.body++; };
  // By a constant, or by a register: rbp or r13.
  const auto move_by = [&](std::initializer_list<unsigned> bytes) { emit(bytes), p.body++; };
  switch (random() % 6) {
    case 0: move_by({0x4C, 0x01, 0xEE}); break;        // add rsi, r13
    case 1: move_by({0x48, 0x8D, 0x34, 0x2E}); break;  // lea rsi, [rsi + rbp]
    default: move(0x48, 6, step());
  }
  if (random() % 2 == 0) move(0x48, 7, step());
  else if (random() % 4 == 0) move_by({0x48, 0x01, 0xEF});  // add rdi, rbp
  if (random() % 2 == 0) move(0x49, 0, step());             // r8
  else if (random() % 3 == 0) move_by({0x4D, 0x01, 0xE8});  // add r8, r13
  if (random() % 8 == 0) move(0x48, 6, step());
  if (random() % 2 == 0) {
    emit({0x48, 0x83, 0xE9, 0x01}), p.body++;  // sub rcx, 1
  } else {
    emit({0x48, 0x8D, 0x49, 0xFF, 0x48, 0x85, 0xC9}), p.body += 2;  // lea rcx, [rcx - 1]; test rcx, rcx
  }
  const u8 back = static_cast<u8>(-static_cast<int>(p.code.size()) - 2);
  emit({0x75, back, 0x49, 0xFF, 0xC2, 0xEB, 0xFB});  // behind it, every instruction shows: inc r10; jmp
  p.body++;
  return p;
}

class Side {
 public:
  explicit Side(const jit::TranslatorOptions* options) {
    if (options != nullptr) translator = &jit::use_translator(m, *options);
  }

  void start(const Program& p, u64 seed, unsigned page, u64 rights) {
    if (!entered_) enter(p);
    for (u64 n = 0; n < kPages; n++) {
      const u64 want = ((kRegion >> 12) + n) << 12 | (n == page ? rights : 3), at = kPt + 8 * ((kRegion >> 12) + n);
      if ((m.read<u64>(at) & ~u64{0x60}) != want) m.write<u64>(at, want);
    }
    Random random(seed);
    for (u64 k = 0; k < kPages * 0x1000; k += 8) m.write<u64>(kRegion + k, random());
    CpuState& s = m.cpu.s;
    for (unsigned r = 0; r < 16; r++) s.gpr[r] = random();
    const u64 grain = random() % 4 == 0 ? 1 : 16;
    for (const unsigned r : {unsigned{RSI}, unsigned{RDI}, unsigned{RBX}})
      s.gpr[r] = kRegion + 0x1000 + random() % 0x3000 / grain * grain;
    s.gpr[8] = random() % 0x400 / 16 * 16;
    s.gpr[RCX] = 1 + random() % 300;
    for (const unsigned r : {unsigned{RBP}, 13u}) {
      s.gpr[r] = random() % (random() % 4 == 0 ? 1200 : 40);
      if (random() % 8 == 0) s.gpr[r] = ~s.gpr[r];
    }
    s.gpr[RSP] = M::kStack0;
    s.flags.set_value(static_cast<u32>(random()) & kArithmetic);
    for (unsigned v = 0; v < 16; v++) s.vec[v].lo = {{random(), random()}};
    s.mxcsr = 0x1F80;
    s.cr2 = 0;
    s.rip = M::kCode;
    s.retired = 0;
    m.cpu.refresh();
  }

  std::pair<u64, u64> hash() { return {jit::registers_hash(m), jit::memory_hash(m, kRegion + kPages * 0x1000)}; }

  M m;
  jit::Translator* translator = nullptr;

 private:
  void enter(const Program& p) {
    entered_ = true;
    for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | 3);
    m.long64(0);
    m.write<u64>(M::kTables + 0x2000, kPt | 7);
    m.set_idt64(14, M::kCode64, M::handler(14), 0x8E, 1);
    m.set_idt64(13, M::kCode64, M::handler(13), 0x8E, 1);
    for (std::size_t n = 0; n < p.code.size(); n++) m.write<u8>(M::kCode + n, p.code[n]);
  }
  bool entered_ = false;
};

u64 compare(const jit::TranslatorOptions& options, unsigned programs) {
  u64 loops = 0;
  Random random(11);
  for (unsigned n = 0; n < programs; n++) {
    const Program p = make_program(random);
    Side reference(nullptr), subject(&options);
    bool good = true;
    for (unsigned run = 0; run < 12 && good; run++) {
      const unsigned page = random() % 2 == 0 ? kPages : 1 + random() % 4;
      const u64 rights = random() % 2, seed = random();
      for (Side* side : {&reference, &subject}) side->start(p, seed, page, rights);
      // Stops in the middle, twice, and behind the end.
      for (const u64 more : {random() % 200 * p.body + random() % 9, random() % 100 + 1, u64{40000}}) {
        for (Side* side : {&reference, &subject}) side->m.run(more);
        const auto expected = reference.hash(), found = subject.hash();
        good = good && expected == found;
        CHECK_MESSAGE(expected == found, "program ", n, " run ", run, ": at ", reference.m.cpu.s.retired, " and ",
                      subject.m.cpu.s.retired, ", rip ", reference.m.cpu.s.rip, " and ", subject.m.cpu.s.rip, ", rcx ",
                      reference.m.cpu.s.gpr[RCX], " and ", subject.m.cpu.s.gpr[RCX]);
      }
    }
    loops += subject.translator->stats().loops;
  }
  return loops;
}

}  // namespace

TEST_CASE("loops that walk through memory give the same state on both engines, wherever they stop") {
  if (!jit::translator_supported()) return;
  CHECK(compare({.code_bytes = 1 << 20, .promote_after = 1, .verify = true}, 150) > 30);
}
TEST_CASE("loops without passes have no rounds, and give the same") {
  if (!jit::translator_supported()) return;
  CHECK(compare({.code_bytes = 1 << 20, .passes = false, .promote_after = 1}, 30) == 0);
}
