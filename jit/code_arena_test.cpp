// The memory of emitted code: never writable and executable at once, and never too small.
#include "jit/code_arena.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "base/bits.h"
#include "cpu/semantics/test_cpu.h"
#include "jit/translator.h"

using namespace callgate;
using namespace callgate::jit;

namespace {

/// A line of /proc/self/maps. Ref: Linux, Documentation/filesystems/proc.rst.
struct Mapping {
  u64 start = 0, end = 0;
  std::string rights, line;
  bool writable() const { return rights[1] == 'w'; }
  bool executable() const { return rights[2] == 'x'; }
};
std::vector<Mapping> mappings() {
  std::vector<Mapping> all;
  std::ifstream file("/proc/self/maps");
  for (std::string line; std::getline(file, line);) {
    Mapping m;
    char dash = 0;
    std::istringstream(line) >> std::hex >> m.start >> dash >> m.end >> m.rights;
    m.line = line;
    all.push_back(m);
  }
  return all;
}
const Mapping* find(const std::vector<Mapping>& all, const void* p) {
  const u64 at = reinterpret_cast<std::uintptr_t>(p);
  for (const Mapping& m : all)
    if (at >= m.start && at < m.end) return &m;
  return nullptr;
}
void check_nothing_is_both(const std::vector<Mapping>& all) {
  for (const Mapping& m : all) CHECK_MESSAGE(!(m.writable() && m.executable()), m.line);
}

/// A processor whose engine is a translator.
class Side {
 public:
  explicit Side(const TranslatorOptions& options) {
    options_ = options;
    test::make_test_engine = [](PhysicalMap& memory, Interpreter& interpreter) -> std::unique_ptr<test::TestEngine> {
      auto engine = std::make_unique<Engine>(std::move(Translator::create(memory, interpreter, options_).value()));
      made_ = engine->translator.get();
      return engine;
    };
    cpu = std::make_unique<test::TestCpu>(test::Mode::Long64);
    translator = made_;
    test::make_test_engine = nullptr;
  }
  std::unique_ptr<test::TestCpu> cpu;
  Translator* translator = nullptr;

 private:
  struct Engine final : test::TestEngine {
    explicit Engine(std::unique_ptr<Translator> t) : translator(std::move(t)) {}
    void run(Cpu& c, const u64& until, const bool& stop) override { translator->run(c, until, stop); }
    std::unique_ptr<Translator> translator;
  };
  static inline TranslatorOptions options_;
  static inline Translator* made_ = nullptr;
};

/// Code over many pages, each piece of which does some arithmetic and goes on at the next; the last begins again.
void place_long_code(u8* ram, unsigned pieces) {
  constexpr unsigned kPiece = 64;
  for (unsigned n = 0; n < pieces; n++) {
    u8* p = ram + test::TestCpu::kCode + n * kPiece;
    const auto put = [&](std::initializer_list<u8> bytes) { p = std::copy(bytes.begin(), bytes.end(), p); };
    put({0x48, 0x05, static_cast<u8>(n), static_cast<u8>(n >> 8), 1, 0});  // add rax, n
    put({0x48, 0x31, 0xC3});                                              // xor rbx, rax
    put({0x48, 0x89, 0x1C, 0x25, 0x00, 0x20, 0, 0});                      // mov [0x2000], rbx
    put({0x48, 0x03, 0x0C, 0x25, 0x00, 0x20, 0, 0});                      // add rcx, [0x2000]
    put({0x48, 0xC1, 0xC1, 0x07});                                        // rol rcx, 7
    const u8* const target = ram + test::TestCpu::kCode + (n + 1) % pieces * kPiece;
    put({0xE9});
    store_as<i32>(p, static_cast<i32>(target - (p + 4)));
  }
}

}  // namespace

