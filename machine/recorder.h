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
  u64 hash_every = 200'000'000;  ///< instructions between two hashes of the state
};

class Recorder {
 public:
  /// Makes the file and writes what the run begins with, before the inputs are loaded into the machine (which must
  /// outlive the recorder). `parent`: the recording that this one goes on from, which had the same inputs.
  /// Errors: BadArgument, MissingFile, Host.
  static Result<std::unique_ptr<Recorder>> create(const RecorderOptions& options, Machine& machine,
                                                  const boot::BootInputs& inputs, const boot::BootOptions& boot,
                                                  const Recording* parent = nullptr);

  /// Once the machine is loaded: the hash of the beginning. A machine that replayed a part of `parent` brings its
  /// journal with it, and the parent's hashes up to here.
  Result<> begin(const Recording* parent = nullptr);
  /// As Machine::run. When the file can't take more, the run goes on without (see error()).
  Stop run(const RunLimits& limits);
  /// Writes how it ended. Error: what error() says.
  Result<> finish();
  /// Removes the file: the run did not begin.
  void abandon() { writer_->remove(); }

  /// Why the recording ended early.
  const std::optional<Error>& error() const { return error_; }
  u64 bytes() const { return writer_->position(); }

 private:
  Recorder(const RecorderOptions& options, Machine& machine, std::unique_ptr<FrameWriter> writer)
      : machine_(machine), hash_every_(options.hash_every), writer_(std::move(writer)) {}
  void append(RecordKind kind, std::span<const u8> payload);
  void append_inputs();
  RecordedHash state_now();

  Machine& machine_;
  const u64 hash_every_;
  std::unique_ptr<FrameWriter> writer_;
  std::optional<Error> error_;
  std::size_t written_ = 0;  ///< records of the journal
  u64 hashed_ = 0;           ///< count of the last hash
  Stop last_{StopReason::CountReached};
};

}  // namespace callgate
