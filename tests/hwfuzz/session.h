// A fuzzing session: batches of cases through the real processor and our engine at the same time, what was covered, and
// what differed, made small.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/hwfuzz/compare.h"
#include "tests/hwfuzz/generator.h"
#include "tests/hwfuzz/host.h"

namespace callgate::hwfuzz {

/// What happened to a row.
struct RowCount {
  u64 finished = 0;  ///< single instructions that completed on the real processor
  u64 faulted = 0;   ///< single instructions that faulted
  u64 in_runs = 0;   ///< as the first of several
  u64 differed = 0;
};

/// A difference that no quirk explains, as small as it got.
struct Find {
  Case made;
  Outcome host;
  std::string what;
};

class Session {
 public:
  Session(Host& host, u64 seed, Subject subject);

  /// Only rows whose mnemonic or encoding this is.
  void choose(const std::string& row);
  /// One batch. Every find is handed to `found`.
  void batch(const std::function<void(const Find&)>& found);

  Generator& generator() { return generator_; }
  Engine& engine() { return engine_; }
  const std::vector<RowCount>& rows() const { return counts_; }
  const std::vector<unsigned>& chosen() const { return chosen_; }
  const std::map<std::string, u64>& excused() const { return excused_; }
  u64 cases() const { return cases_; }
  u64 instructions() const { return instructions_; }
  u64 unclear() const { return unclear_; }

  /// What a case does on both sides: the differences, empty when they agree or a quirk explains them.
  std::string try_again(const Case& c, Outcome& host);

 private:
  Find make_small(const Case& c);

  Host& host_;
  Engine engine_;
  Generator generator_;
  fp::TestRandom random_;
  std::vector<RowCount> counts_;
  std::vector<unsigned> chosen_;
  std::map<std::string, u64> excused_;
  std::vector<Case> batch_;
  std::vector<Outcome> ours_;
  std::vector<unsigned> row_;
  u64 cases_ = 0, instructions_ = 0, unclear_ = 0;
  std::size_t next_ = 0;
};

}  // namespace callgate::hwfuzz
