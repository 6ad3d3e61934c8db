#include "base/state_io.h"

#include <doctest/doctest.h>

using namespace callgate;

TEST_CASE("what a StateWriter wrote, a StateReader gives back") {
  u32 a = 7;
  bool b = true;
  std::vector<u8> c{1, 2, 3};
  StateWriter w;
  w.section("x");
  w.fields(a, b);
  w.blob(c, 10, "c");
  auto saved = w.take();

  u32 a2 = 0;
  bool b2 = false;
  std::vector<u8> c2;
  StateReader r(saved);
  r.section("x");
  r.fields(a2, b2);
  r.blob(c2, 10, "c");
  CHECK(r.good());
  CHECK(r.at_end());
  CHECK(a2 == 7);
  CHECK(b2);
  CHECK(c2 == c);
}

TEST_CASE("a state cut at any byte is reported and reads as zeros") {
  u64 a = 0x1122334455667788;
  StateWriter w;
  w.section("x");
  w.field(a);
  auto saved = w.take();
  for (std::size_t n = 0; n < saved.size(); n++) {
    StateReader r(std::span<const u8>(saved).first(n));
    u64 v = 1;
    r.section("x");
    r.field(v);
    CHECK_FALSE(r.good());
    CHECK(v == 0);
  }
}

TEST_CASE("a blob longer than its limit is refused") {
  std::vector<u8> big(100);
  StateWriter w;
  w.blob(big, 100, "big");
  auto saved = w.take();
  StateReader r(saved);
  std::vector<u8> back;
  r.blob(back, 50, "big is too long");
  CHECK(r.error() == "big is too long");
  CHECK(back.empty());
}
