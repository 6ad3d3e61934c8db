// Where a guest's bytes go: standard output, a file, or nowhere.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/types.h"

namespace callgate {

class Output {
 public:
  /// `where`: stdio, mon:stdio, none, null or file:PATH. Error: MissingFile when the file can't be written. A file that
  /// exists already is not written over: BadArgument.
  static Result<std::unique_ptr<Output>> open(const std::string& where, const std::string& option);
  ~Output();
  void write(std::span<const u8> bytes);
  void flush();
  bool is_stdio() const { return descriptor_ == 1; }

 private:
  explicit Output(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
  std::string buffer_;
};

}  // namespace callgate
