// Where our decoder and Capstone may differ: each class of disagreement by name, with its reason. A disagreement that
// no exception covers fails the test, and so does an exception that no longer covers anything.
#pragma once

#include <span>

#include "tests/decoder/comparison.h"

namespace callgate::decoder_test {

struct Exception {
  const char* name;
  const char* reason;
  bool (*covers)(const Comparison&);
};

std::span<const Exception> exceptions();

}  // namespace callgate::decoder_test
