#include <doctest/doctest.h>

#include "machine/determinism_matrix.h"

TEST_CASE("what a guest can notice, and what the state is made of, changes only together with kBehaviour") {
  // Another hash: raise kBehaviour in machine/recording.h, so that older recordings and snapshots are refused by name, and
  // write the new pair here.
  auto m = callgate::test::busy_machine({.ram_bytes = 16 << 20, .cpus = 2, .engine = callgate::Engine::Interpreter});
  m->run({.until_count = 200'000});
  CHECK(callgate::kBehaviour == 3);
  CHECK(m->hash() == 0x86f285fff167460e);
}

TEST_CASE("every engine and tuning, from the beginning, from snapshots, back and forth and replayed: one state at one count") {
  for (const unsigned cpus : {1u, 2u}) {
    const auto wrong = callgate::test::determinism_differences(cpus);
    for (const std::string& what : wrong) FAIL_CHECK(what);
    CHECK(wrong.empty());
  }
}

TEST_CASE("... and of a guest that goes back itself") {
  const callgate::u32 port = callgate::parse_paravirt("callgate").value();
  for (const unsigned cpus : {1u, 2u}) {
    const auto wrong = callgate::test::determinism_differences(cpus, callgate::test::going_back_guest(), port);
    for (const std::string& what : wrong) FAIL_CHECK(what);
    CHECK(wrong.empty());
  }
}
