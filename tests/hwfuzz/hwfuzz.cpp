// The hardware fuzzer's command: random user-mode instructions on the real processor and on our engine, compared.
// See docs/testing.md.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "cpu/semantics/host_features.h"
#include "cpu/table/table.h"
#include "jit/translator.h"
#include "tests/hwfuzz/capture.h"
#include "tests/hwfuzz/vectors.h"

namespace callgate::hwfuzz {
namespace {

constexpr const char* kUsage =
    "hwfuzz [--engine interp|jit] [--seed N] [--cases N | --seconds N] [--row MNEMONIC-OR-ENCODING] [--finds FILE] [--rows]\n"
    "    random instructions on this host's processor and on our engine; --rows counts every row\n"
    "hwfuzz --capture FOLDER [--per-row N] [--seed N]\n"
    "    writes vectors, captured from this host's processor\n"
    "hwfuzz --engine-only [--seed N] [--cases N]\n"
    "    the same instructions on our engine alone, for sanitizers\n"
    "hwfuzz --answer FILE\n"
    "    prints the vectors of a file with the answers of this host's processor (\"pmulhw\": 660fe5c1 xmm0=... >)\n"
    "hwfuzz --replay FOLDER\n"
    "    runs vectors on our engine; needs no x86 host\n";
constexpr int kSkipped = 77;
constexpr unsigned kMostFinds = 200;

struct Options {
  u64 seed = 1, seconds = 0, cases = 800000, per_row = 7;
  std::string row, finds, capture, replay, answer;
  bool rows = false, engine_only = false;
  Subject subject = Subject::Interpreter;
};

/// Rows that may have nothing but a fault to show in user mode.
bool may_only_fault(const Row& row) {
  for (const char* name : {"ud0", "ud1", "ud2", "cli", "sti"})
    if (mnemonic(row) == name) return true;
  return row.attributes & kSystem;
}

std::string title(const Row& row) { return fmt::format("{} {} {}", row.encoding, mnemonic(row), row.operands); }

/// What was covered. Returns how many rows were never exercised.
unsigned report_rows(const Session& s, const std::vector<const Row*>& rows, bool all) {
  unsigned never = 0;
  for (const unsigned i : s.chosen()) {
    const RowCount& n = s.rows()[i];
    if (n.finished == 0 && !(may_only_fault(*rows[i]) && n.faulted != 0)) {
      fmt::print("NEVER EXERCISED: {} (faulted {} times)\n", title(*rows[i]), n.faulted);
      never++;
    } else if (all) {
      fmt::print("{:>9} finished {:>7} faulted {:>7} in runs: {}\n", n.finished, n.faulted, n.in_runs, title(*rows[i]));
    }
  }
  unsigned others = 0;
  for (const Row* row : all_rows()) {
    const char* why = not_runnable(*row);
    const bool lacks = !test::host_has(row->feature);
    if (why == nullptr && !lacks) continue;
    others++;
    if (all && why != nullptr) fmt::print("not run on this host: {}: it {}\n", title(*row), why);
    if (all && why == nullptr) fmt::print("not run on this host: {}: its processor has no {}\n", title(*row), row->feature);
  }
  fmt::print("{} of {} rows exercised; {} others can't run here (--rows says why)\n", s.chosen().size() - never,
             s.chosen().size(), others);
  return never;
}

int fuzz(const Options& o, Session& s) {
  if (!o.row.empty()) s.choose(o.row);
  if (s.chosen().empty()) {
    fmt::print("no row that runs here is called {}\n", o.row);
    return 2;
  }
  const auto began = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  unsigned finds = 0;
  std::ofstream file;
  if (!o.finds.empty()) file.open(o.finds, std::ios::app);
  while ((o.seconds != 0 ? elapsed() < static_cast<double>(o.seconds) : s.cases() < o.cases) && finds < kMostFinds) {
    s.batch([&](const Find& f) {
      finds++;
      const std::string line = to_line(f.made, f.host);
      fmt::print("DIFFERENCE\n  {}\n  {}\n", line, f.what);
      if (file) file << line << "\n" << std::flush;
    });
  }
  fmt::print("{} cases, {} instructions, {:.0f} a second, {} unclear\n", s.cases(), s.instructions(),
             static_cast<double>(s.instructions()) / elapsed(), s.unclear());
  for (const Quirk& q : quirks()) {
    const auto n = s.excused().find(q.name);
    if (n != s.excused().end()) fmt::print("{:>9} excused by {}: {}\n", n->second, q.name, q.reason);
  }
  const unsigned never = report_rows(s, s.generator().rows(), o.rows);
  if (finds != 0) fmt::print("FAILED: {} differences\n", finds);
  if (never != 0) fmt::print("FAILED: {} rows never exercised (look at more cases?)\n", never);
  return finds != 0 || never != 0;
}

/// Random instructions for a sanitizer to watch. (In a build with AddressSanitizer there is no comparing: its shadow
/// memory lies at addresses where cases expect nothing.)
int run_engine(const Options& o) {
  Generator generator(o.seed, false);
  Engine engine(o.subject);
  fp::TestRandom random(o.seed);
  Case c;
  Outcome out;
  for (u64 n = 0; n < o.cases; n++) {
    generator.make(c, static_cast<unsigned>(n % generator.rows().size()),
                   1 + static_cast<unsigned>(random.below(kMostInstructions)));
    engine.run(c, out);
  }
  fmt::print("{} cases on our engine\nskipped: the comparison with the host's processor (--engine-only)\n", o.cases);
  return 0;
}

int run(const Options& o) {
  if (o.subject == Subject::Translator && !jit::translator_supported()) {
    fmt::print("skipped: there is no translator for this host\n");
    return kSkipped;
  }
  if (!o.replay.empty()) return replay(o.replay, o.subject) != 0;
  if (o.engine_only) return run_engine(o);
  auto host = Host::create();
  if (!host) {
    fmt::print("skipped: {}\n", host.error().message);
    return kSkipped;
  }
  if (!o.answer.empty()) return answer(**host, o.answer) ? 0 : 1;
  Session session(**host, o.seed, o.subject);
  if (!o.capture.empty()) return capture(session, o.capture, static_cast<unsigned>(o.per_row)) ? 0 : 1;
  return fuzz(o, session);
}

}  // namespace
}  // namespace callgate::hwfuzz

