// Runs a recording again, and tells whether it went the same way.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "machine/boot/file_bytes.h"
#include "machine/recorder.h"
#include "machine/recording.h"

namespace callgate {

/// How a replay came out.
enum class ReplayOutcome {
  Matched,    ///< the end was reached, and every hash on the way was the same
  Stopped,    ///< at the count that was asked for; the same so far
  CutOff,     ///< the recording has no end: the same as far as it goes
  Different,  ///< see Replay::verdict()
  Damaged,    ///< what it goes on from can't be had: see Replay::verdict()
};

class Replay {
 public:
  struct Options {
    Engine engine = default_engine();
    TranslatorTuning translator;
    u64 until = ~u64{0};
    /// Where a file that is not bundled is read from, instead of where it was or beside the recording. By role; for
    /// modules in order.
    std::string kernel, initrd, snapshot;
    std::vector<std::string> modules;
  };
  /// Makes the machine and loads it. Errors: BadFile (another build, CPU model or file), MissingFile, BadArgument, Host.
  static Result<std::unique_ptr<Replay>> create(Recording recording, const Options& options);

  Machine& machine() { return *machine_; }
  const Recording& recording() const { return recording_; }
  /// What the machine was loaded from, for a recording that goes on from this one. With `contents` the files are read
  /// (again) that were not bundled. Good as long as the replay. Errors as create's.
  Result<RunStart> start(bool contents);

  /// Runs on, for `slice` instructions at most. True: over, see outcome().
  bool run(u64 slice);
  ReplayOutcome outcome() const { return outcome_; }
  /// One sentence: that it matched, or where it first did not.
  const std::string& verdict() const { return verdict_; }
  /// Leaves the recording here: from now on the machine takes live inputs.
  void go_live();

 private:
  Replay(Recording recording, const Options& options) : recording_(std::move(recording)), options_(options) {}
  Result<boot::FileBytes> read_file(std::size_t index) const;
  Result<> make_machine();
  Result<> check_machine() const;
  bool conclude(ReplayOutcome outcome, std::string verdict);
  bool different(const std::string& how);
  bool check_hash(const RecordedHash& expected);
  bool check_end(Stop stop);
  std::string matched_so_far() const;

  Recording recording_;
  Options options_;
  std::vector<boot::FileBytes> started_from_;  ///< what start() gave out
  std::unique_ptr<Machine> machine_;
  std::size_t hashes_seen_ = 0;
  u64 last_good_ = 0;  ///< count of the last hash that was the same
  ReplayOutcome outcome_ = ReplayOutcome::Stopped;
  std::string verdict_;
};

}  // namespace callgate
