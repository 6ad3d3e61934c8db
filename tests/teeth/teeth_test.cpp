// The tests of determinism have teeth: a machine that is broken on purpose is found out by them, whatever is broken.
#include <doctest/doctest.h>

#include <chrono>

#include "machine/determinism_matrix.h"
#include "machine/teeth.h"

namespace callgate::teeth {
Tooth active = Tooth::None;
u64 host_clock() { return static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch().count()); }
}  // namespace callgate::teeth

using callgate::teeth::Tooth;

namespace {
/// What the matrix says of a machine that is broken like that.
std::vector<std::string> differences_with(Tooth tooth) {
  callgate::teeth::active = tooth;
  auto wrong = callgate::test::determinism_differences();
  callgate::teeth::active = Tooth::None;
  for (const std::string& what : wrong) MESSAGE(what);
  return wrong;
}
}  // namespace

TEST_CASE("without a fault nothing is found") { CHECK(differences_with(Tooth::None).empty()); }
TEST_CASE("a read of the host's clock is found") { CHECK_FALSE(differences_with(Tooth::HostClock).empty()); }
TEST_CASE("a byte that is not in the journal is found") { CHECK_FALSE(differences_with(Tooth::UnloggedByte).empty()); }
TEST_CASE("a device's field that is not restored is found") { CHECK_FALSE(differences_with(Tooth::LostField).empty()); }
TEST_CASE("an interrupt that is late by one instruction is found") {
  if (callgate::default_engine() == callgate::Engine::Translator) CHECK_FALSE(differences_with(Tooth::LateByOne).empty());
}
