// Writes a recording while a machine runs. Costs a look at the journal after each run, and a hash now and then.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "machine/recording.h"

namespace callgate {

struct RecorderOptions {
  std::string path;
  std::string version;     ///< of the program
  u64 id = 0;              ///< a number that no other recording has: the caller's randomness
  bool bundle = false;     ///< the files that the guest is started from go into the recording
  bool debugged = false;   ///< somebody may change the machine by hand, or take it back and on another way
  u64 hash_every = 200'000'000;  ///< instructions between two hashes of the state
};

/// What a recorded run begins with.
struct RunStart {
  RecordingHeader origin;                         ///< command line, way of entry and files
  std::vector<std::span<const u8>> contents;     ///< of the files; only needed to bundle them
};
RunStart start_of(const boot::BootInputs& inputs, const boot::BootOptions& boot, const std::string& version);

class Recorder {
 public:
  /// Makes the file and writes what the run begins with, before it is loaded into the machine (which must
  /// outlive the recorder). `parent`: the recording that this one goes on from, which had the same beginning.
  /// Errors: BadArgument, MissingFile, Host.
  static Result<std::unique_ptr<Recorder>> create(const RecorderOptions& options, Machine& machine, const RunStart& start,
                                                  const Recording* parent = nullptr);

  /// Once the machine is loaded: the hash of the beginning. A machine that replayed a part of `parent` brings its
  /// journal with it, and the parent's hashes up to here.
  Result<> begin(const Recording* parent = nullptr);
  /// As Machine::run. When the file can't take more, the run goes on without (see error()). With a Timeline it is what runs
  /// the present (Timeline::run_with).
  Stop run(const RunLimits& limits);
  /// Writes how it ended; the machine stands in the present. Error: what error() says.
  Result<> finish();
  /// Removes the file: the run did not begin.
  void abandon() { writer_->remove(); }

  /// Why the recording ended early.
  const std::optional<Error>& error() const { return error_; }
  u64 bytes() const { return writer_->position(); }

 private:
  Recorder(const RecorderOptions& options, Machine& machine, std::unique_ptr<FrameWriter> writer)
      : machine_(machine), hash_every_(options.hash_every), debugged_(options.debugged), writer_(std::move(writer)) {}
  void append(RecordKind kind, std::span<const u8> payload);
  void append_inputs();
  bool edited() const { return machine_.edits() != edits_; }
  void follow_debugger();
  RecordedHash state_now();

  Machine& machine_;
  const u64 hash_every_;
  const bool debugged_;
  std::unique_ptr<FrameWriter> writer_;
  std::optional<Error> error_;
  std::size_t written_ = 0;  ///< records of the journal
  u64 hashed_ = 0;           ///< count of the last hash
  u64 reached_ = 0;          ///< the count of the last run's end
  u64 written_to_ = 0;       ///< the count of the last record
  u64 edits_ = 0;            ///< Machine::edits() that are in the recording, or came before it
  Stop last_{StopReason::CountReached};
  std::optional<RecordedEnd> end_;  ///< the guest ended its run so, and did nothing else since
};

}  // namespace callgate
