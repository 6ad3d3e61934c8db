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
  /// Flushes. Removes the file again unless keep() was called: a run that did not start leaves nothing behind.
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  /// The run begins: the file stays.
  void keep() { made_.clear(); }
  void write(std::span<const u8> bytes);
  void flush();
  /// True when everything written so far has gone out.
  bool good() const { return good_; }
  bool is_stdio() const { return descriptor_ == 1; }

 private:
  explicit Output(int descriptor, std::string made = {}) : descriptor_(descriptor), made_(std::move(made)) {}
  int descriptor_;
  bool good_ = true;
  std::string made_;  ///< the file that open() made, until keep()
  std::string buffer_;
};

}  // namespace callgate
