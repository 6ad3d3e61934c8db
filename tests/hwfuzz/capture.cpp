#include "tests/hwfuzz/capture.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "cpu/decoder.h"
#include "cpu/table/table.h"
#include "tests/hwfuzz/simplify.h"
#include "tests/hwfuzz/vectors.h"

namespace callgate::hwfuzz {

namespace {

struct Group {
  const char* file;
  std::span<const Row> (*rows)();
};
constexpr Group kGroups[] = {
    {"arithmetic", arithmetic_rows},
    {"avx2", avx2_rows},
    {"avx_float", avx_float_rows},
    {"avx_integer", avx_integer_rows},
    {"avx_move", avx_move_rows},
    {"bit", bit_rows},
    {"bmi", bmi_rows},
    {"branch", branch_rows},
    {"crypto", crypto_rows},
    {"data", data_rows},
    {"fma", fma_rows},
    {"fpu_state", fpu_state_rows},
    {"integer_extensions", integer_extension_rows},
    {"mmx", mmx_rows},
    {"sse3", sse3_rows},
    {"sse41", sse41_rows},
    {"sse42", sse42_rows},
    {"sse_float", sse_float_rows},
    {"sse_integer", sse_integer_rows},
    {"sse_move", sse_move_rows},
    {"ssse3", ssse3_rows},
    {"string", string_rows},
    {"system", system_rows},
    {"transfer", transfer_rows},
    {"x87", x87_rows},
};

/// More tries than any row needs.
constexpr unsigned kMostTries = 400;
/// Faults of a row that are kept.
constexpr unsigned kMostFaults = 2;
constexpr std::size_t kLongestLine = 900;

std::string heading(const Row& row) { return fmt::format("# {} | {} | {}", row.encoding, mnemonic(row), row.operands); }

}  // namespace

bool capture(Session& session, const std::string& folder, unsigned per_row) {
  const auto& rows = session.generator().rows();
  for (const Group& group : kGroups) {
    std::string text;
    for (const Row& row : group.rows()) {
      const auto at = std::find(rows.begin(), rows.end(), &row);
      if (at == rows.end()) continue;
      text += heading(row) + "\n";
      unsigned kept = 0, faults = 0;
      std::set<std::string> lines;
      for (unsigned tries = 0; tries < kMostTries && kept < per_row; tries++) {
        Case c;
        session.generator().make(c, static_cast<unsigned>(at - rows.begin()), 1);
        Outcome ours;
        session.engine().run(c, ours);
        // The first tries look for cases that don't fault.
        const bool fault = ours.ending != Ending::Finished;
        if (fault && (faults >= kMostFaults || (kept == 0 && tries < kMostTries / 4))) continue;
        const std::string wanted = outcome_text(c, ours);
        simplify(c, [&](const Case& t) {
          Outcome o;
          session.engine().run(t, o);
          return outcome_text(t, o) == wanted;
        });
        Outcome real;
        if (!session.try_again(c, real).empty()) continue;
        const std::string line = to_line(c, real);
        if (line.size() > kLongestLine || !lines.insert(line).second) continue;
        kept++;
        faults += fault;
        text += line + "\n";
      }
    }
    if (text.empty()) continue;
    const std::string path = folder + "/" + group.file + ".txt";
    std::ofstream out(path, std::ios::binary);
    out << "# Captured from a real processor by `hwfuzz --capture`: see tests/hwfuzz/vectors.h for the format.\n"
        << text;
    if (!out.flush()) {
      fmt::print("{}: can't be written\n", path);
      return false;
    }
  }
  return true;
}

bool answer(Host& host, const std::string& file) {
  std::ifstream in(file);
  if (!in) {
    fmt::print(stderr, "{}: can't be read\n", file);
    return false;
  }
  Case c;
  Outcome o;
  for (std::string line; std::getline(in, line);) {
    const bool vector = !line.empty() && line[0] != '#' && from_line(line.substr(0, line.find('>')) + ">", c, o);
    fmt::print("{}\n", vector ? to_line(c, host.run(c)) : line);
  }
  return true;
}

unsigned replay(const std::string& folder, Subject subject) {
  Engine engine(subject);
  unsigned failures = 0, replayed = 0;
  std::set<const Row*> seen;
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Case c;
  Outcome host, ours;
  for (const auto& file : files) {
    std::ifstream in(file);
    std::string line;
    for (unsigned number = 1; std::getline(in, line); number++) {
      if (line.empty() || line[0] == '#') continue;
      if (!from_line(line, c, host)) {
        fmt::print("{}:{}: not a vector: {}\n", file.string(), number, line);
        failures++;
        continue;
      }
      replayed++;
      Insn insn;
      if (decode({c.code, sizeof c.code}, CodeSize::Bits64, insn) == DecodeStatus::Ok) seen.insert(insn.row);
      engine.run(c, ours);
      const Quirk* quirk = nullptr;
      const std::string what = judge(engine, c, host, ours, quirk);
      if (what.empty()) continue;
      fmt::print("{}:{}: {}\n    {}\n", file.string(), number, line, what);
      failures++;
    }
  }
  const Generator generator(1, false);
  for (const Row* row : generator.rows()) {
    if (seen.contains(row)) continue;
    fmt::print("no vector for {}\n", heading(*row));
    failures++;
  }
  fmt::print("{} vectors in {} files, {} failures\n", replayed, files.size(), failures);
  return failures;
}

}  // namespace callgate::hwfuzz
