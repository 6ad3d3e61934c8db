// The real processor: runs cases in a child process and brings back what they leave. Only on x86-64 Linux.
#pragma once

#include <memory>

#include "base/result.h"
#include "tests/hwfuzz/case.h"

namespace callgate::hwfuzz {

/// How many cases go to the child at once.
constexpr unsigned kBatch = 128;

class Host {
 public:
  /// Fails where there is no such processor or the address space is taken.
  static Result<std::unique_ptr<Host>> create();
  virtual ~Host() = default;

  /// The slots of a batch, shared with the child.
  virtual Case* cases() = 0;
  virtual const Outcome* outcomes() const = 0;
  /// Runs the first `count` cases; finish() waits for them. In between the slots are the child's.
  virtual void start(unsigned count) = 0;
  virtual void finish() = 0;
  /// One case, at once. The batch's slots are lost.
  const Outcome& run(const Case& c) {
    cases()[0] = c;
    start(1);
    finish();
    return outcomes()[0];
  }
};

}  // namespace callgate::hwfuzz
