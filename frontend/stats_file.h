// --stats: figures about a run, as JSON.
#pragma once

#include <memory>
#include <string>

#include "frontend/output.h"
#include "machine/machine.h"

namespace callgate {

class StatsFile {
 public:
  /// Opens the file before the run, so that a bad path is told at once. An empty path: nothing is written.
  static Result<StatsFile> create(const std::string& path);
  /// The run begins: the file stays.
  void keep() { file_->keep(); }
  /// `seconds`: host time of the run. Error: Host, when the file took less than all.
  Result<> write(Machine& machine, double seconds);

 private:
  explicit StatsFile(std::unique_ptr<Output> file) : file_(std::move(file)) {}
  std::unique_ptr<Output> file_;
};

}  // namespace callgate
