// Stores to page tables in emitted code: what was cached through an entry is gone when the next instruction looks, however the
// entry was written and whatever else the block has looked up. Both engines must show the same state wherever they stop.
#include <doctest/doctest.h>

#include <random>
#include <utility>
#include <vector>

#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

constexpr u64 kPt = M::kTables + 0x8000, kFrames = 0x40000;  // the tables' own page is mapped, too
constexpr unsigned kPages = 8;
using Random = std::mt19937_64;

// rsi: the page table's entry of the first page, rdi: the first page. rbx holds entries, rbp too.
std::vector<u8> make_program(Random& random) {
  std::vector<u8> code;
  const auto emit = [&](std::initializer_list<unsigned> bytes) {
    for (const unsigned b : bytes) code.push_back(static_cast<u8>(b));
  };
  const unsigned count = 3 + random() % 10;
  for (unsigned n = 0; n < count; n++) {
    const unsigned entry = 8 * (random() % kPages), page = random() % kPages;
    const auto in_page = [&] { emit({0x00, page << 4, 0, 0}); };  // disp32: page * 0x1000
    switch (random() % 12) {
      case 0: emit({0x48, 0x89, 0x5E, entry}); break;                // mov [rsi + entry], rbx
      case 1: emit({0x48, 0x89, 0x6E, entry}); break;                // mov [rsi + entry], rbp
      case 2: emit({0x48, 0x87, 0x5E, entry}); break;                // xchg [rsi + entry], rbx
      case 3: emit({0x48, 0x31, 0x5E, entry}); break;                // xor [rsi + entry], rbx
      case 4: emit({0xF0, 0x48, 0x0F, 0xBA, 0x76, entry, 13}); break;  // lock btc qword [rsi + entry], 13
      case 5: emit({0x80, 0x76, entry + 1, 0x10}); break;            // xor byte [rsi + entry + 1], 0x10: another frame
      case 6: case 7: emit({0x48, 0x8B, 0x87}); in_page(); break;    // mov rax, [rdi + page]
      case 8: emit({0x48, 0x01, 0x87}); in_page(); break;            // add [rdi + page], rax
      case 9: emit({0x49, 0x01, 0xC2}); break;                       // add r10, rax
      case 10: emit({0x48, 0xFF, 0x76, entry, 0x59}); break;         // push qword [rsi + entry]; pop rcx
      case 11: emit({0x50, 0x8F, 0x46, entry, 0x48, 0x89, 0x5E, entry}); break;  // push rax; pop [rsi + entry]; mov [rsi + entry], rbx
    }
  }
  emit({0x48, 0x87, 0xDD});  // xchg rbx, rbp
  emit({0xE9});
  const u32 back = static_cast<u32>(-static_cast<i32>(code.size()) - 4);
  for (unsigned b = 0; b < 4; b++) code.push_back(static_cast<u8>(back >> 8 * b));
  return code;
}

struct Side {
  Side(const jit::TranslatorOptions* options, const std::vector<u8>& code, u64 seed) {
    if (options != nullptr) translator = &jit::use_translator(m, *options);
    for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | 3);
    m.long64(0);
    m.write<u64>(M::kTables + 0x2000, kPt | 7);
    // Faults come back to the program's start with the page there again.
    m.set_idt64(14, M::kCode64, M::handler(14), 0x8E, 1);
    for (std::size_t n = 0; n < code.size(); n++) m.write<u8>(M::kCode + n, code[n]);
    Random random(seed);
    for (u64 k = 0; k < 64 * 0x1000; k += 8) m.write<u64>(kFrames + k, random());
    CpuState& s = m.cpu.s;
    s.gpr[RSI] = kPt + 8 * (kFrames >> 12);
    s.gpr[RDI] = kFrames;
    s.gpr[RBX] = (kFrames + random() % 16 * 0x1000) | 0x63;
    s.gpr[RBP] = (kFrames + random() % 16 * 0x1000) | 0x63;
    s.gpr[RSP] = M::kStack0;
    s.rip = M::kCode;
    m.cpu.refresh();
  }
  std::pair<u64, u64> hash() { return {jit::registers_hash(m), jit::memory_hash(m, kFrames + 64 * 0x1000)}; }
  M m;
  jit::Translator* translator = nullptr;
};

}  // namespace

TEST_CASE("programs that write page tables and look through them give the same state on both engines") {
  if (!jit::translator_supported()) return;
  Random random(3);
  u64 slow = 0, interpreted = 0;
  for (unsigned n = 0; n < 150; n++) {
    const std::vector<u8> code = make_program(random);
    const jit::TranslatorOptions options{.code_bytes = 1 << 20, .passes = n % 3 != 0, .promote_after = 5, .verify = true};
    const u64 seed = random();
    Side reference(nullptr, code, seed), subject(&options, code, seed);
    bool good = true;
    for (unsigned part = 0; part < 12 && good; part++) {
      const u64 more = 1 + random() % 400;
      reference.m.run(more);
      subject.m.run(more);
      good = reference.hash() == subject.hash();
      CHECK_MESSAGE(good, "program ", n, ": at ", reference.m.cpu.s.retired, " and ", subject.m.cpu.s.retired, ", rip ",
                    reference.m.cpu.s.rip, " and ", subject.m.cpu.s.rip);
    }
    slow += subject.translator->stats().slow_accesses;
    interpreted += subject.translator->stats().interpreted;
  }
  CHECK(slow > 5000);
  CHECK(interpreted < slow);  // most stores to tables don't need it
}

TEST_CASE("the page that a jump leads to is accessed when an instruction there is executed, not before") {
  if (!jit::translator_supported()) return;
  constexpr u64 kTarget = kFrames + 0x40, kEntry = kPt + 8 * (kFrames >> 12), kAccessed = 0x20;
  // mov rdx, rdi: nothing; then jmp or call kTarget, or jmp rcx.
  for (const std::vector<u8>& jump : {std::vector<u8>{0xE9, 0, 0, 0, 0}, {0xE8, 0, 0, 0, 0}, {0xFF, 0xE1}}) {
    for (const bool chaining : {true, false}) {
      std::vector<u8> code = {0x48, 0x89, 0xFA};
      code.insert(code.end(), jump.begin(), jump.end());
      if (jump.size() == 5) store_as<u32>(&code[4], static_cast<u32>(kTarget - M::kCode - code.size()));
      const jit::TranslatorOptions options{.chaining = chaining, .verify = true};
      Side side(&options, code, 1);
      side.m.write<u8>(kTarget, 0x90);
      side.m.write<u8>(kTarget + 1, 0x90);
      for (unsigned round = 0; round < 8; round++) {
        side.m.write<u64>(kEntry, kFrames | 3);
        side.m.cpu.s.gpr[RCX] = kTarget;
        side.m.cpu.s.rip = M::kCode;
        side.m.cpu.refresh();
        side.m.run(2);
        CHECK(side.m.cpu.s.rip == kTarget);
        CHECK((side.m.read<u64>(kEntry) & kAccessed) == 0);
        side.m.run(1);
        CHECK(side.m.cpu.s.rip == kTarget + 1);
        CHECK((side.m.read<u64>(kEntry) & kAccessed) != 0);
      }
    }
  }
}
