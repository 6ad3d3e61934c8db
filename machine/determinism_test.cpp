#include <doctest/doctest.h>

#include "machine/determinism_matrix.h"

TEST_CASE("every engine and tuning, from the beginning, from snapshots, back and forth and replayed: one state at one count") {
  for (const unsigned cpus : {1u, 2u}) {
    const auto wrong = callgate::test::determinism_differences(cpus);
    for (const std::string& what : wrong) FAIL_CHECK(what);
    CHECK(wrong.empty());
  }
}
