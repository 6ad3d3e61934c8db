// Functions that are rewritten before each call, in all the ways that a guest could: both engines must show the same state at
// every count. Which of a translator's tricks serve it (variants, immediates read from the code, stores beside code) is up
// to the number of shapes that a function takes and to what is written of it.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

using Random = std::mt19937_64;
using Bytes = std::vector<u8>;

constexpr u64 kPt = M::kTables + 0x8000, kTable = 0x50000, kAlias = 0x70000;
constexpr unsigned kCalls = 60, kBody = 16;

/// Half of a function's body: 8 bytes, of which those at `imm` are different each time.
struct Shape {
  Bytes bytes;
  unsigned imm = 0, imm_size = 4;
};
const std::vector<Shape> kShapes = {
    {{0x05, 0, 0, 0, 0, 0x0F, 0x1F, 0x00}, 1},        // add eax, imm32
    {{0x35, 0, 0, 0, 0, 0x0F, 0x1F, 0x00}, 1},        // xor eax, imm32
    {{0xBA, 0, 0, 0, 0, 0x01, 0xD0, 0x90}, 1},        // mov edx, imm32; add eax, edx
    {{0x69, 0xC0, 0, 0, 0, 0, 0x66, 0x90}, 2},        // imul eax, eax, imm32
    {{0x48, 0x05, 0, 0, 0, 0, 0x66, 0x90}, 2},        // add rax, imm32
    {{0x68, 0, 0, 0, 0, 0x5A, 0x66, 0x90}, 1},        // push imm32; pop rdx
    {{0xA9, 0, 0, 0, 0, 0x0F, 0x94, 0xC2}, 1},        // test eax, imm32; sete dl
    {{0x3D, 0, 0, 0, 0, 0x0F, 0x42, 0xC2}, 1},        // cmp eax, imm32; cmovb eax, edx
    {{0xC7, 0x44, 0x24, 0xF8, 0, 0, 0, 0}, 4},        // mov dword [rsp - 8], imm32
    {{0x48, 0xC7, 0xC2, 0, 0, 0, 0, 0x90}, 3},        // mov rdx, imm32
    {{0x83, 0xC0, 0, 0x83, 0xF2, 0x11, 0x66, 0x90}, 2, 1},  // add eax, imm8; xor edx, 17
    {{0x66, 0x05, 0, 0, 0x13, 0x44, 0x24, 0xF8}, 2, 2},     // add ax, imm16; adc eax, [rsp - 8]
    {{0xC1, 0xC0, 0, 0x0F, 0xC8, 0x66, 0x90, 0x90}, 2, 1},  // rol eax, imm8; bswap eax
    {{0xC6, 0x05, 3, 0, 0, 0, 0, 0x90}, 6, 1},        // mov byte [rip + 3], imm8: into the second half, or behind the body
    {{0x8B, 0x05, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xC0}, 6, 0},  // mov eax, [rip - 8]: some of its own code; inc eax
    {{0x0F, 0xAE, 0xE8, 0x1D, 0, 0, 0, 0}, 4},        // lfence, which is its handler's; sbb eax, imm32
};
/// Whole bodies.
const std::vector<Shape> kWhole = {
    {{0x49, 0xBA, 0, 0, 0, 0, 0, 0, 0, 0, 0x4C, 0x01, 0xD0, 0x0F, 0x1F, 0x00}, 2, 8},  // mov r10, imm64; add rax, r10
    {{0x05, 0, 0, 0, 0, 0x72, 0x05, 0x05, 0, 0, 0, 0x60, 0x0F, 0x1F, 0x40, 0x00}, 1, 4},  // add; jc over; add
    // mov eax, [r13]; add eax, [r13 + 8]; rol eax, imm8; nops: the accesses share a probe, and lie in two pages
    {{0x41, 0x8B, 0x45, 0x00, 0x41, 0x03, 0x45, 0x08, 0xC1, 0xC0, 0, 0x66, 0x90, 0x66, 0x66, 0x90}, 10, 1},
};

struct Form {
  unsigned shapes;   ///< how many a function takes
  enum Writer { Quads, String, Immediate, Bytes16 } writer;
  bool alias = false;     ///< written through another mapping
  bool same_page = false; ///< the function is in its caller's page
  bool dma = false;       ///< now and then somebody else writes to it, too
};

