// The hardware fuzzer's command: random instructions on the real processor and on our engine, compared.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>

#include "cpu/decoder.h"
#include "cpu/table/table.h"
#include "tests/hwfuzz/compare.h"
#include "tests/hwfuzz/generator.h"
#include "tests/hwfuzz/host.h"

namespace callgate::hwfuzz {
namespace {

std::string hex(const u8* p, unsigned n) {
  std::string s;
  for (unsigned i = 0; i < n; i++) s += fmt::format("{:02x}", p[i]);
  return s;
}

struct Options {
  u64 seed = 1, seconds = 0, cases = 300000;
  std::string row;
};

int run(const Options& o) {
  auto made = Host::create();
  if (!made) {
    fmt::print("skipped: {}\n", made.error().message);
    return 77;
  }
  Host& host = **made;
  Engine engine;
  Generator generator(o.seed);
  const auto& rows = generator.rows();
  std::vector<u64> finished(rows.size()), faulted(rows.size()), differ(rows.size());
  std::map<std::string, u64> excused;
  std::vector<unsigned> chosen;
  for (unsigned i = 0; i < rows.size(); i++)
    if (o.row.empty() || mnemonic(*rows[i]) == o.row || o.row == rows[i]->encoding) chosen.push_back(i);
  fp::TestRandom random(o.seed + 77);
  auto ours = std::make_unique<Outcome>();
  std::vector<unsigned> of(kBatch);
  u64 cases = 0, instructions = 0, lost = 0, shown = 0;
  const auto began = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  std::vector<Outcome> mine(kBatch);
  std::vector<Case> batch(kBatch);
  unsigned next = 0;
  while (o.seconds ? elapsed() < static_cast<double>(o.seconds) : cases < o.cases) {
    for (unsigned i = 0; i < kBatch; i++) {
      of[i] = chosen[next++ % chosen.size()];
      generator.make(batch[i], of[i], random.below(4) ? 1 : 2 + static_cast<unsigned>(random.below(kMostInstructions - 1)));
      host.cases()[i] = batch[i];
    }
    host.start(kBatch);
    for (unsigned i = 0; i < kBatch; i++) engine.run(batch[i], mine[i]);
    host.finish();
    std::vector<unsigned> retry;
    for (unsigned i = 0; i < kBatch; i++) {
      const Outcome& h = host.outcomes()[i];
      cases++;
      instructions += batch[i].instructions;
      if (h.ending == Ending::Lost || h.ending == Ending::Endless) lost++;
      (h.ending == Ending::Finished ? finished : faulted)[of[i]]++;
      const Quirk* quirk = nullptr;
      std::string what = judge(engine, batch[i], h, mine[i], quirk);
      if (!what.empty()) retry.push_back(i);
      if (quirk != nullptr) excused[quirk->name]++;
    }
    for (const unsigned i : retry) {
      const Quirk* quirk = nullptr;
      std::string what;
      const Outcome* again = nullptr;
      for (unsigned tries = 0; tries < 3; tries++) {
        again = &host.run(batch[i]);
        what = judge(engine, batch[i], *again, mine[i], quirk);
        if (what.empty()) break;
      }
      const Outcome& h = *again;
      quirk = nullptr;
      if (quirk != nullptr) excused[quirk->name]++;
      if (what.empty()) continue;
      if (differ[of[i]]++ < 2 && shown++ < 4000) {
        const Case& c = batch[i];
        fmt::print("DIFF {} | {} | end {}/{:x}/{:x} fl {:x} rsp {:x} rbp {:x} cw {:x} sw {:x} | n={} {}\n   {}\n", rows[of[i]]->encoding, mnemonic(*rows[of[i]]), h.vector, h.error_code, h.cr2, c.in.rflags, c.in.gpr[4], c.in.gpr[5], c.in.fx.control, c.in.fx.status, c.instructions, hex(c.code, c.start[c.instructions]), what);
      }
    }
  }
  fmt::print("{} cases, {} instructions, {:.0f} instructions/s, {} lost\n", cases, instructions, static_cast<double>(instructions) / elapsed(), lost);
  for (const auto& [name, n] : excused) fmt::print("  {} excused: {}\n", n, name);
  unsigned never = 0;
  for (const unsigned i : chosen) {
    if (finished[i] == 0) fmt::print("  never finished: {} {} (faulted {})\n", rows[i]->encoding, mnemonic(*rows[i]), faulted[i]), never++;
    if (differ[i]) fmt::print("  {} differ of {}: {} {} {}\n", differ[i], finished[i] + faulted[i], rows[i]->encoding, mnemonic(*rows[i]), rows[i]->operands);
  }
  return 0;
}

}  // namespace
}  // namespace callgate::hwfuzz

int main(int argc, char** argv) {
  callgate::hwfuzz::Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--seed") o.seed = std::strtoull(argv[i + 1], nullptr, 0);
    if (name == "--seconds") o.seconds = std::strtoull(argv[i + 1], nullptr, 0);
    if (name == "--cases") o.cases = std::strtoull(argv[i + 1], nullptr, 0);
    if (name == "--row") o.row = argv[i + 1];
  }
  return callgate::hwfuzz::run(o);
}
