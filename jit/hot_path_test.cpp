// Hot blocks that go on where their jumps usually go: random loops of several parts, with jumps forwards over each other, out
// of the loop and to another page, whose conditions seldom or often hold; accesses that walk into missing pages; flags and
// units that are read wherever a jump leads. Both engines must show the same state wherever they stop.
#include <doctest/doctest.h>

#include <random>
#include <utility>
#include <vector>

#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

constexpr u64 kPt = M::kTables + 0x8000, kRegion = 0x40000, kCode = M::kCode + 0xF00 - (M::kCode + 0xF00) % 0x1000 + 0x100;
constexpr unsigned kPages = 6;
using Random = std::mt19937_64;

class Assembler {
 public:
  explicit Assembler(Random& random) : random_(random) {}

  std::vector<u8> code;

  void emit(std::initializer_list<unsigned> bytes) {
    for (const unsigned b : bytes) code.push_back(static_cast<u8>(b));
  }
  // rax, rdx, r9, r10 are data, rsi and rdi walk, rbp is a step; rcx counts rounds.
  void work() {
    switch (random_() % 19) {
      case 0: emit({0x48, 0x8B, 0x06}); break;              // mov rax, [rsi]
      case 1: emit({0x48, 0x89, 0x17}); break;              // mov [rdi], rdx
      case 2: emit({0x48, 0x01, 0x47, 0x08}); break;        // add [rdi + 8], rax
      case 3: emit({0x49, 0x01, 0xC1}); break;              // add r9, rax
      case 4: emit({0x48, 0xFF, 0xC2}); break;              // inc rdx
      case 5: emit({0x49, 0x83, 0xD2, 0x00}); break;        // adc r10, 0
      case 6: emit({0x0F, 0x9C, 0xC2}); break;              // setl dl
      case 7: emit({0x49, 0x0F, 0x42, 0xC1}); break;        // cmovc rax, r9
      case 8: emit({0x48, 0x39, 0xD0}); break;              // cmp rax, rdx
      case 9: emit({0x48, 0xC1, 0xC8, 0x05}); break;        // ror rax, 5
      case 10: emit({0x48, 0x33, 0x46, 0x10}); break;       // xor rax, [rsi + 16]
      case 11: emit({0x48, 0x01, 0xEE}); break;             // add rsi, rbp
      case 12: emit({0x48, 0x83, 0xC7, 0x08}); break;       // add rdi, 8
      case 13: emit({0x66, 0x0F, 0xEF, 0xC8}); break;       // pxor xmm1, xmm0
      case 14: emit({0x0F, 0x10, 0x06}); break;             // movups xmm0, [rsi]
      case 15: emit({0x50, 0x5A}); break;                   // push rax; pop rdx
      case 16: emit({0xD9, 0xE8, 0xDD, 0xD8}); break;       // fld1; fstp st0
      case 17: emit({0x9F}); break;                         // lahf
      case 18: emit({0x48, 0x6B, 0xC0, 0x1D, 0x48, 0xFF, 0xC0}); break;  // imul rax, rax, 29; inc rax
    }
  }
  // Sets flags of which one is seldom or nearly always set, or any.
  void compare() {
    switch (random_() % 5) {
      case 0: emit({0xA8, 0x3F}); break;                                  // test al, 63
      case 1: emit({0x80, 0xFA, 0x05}); break;                            // cmp dl, 5
      case 2: emit({0x48, 0x39, 0xC2}); break;                            // cmp rdx, rax
      case 3: emit({0xF6, 0xC1, 0x1F}); break;                            // test cl, 31
      case 4: emit({0x41, 0xF6, 0xC1, 0xFF}); break;                      // test r9b, 255
    }
  }
  /// A jump whose target comes later; its displacement's place.
  std::size_t jump(int condition) {
    if (condition < 0) emit({0xE9});
    else emit({0x0F, 0x80u | static_cast<unsigned>(condition)});
    emit({0, 0, 0, 0});
    return code.size() - 4;
  }
  void lead(std::size_t place, std::size_t target) {
    const u32 by = static_cast<u32>(target - (place + 4));
    for (unsigned b = 0; b < 4; b++) code[place + b] = static_cast<u8>(by >> 8 * b);
  }

 private:
  Random& random_;
};