Bytes caller(const Form& f) {
  Bytes code;
  const auto add = [&](const Bytes& b) { code.insert(code.end(), b.begin(), b.end()); };
  switch (f.writer) {
    case Form::Quads: add({0x48, 0x8B, 0x06, 0x48, 0x89, 0x07, 0x48, 0x8B, 0x46, 0x08, 0x48, 0x89, 0x47, 0x08, 0x48, 0x83, 0xC6, 0x10}); break;
    case Form::String: add({0xB9, 0x10, 0, 0, 0, 0xF3, 0xA4, 0x48, 0x83, 0xEF, 0x10}); break;
    case Form::Immediate: add({0x8B, 0x46, 0x01, 0x89, 0x47, 0x01, 0x48, 0x83, 0xC6, 0x10}); break;
    case Form::Bytes16:  // mov ecx, 15; again: mov al, [rsi + rcx]; mov [rdi + rcx], al; dec ecx; jns again; add rsi, 16
      add({0xB9, 0x0F, 0, 0, 0, 0x8A, 0x04, 0x0E, 0x88, 0x04, 0x0F, 0xFF, 0xC9, 0x79, 0xF6, 0x48, 0x83, 0xC6, 0x10});
      break;
  }
  add({0xFF, 0x87, 0x00, 0x02, 0x00, 0x00});  // inc dword [rdi + 0x200]: data beside the code
  add({0x44, 0x89, 0xC0, 0xFF, 0xD3});        // mov eax, r8d; call rbx
  add({0x49, 0x01, 0xC0, 0x49, 0x31, 0xD0});  // add r8, rax; xor r8, rdx
  add({0xFF, 0xCD, 0x0F, 0x85});              // dec ebp; jnz to the start
  const u32 back = ~static_cast<u32>(code.size() + 3);
  add({static_cast<u8>(back), static_cast<u8>(back >> 8), static_cast<u8>(back >> 16), static_cast<u8>(back >> 24), 0xEB, 0xFE});
  return code;
}

class Side {
 public:
  Side(const Form& f, const jit::TranslatorOptions* options) : form_(f), function_(f.same_page ? M::kCode + 0x800 : 0x41000) {
    if (options != nullptr) translator = &jit::use_translator(m, *options);
    for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | 3);
    m.write<u64>(kPt + 8 * (kAlias >> 12), (function_ & ~kPageMask) | 3);
    m.long64(0);
    m.write<u64>(M::kTables + 0x2000, kPt | 7);
    const Bytes code = caller(f);
    for (std::size_t n = 0; n < code.size(); n++) m.write<u8>(M::kCode + n, code[n]);
    for (unsigned n = kBody; n < kBody + 8; n++) m.write<u8>(function_ + n, 0x90);
    m.write<u8>(function_ + kBody + 8, 0xC3);
  }

  /// Puts the bodies where the caller finds them, and starts it.
  void start(const std::vector<Bytes>& bodies, u64 seed) {
    for (std::size_t n = 0; n < bodies.size(); n++)
      for (unsigned k = 0; k < kBody; k++) m.write<u8>(kTable + kBody * n + k, bodies[n][k]);
    if (form_.writer == Form::Immediate)
      for (unsigned k = 0; k < kBody; k++) m.write<u8>(function_ + k, bodies[0][k]);
    CpuState& s = m.cpu.s;
    for (unsigned r = 0; r < 16; r++) s.gpr[r] = seed * (r + 3) * 0xD1B54A32D192ED03ull;
    s.gpr[RSI] = kTable;
    s.gpr[RDI] = form_.alias ? kAlias + (function_ & kPageMask) : function_;
    s.gpr[RBX] = function_;
    s.gpr[RBP] = kCalls;
    s.gpr[13] = 0x60FFC;
    s.gpr[RSP] = M::kStack0;
    s.flags.set_value(0);
    s.rip = M::kCode;
    m.cpu.refresh();
  }
  void dma(unsigned at, u8 byte) { m.ram_map.PhysicalMap::write(function_ + at, {&byte, 1}); }

  u64 state() {
    StateHasher hasher;
    m.cpu.s.sync(hasher);
    Bytes memory(0x80000);
    m.ram_map.read(0, memory);
    hasher.bytes(memory.data(), memory.size());
    return hasher.digest();
  }

  M m;
  jit::Translator* translator = nullptr;

 private:
  Form form_;
  u64 function_;
};

std::vector<Bytes> make_bodies(Random& random, const Form& f) {
  std::vector<std::pair<const Shape*, const Shape*>> kinds;
  while (kinds.size() < f.shapes) {
    const Shape* first = &kShapes[random() % kShapes.size()];
    if (random() % 4 == 0) kinds.push_back({&kWhole[random() % kWhole.size()], nullptr});
    else kinds.push_back({first, &kShapes[random() % kShapes.size()]});
  }
  std::vector<Bytes> bodies;
  for (unsigned n = 0; n < kCalls; n++) {
    const auto& [first, second] = kinds[random() % kinds.size()];
    Bytes body = first->bytes;
    for (unsigned k = 0; k < first->imm_size; k++) body[first->imm + k] = static_cast<u8>(random());
    if (second != nullptr) {
      body.insert(body.end(), second->bytes.begin(), second->bytes.end());
      for (unsigned k = 0; k < second->imm_size; k++) body[8 + second->imm + k] = static_cast<u8>(random());
    }
    bodies.push_back(body);
  }
  return bodies;
}