TEST_CASE("an arena shows at its executable addresses what was put into it, and can't be written there") {
  CodeArena arena;
  REQUIRE(arena.open(10'000).has_value());
  CHECK(arena.size() == 12'288);  // whole pages
  const u8* const at = arena.next();
  const std::vector<u8> code{1, 2, 3, 4, 5, 6, 7, 8, 9};
  arena.append(code.data(), code.size());
  CHECK(std::equal(code.begin(), code.end(), at));
  CHECK(arena.next() == at + 16);  // the next one is aligned
  arena.patch(const_cast<u8*>(at) + 4, 0x11223344);
  CHECK(load_as<u32>(at + 4) == 0x11223344);
  CHECK(at[8] == 9);
  arena.reset(0);
  CHECK(arena.next() == at);
  CHECK(arena.room() == arena.size());

  const auto all = mappings();
  if (all.empty()) return;  // not Linux
  const Mapping* m = find(all, at);
  REQUIRE(m != nullptr);
  CHECK(m->rights.substr(0, 3) == "r-x");
  check_nothing_is_both(all);
}

TEST_CASE("memory that the host doesn't have is a sentence") {
  CodeArena arena;
  const auto opened = arena.open(std::size_t{1} << 60);
  REQUIRE(!opened.has_value());
  CHECK(opened.error().kind == ErrorKind::Host);
  CHECK(opened.error().message.find("--engine interp") != std::string::npos);
}

TEST_CASE("no memory is writable and executable while translated code runs") {
  if (!translator_supported()) return;
  Side side({.code_bytes = 1 << 20});
  place_long_code(side.cpu->ram(), 200);
  std::vector<EmittedCode> emitted;
  side.translator->on_code([&](const EmittedCode& e) { emitted.push_back(e); });
  // In the middle of it: new blocks are emitted, links patched and blocks forgotten between two looks.
  u64 until = 0;
  const bool stop = false;
  for (unsigned look = 0; look < 20; look++) {
    until += 137;
    side.translator->run(side.cpu->cpu(), until, stop);
    side.cpu->memory().bus_write(test::TestCpu::kCode + 64 * 3 * look + 2, 1, u64{0x55});
    const auto all = mappings();
    if (all.empty()) return;
    check_nothing_is_both(all);
    REQUIRE(!emitted.empty());
    for (const EmittedCode& e : {emitted.front(), emitted.back()}) {
      const Mapping* m = find(all, e.at);
      REQUIRE(m != nullptr);
      CHECK(m->rights.substr(0, 3) == "r-x");
    }
  }
  CHECK(side.translator->stats().invalidated > 0);
}

TEST_CASE("an arena that is much too small for a guest's code gives the same results") {
  if (!translator_supported()) return;
  constexpr u64 kInstructions = 200'000;
  constexpr unsigned kPieces = 4000;
  u64 expected[4] = {};
  {
    test::TestCpu reference(test::Mode::Long64);
    place_long_code(reference.ram(), kPieces);
    while (reference.s().retired < kInstructions) reference.step();
    for (unsigned r = 0; r < 4; r++) expected[r] = reference.gpr(r);
  }
  for (const bool chaining : {true, false}) {
    Side side({.code_bytes = 288 << 10, .chaining = chaining});
    place_long_code(side.cpu->ram(), kPieces);
    const bool stop = false;
    side.translator->run(side.cpu->cpu(), kInstructions, stop);
    CHECK(side.cpu->s().retired == kInstructions);
    for (unsigned r = 0; r < 4; r++) CHECK(side.cpu->gpr(r) == expected[r]);
    CHECK(side.translator->stats().flushes > 20);
  }
}

TEST_CASE("an arena without room for a block is refused with a sentence") {
  if (!translator_supported()) return;
  PhysicalMap memory(std::move(Ram::create(1 << 20).value()), 1 << 20);
  DecodeCache decoded(memory);
  Interpreter interpreter(decoded);
  for (const std::size_t size : {std::size_t{1}, std::size_t{4096}, (std::size_t{288} << 10) - 1}) {
    const auto made = Translator::create(memory, interpreter, {.code_bytes = size});
    REQUIRE(!made.has_value());
    CHECK(made.error().kind == ErrorKind::BadArgument);
    CHECK(made.error().message.find("code-bytes=288K") != std::string::npos);
  }
  CHECK(Translator::create(memory, interpreter, {.code_bytes = 288 << 10}).has_value());
}