std::vector<u8> make_program(Random& random) {
  Assembler a(random);
  const unsigned parts = 2 + random() % 5;
  std::vector<std::size_t> starts;
  struct Jump {
    std::size_t place;
    unsigned to;  ///< part; parts: the loop's end, parts + 1: out of it, parts + 2: in another page
  };
  std::vector<Jump> jumps;
  for (unsigned part = 0; part < parts; part++) {
    starts.push_back(a.code.size());
    for (u64 n = random() % 4; n-- > 0;) a.work();
    if (random() % 5 == 0) {
      jumps.push_back({a.jump(-1), part + 1});
      for (u64 n = random() % 8; n-- > 0;) a.code.push_back(static_cast<u8>(random()));
      continue;
    }
    if (random() % 4 != 0) a.compare();
    static constexpr int kConditions[] = {4, 5, 4, 5, 2, 3, 8, 0xC, 0xF, 7};
    jumps.push_back({a.jump(kConditions[random() % std::size(kConditions)]),
                     static_cast<unsigned>(part + 1 + random() % (parts + 2 - part))});
  }
  starts.push_back(a.code.size());
  if (random() % 2 == 0) a.work();
  if (random() % 2 == 0) a.emit({0x48, 0x83, 0xE9, 0x01});           // sub rcx, 1
  else a.emit({0x48, 0x8D, 0x49, 0xFF, 0x48, 0x85, 0xC9});           // lea rcx, [rcx - 1]; test rcx, rcx
  a.lead(a.jump(5), 0);
  starts.push_back(a.code.size());
  a.emit({0x49, 0x83, 0xD3, 0x00, 0x49, 0xFF, 0xC4});                // adc r11, 0; inc r12
  // Again, a while.
  a.emit({0x48, 0xC7, 0xC1, 200, 0, 0, 0});                          // mov rcx, 200
  a.emit({0x49, 0xFF, 0xCE});                                        // dec r14
  a.lead(a.jump(5), 0);
  a.emit({0xEB, 0xFE});
  a.code.resize(0x1000 - 0x100 + 8, 0x90);
  starts.push_back(a.code.size());
  a.emit({0x49, 0x83, 0xD5, 0x01});  // adc r13, 1
  a.lead(a.jump(-1), starts[parts]);
  for (const Jump& j : jumps) a.lead(j.place, starts[j.to]);
  return std::move(a.code);
}

struct Side {
  Side(const jit::TranslatorOptions* options, const std::vector<u8>& code) {
    if (options != nullptr) translator = &jit::use_translator(m, *options);
    for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | 3);
    m.long64(0);
    m.write<u64>(M::kTables + 0x2000, kPt | 7);
    m.set_idt64(14, M::kCode64, M::handler(14), 0x8E, 1);
    for (std::size_t n = 0; n < code.size(); n++) m.write<u8>(kCode + n, code[n]);
  }
  void start(u64 seed, unsigned missing) {
    for (u64 n = 0; n < kPages; n++) m.write<u64>(kPt + 8 * ((kRegion >> 12) + n), kRegion + n * 0x1000 + (n == missing ? 0 : 3));
    Random random(seed);
    for (u64 k = 0; k < kPages * 0x1000; k += 8) m.write<u64>(kRegion + k, random());
    CpuState& s = m.cpu.s;
    for (unsigned r = 0; r < 16; r++) s.gpr[r] = random();
    s.gpr[RSI] = kRegion + random() % 0x800;
    s.gpr[RDI] = kRegion + random() % 0x800;
    s.gpr[RBP] = random() % 4 == 0 ? random() % 300 : 8;
    s.gpr[RCX] = 1 + random() % 300;
    s.gpr[14] = 1 + random() % 20;
    s.gpr[RSP] = M::kStack0;
    s.flags.set_value(static_cast<u32>(random()) & kArithmetic);
    for (unsigned v = 0; v < 16; v++) s.vec[v].lo = {{random(), random()}};
    s.mxcsr = 0x1F80;
    s.x87 = {};
    s.x87.control = 0x37F;
    s.cr2 = 0;
    s.rip = kCode;
    s.retired = 0;
    m.cpu.refresh();
  }
  std::pair<u64, u64> hash() { return {jit::registers_hash(m), jit::memory_hash(m, kRegion + kPages * 0x1000)}; }
  M m;
  jit::Translator* translator = nullptr;
};

}  // namespace

TEST_CASE("loops of several parts give the same state on both engines, wherever they stop") {
  if (!jit::translator_supported()) return;
  const jit::TranslatorOptions options{.code_bytes = 1 << 20, .promote_after = 80, .verify = true};
  Random random(29);
  u64 paths = 0, loops = 0;
  for (unsigned n = 0; n < 250; n++) {
    const std::vector<u8> code = make_program(random);
    Side reference(nullptr, code), subject(&options, code);
    bool good = true;
    for (unsigned run = 0; run < 5 && good; run++) {
      const u64 seed = random();
      const unsigned missing = random() % 3 == 0 ? static_cast<unsigned>(1 + random() % (kPages - 1)) : kPages;
      for (Side* side : {&reference, &subject}) side->start(seed, missing);
      for (unsigned part = 0; part < 8 && good; part++) {
        const u64 more = part == 7 ? 30000 : 1 + random() % (part % 2 == 0 ? 3000 : 60);
        reference.m.run(more);
        subject.m.run(more);
        good = reference.hash() == subject.hash();
        CHECK_MESSAGE(good, "program ", n, " run ", run, ": at ", reference.m.cpu.s.retired, " and ", subject.m.cpu.s.retired,
                      ", rip ", reference.m.cpu.s.rip, " and ", subject.m.cpu.s.rip, ", flags ",
                      reference.m.cpu.s.flags.value(), " and ", subject.m.cpu.s.flags.value());
      }
    }
    paths += subject.translator->stats().paths;
    loops += subject.translator->stats().loops;
  }
  CHECK(paths > 200);
  CHECK(loops > 5);
}