void compare(const Form& f, const jit::TranslatorOptions& options, unsigned rounds = 6) {
  if (!jit::translator_supported()) return;
  Random random(f.shapes * 16 + f.writer + 5);
  Side reference(f, nullptr), subject(f, &options);
  for (unsigned round = 0; round < rounds; round++) {
    const std::vector<Bytes> bodies = make_bodies(random, f);
    reference.start(bodies, round + 1);
    subject.start(bodies, round + 1);
    // Long enough for the slowest writer; a body that ends in an exception goes on in its handler.
    for (u64 total = 0; total < kCalls * 90;) {
      const u64 count = random() % 3 == 0 ? 1 + random() % 7 : 1 + random() % 400;
      total += count;
      reference.m.run(count);
      subject.m.run(count);
      const bool same = reference.state() == subject.state();
      CHECK_MESSAGE(same, "round ", round, ", at ", reference.m.cpu.s.retired, " and ", subject.m.cpu.s.retired, ": rip ",
                    reference.m.cpu.s.rip, " ", subject.m.cpu.s.rip, ", ", reference.m.last_fault(), " ", subject.m.last_fault());
      if (!same) return;
      if (f.dma && random() % 4 == 0) {
        const unsigned at = 1 + static_cast<unsigned>(random() % 4);
        const u8 byte = static_cast<u8>(random());
        reference.dma(at, byte);
        subject.dma(at, byte);
      }
    }
  }
}

constexpr jit::TranslatorOptions kUsual{.code_bytes = 1 << 20, .verify = true};

}  // namespace

TEST_CASE("a function whose immediates are rewritten before each call") {
  for (unsigned n = 0; n < 8; n++) compare({.shapes = 1, .writer = Form::Quads, .same_page = n % 2 == 1}, kUsual, 3 + n);
  compare({.shapes = 1, .writer = Form::Immediate}, kUsual, 20);
}
TEST_CASE("a function that takes a few shapes, or more than are kept") {
  compare({.shapes = 2, .writer = Form::Quads}, kUsual, 12);
  compare({.shapes = 5, .writer = Form::Quads}, kUsual, 12);
  compare({.shapes = 40, .writer = Form::Quads}, kUsual, 12);
  jit::TranslatorOptions always = kUsual;
  always.interpret_rewritten = false;
  compare({.shapes = 40, .writer = Form::Quads}, always, 12);
}
TEST_CASE("a function rewritten byte by byte, by a string instruction, through an alias, in its caller's page") {
  for (const auto writer : {Form::Bytes16, Form::String, Form::Quads})
    for (const unsigned shapes : {1u, 3u})
      for (unsigned n = 0; n < 4; n++) compare({.shapes = shapes, .writer = writer, .alias = n % 2 == 1, .same_page = n / 2 == 1}, kUsual);
}
TEST_CASE("a function rewritten by its caller and by a device") {
  compare({.shapes = 1, .writer = Form::Quads, .dma = true}, kUsual, 12);
  compare({.shapes = 3, .writer = Form::Bytes16, .same_page = true, .dma = true}, kUsual, 12);
}
TEST_CASE("rewritten functions without chaining and passes, with short blocks, and with a cache that is emptied") {
  for (const unsigned shapes : {1u, 4u}) {
    compare({.shapes = shapes, .writer = Form::Quads}, {.code_bytes = 1 << 20, .chaining = false, .passes = false, .verify = true});
    compare({.shapes = shapes, .writer = Form::Quads}, {.code_bytes = 1 << 20, .most_insns = 3, .split_seed = 2, .verify = true});
    compare({.shapes = shapes, .writer = Form::Quads}, {.code_bytes = 1 << 20, .flush_every = 70, .verify = true});
  }
}
TEST_CASE("rewriting immediates before each call doesn't make the translator start again") {
  if (!jit::translator_supported()) return;
  const Form f{.shapes = 1, .writer = Form::Quads};
  Random random(1);
  Side side(f, &kUsual);
  u64 blocks = 0, interpreted = 0;
  for (unsigned round = 0; round < 10; round++) {
    std::vector<Bytes> bodies;
    for (unsigned n = 0; n < kCalls; n++) {
      Bytes body = kShapes[0].bytes;
      body.insert(body.end(), kShapes[2].bytes.begin(), kShapes[2].bytes.end());
      for (unsigned k = 0; k < 4; k++) body[1 + k] = static_cast<u8>(random()), body[9 + k] = static_cast<u8>(random());
      bodies.push_back(body);
    }
    if (round == 3) {
      blocks = side.translator->stats().blocks;
      interpreted = side.translator->stats().interpreted;
    }
    side.start(bodies, round);
    side.m.run(kCalls * 20);
  }
  CHECK(side.translator->stats().blocks < blocks + 20);  // 420 calls; the frame is given up now and then, for stores beside the code
  CHECK(side.translator->stats().interpreted < interpreted + 300);
}
