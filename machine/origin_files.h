// The files that a recorded or saved run was started from: read again, and made sure that they are the same.
#pragma once

#include <functional>

#include "machine/boot/files.h"
#include "machine/recorder.h"
#include "machine/recording.h"

namespace callgate {

/// One of the files that `of` (a recording's or snapshot's file) names: from `given`, or from where it was, or beside `of`.
/// Errors: MissingFile, BadFile (it is another one).
Result<boot::FileBytes> read_origin_file(const RecordedFile& file, const std::string& of, const std::string& given = "");

/// What the run was started from, for Machine::load or a plan. `read` gives the contents of the file with that index.
using OriginReader = std::function<Result<boot::FileBytes>(std::size_t index)>;
Result<boot::BootInputs> read_origin(const RecordingHeader& origin, const boot::MemoryMap& memory, const OriginReader& read);
/// The same as a plan, for a guest that resets itself.
Result<boot::BootPlan> plan_origin(const RecordingHeader& origin, const boot::MemoryMap& memory, const OriginReader& read);

/// What a run that goes on from a snapshot begins with, for a recorder.
class SnapshotStart {
 public:
  /// `origin`: of the snapshot in the file `path`. With `contents` everything is read, and must be what it was. Good as long as this
  /// object. Errors: MissingFile, BadFile, BadArgument.
  Result<RunStart> read(const std::string& path, const RecordingHeader& origin, bool contents);

 private:
  std::vector<boot::FileBytes> files_;
};

}  // namespace callgate
