// Runs the tests of cpu/ on the translator: jit_cpu_tests --tuning=NAME, and doctest's options.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <string_view>

#include "base/verify.h"
#include "cpu/test_engine.h"
#include "jit/translator.h"
#include "jit/x64/host.h"

namespace callgate::test {
namespace {

constexpr int kSkipped = 77;

// Most tests run one instruction at a time, which the translator leaves to the interpreter unless it is a block of its own.
struct Tuning {
  std::string_view name;
  jit::TranslatorOptions options;
};
constexpr jit::x64::Host kPlainHost{};  ///< has no extension, and leaves flags otherwise than the guest's processor
constexpr Tuning kTunings[] = {
    {"usual", {.verify = true}},
    {"single", {.most_insns = 1, .verify = true}},
    {"single_plain", {.chaining = false, .passes = false, .most_insns = 1, .verify = true}},
    {"split", {.most_insns = 3, .split_seed = 1, .verify = true}},
    {"flush", {.most_insns = 1, .flush_every = 3, .verify = true}},
    {"plain_host", {.most_insns = 1, .verify = true, .host = &kPlainHost}},
    {"versions", {.promote_after = 1, .verify = true}},
};
jit::TranslatorOptions options;
u64 entries = 0;  ///< into emitted code, by all tests

class TranslatorUnderTest final : public TestEngine {
 public:
  explicit TranslatorUnderTest(std::unique_ptr<jit::Translator> translator) : translator_(std::move(translator)) {}
  ~TranslatorUnderTest() override { entries += translator_->stats().entries; }
  void run(Cpu& cpu, const u64& until, const bool& stop) override { translator_->run(cpu, until, stop); }

 private:
  std::unique_ptr<jit::Translator> translator_;
};

std::unique_ptr<TestEngine> make_translator(PhysicalMap& memory, Interpreter& interpreter) {
  auto translator = jit::Translator::create(memory, interpreter, options);
  VERIFY(translator.has_value(), "no translator for a test");
  return std::make_unique<TranslatorUnderTest>(std::move(*translator));
}

}  // namespace
}  // namespace callgate::test

int main(int argc, char** argv) {
  using namespace callgate;
  if (!jit::translator_supported()) {
    std::puts("skipped: there is no translator for this host");
    return test::kSkipped;
  }
  for (int i = 1; i < argc; i++) {
    const std::string_view word = argv[i];
    for (const auto& tuning : test::kTunings)
      if (word.starts_with("--tuning=") && word.substr(9) == tuning.name) test::options = tuning.options;
  }
  test::options.code_bytes = std::size_t{1} << 20;
  test::options.interpret_rewritten = false;  // tests put their instructions at the same place again and again
  test::make_test_engine = test::make_translator;
  doctest::Context context(argc, argv);
  const int status = context.run();
  std::printf("%llu entries into emitted code\n", static_cast<unsigned long long>(test::entries));
  return status != 0 || context.shouldExit() || test::entries != 0 ? status : 1;
}