int main(int argc, char** argv) {
  callgate::hwfuzz::Options o;
  for (int i = 1; i < argc; i++) {
    const std::string_view name = argv[i];
    if (name == "--rows") {
      o.rows = true;
      continue;
    }
    if (name == "--engine-only") {
      o.engine_only = true;
      continue;
    }
    const char* value = i + 1 < argc ? argv[++i] : nullptr;
    const auto number = [&] { return std::strtoull(value, nullptr, 0); };
    if (value == nullptr) return fmt::print("{}", callgate::hwfuzz::kUsage), 2;
    if (name == "--seed")
      o.seed = number();
    else if (name == "--seconds")
      o.seconds = number();
    else if (name == "--cases")
      o.cases = number();
    else if (name == "--per-row")
      o.per_row = number();
    else if (name == "--row")
      o.row = value;
    else if (name == "--finds")
      o.finds = value;
    else if (name == "--capture")
      o.capture = value;
    else if (name == "--replay")
      o.replay = value;
    else if (name == "--answer")
      o.answer = value;
    else if (name == "--engine" && (std::string_view(value) == "interp" || std::string_view(value) == "jit"))
      o.subject = *value == 'j' ? callgate::hwfuzz::Subject::Translator : callgate::hwfuzz::Subject::Interpreter;
    else
      return fmt::print("{}", callgate::hwfuzz::kUsage), 2;
  }
  return callgate::hwfuzz::run(o);
}
