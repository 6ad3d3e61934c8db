// --stats: figures about a run, as JSON.
#pragma once

#include <string>

#include "base/result.h"
#include "machine/machine.h"

namespace callgate {

class StatsFile {
 public:
  /// Opens the file before the run, so that a bad path is told at once. An empty path: nothing is written.
  static Result<StatsFile> create(const std::string& path);
  /// `seconds`: host time of the run.
  Result<> write(Machine& machine, double seconds);

 private:
  explicit StatsFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace callgate
