// --perf-map: the names of emitted code, in the file where Linux perf looks for those of a process that makes code itself.
// Ref: Linux, tools/perf/Documentation/jit-interface.txt.
#pragma once

#include <memory>
#include <string>

#include "frontend/output.h"
#include "machine/machine.h"

namespace callgate {

class PerfMap {
 public:
  /// Makes /tmp/perf-PID.map if `wanted`. Errors: as Output::open's.
  static Result<PerfMap> create(bool wanted);
  /// The run begins: the file stays, and gets a line for each piece of code that `machine` emits from now on. The map must
  /// live longer than the run.
  void follow(Machine& machine);

 private:
  explicit PerfMap(std::unique_ptr<Output> file) : file_(std::move(file)) {}
  std::unique_ptr<Output> file_;  ///< nullptr: not wanted
};

}  // namespace callgate
