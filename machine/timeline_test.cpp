// Going back is right when every place has the hash that a machine has which never went back.
#include "machine/timeline.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <thread>

#include "machine/test_guests.h"

using namespace callgate;
using namespace callgate::test;

namespace {

constexpr u64 kEnd = 300'000;
const TimelineOptions kSmall{.memory_limit = u64{64} << 20, .spacing = 20'000};

std::span<const u8> bytes_of(const char* text) {
  return {reinterpret_cast<const u8*>(text), std::char_traits<char>::length(text)};
}

/// Types at odd places: what both the timeline and the machine that never goes back are given.
template <class Run, class Type>
void with_typing(const Run& run, const Type& type) {
  for (const u64 at : {u64{30'011}, u64{120'345}, u64{120'346}, u64{222'222}}) {
    run(at);
    type(bytes_of("hello, this is longer than a FIFO"));
  }
  run(kEnd);
}

/// Hashes at some counts, of a machine that only goes forward.
std::map<u64, u64> hashes_at(const std::vector<u64>& counts, const MachineConfig& config,
                             const std::vector<InputRecord>& journal) {
  auto m = busy_machine(config);
  m->journal().replay(journal);
  std::map<u64, u64> hashes;
  for (const u64 c : counts) hashes[c];
  for (auto& [count, hash] : hashes) {
    m->run({.until_count = count});
    REQUIRE(m->count() == count);
    hash = m->hash();
  }
  CHECK(m->journal().taken() == journal.size());
  CHECK_FALSE(m->journal().missed());
  return hashes;
}

std::vector<u64> random_counts(unsigned seed, std::size_t n) {
  std::mt19937_64 random(seed);
  std::vector<u64> counts;
  for (std::size_t i = 0; i < n; i++) counts.push_back(1000 + random() % (kEnd - 1000));
  return counts;
}

void check_random_seeks(const MachineConfig& config, unsigned seed) {
  std::vector<u64> counts = random_counts(seed, 25);
  const std::size_t n = counts.size();
  for (std::size_t i = 0; i < n; i++) counts.push_back(counts[i] - 1);
  counts.push_back(kEnd);
  auto m = busy_machine(config);
  Timeline t(*m, kSmall);
  std::string text;
  m->on_serial([&](std::span<const u8> b) { text.append(reinterpret_cast<const char*>(b.data()), b.size()); });
  with_typing([&](u64 until) { t.run({.until_count = until}); }, [&](std::span<const u8> b) { t.serial_input(b); });
  auto expected = hashes_at(counts, config, m->journal().records());
  REQUIRE(m->hash() == expected[kEnd]);
  const std::string written = text;
  CHECK(written.size() > 50);
  for (std::size_t i = 0; i < n; i++) {
    CAPTURE(counts[i]);
    REQUIRE(t.seek(counts[i]) == Timeline::Arrival::There);
    REQUIRE(m->count() == counts[i]);
    REQUIRE(m->hash() == expected[counts[i]]);
    REQUIRE(t.seek(counts[i] - 1) == Timeline::Arrival::There);
    REQUIRE(m->hash() == expected[counts[i] - 1]);
    t.run({.until_count = counts[i]});
    REQUIRE(m->hash() == expected[counts[i]]);
  }
  t.run({.until_count = kEnd});
  CHECK(m->hash() == expected[kEnd]);
  CHECK_FALSE(t.in_past());
  CHECK(text == written);  // a replay is silent
}

}  // namespace

TEST_CASE("a seek to any place gives the state of a machine that never went back") {
  check_random_seeks({.ram_bytes = 16 << 20, .engine = Engine::Interpreter}, 1);
}

TEST_CASE("the same with the translator, and with several processors") {
  if (default_engine() != Engine::Translator) return;
  check_random_seeks({.ram_bytes = 16 << 20, .engine = Engine::Translator}, 2);
  check_random_seeks({.ram_bytes = 16 << 20, .cpus = 2, .engine = Engine::Translator}, 3);
}

TEST_CASE("a hundred steps back and forward pass the same states") {
  auto m = busy_machine();
  Timeline t(*m, kSmall);
  t.run({.until_count = 100'000});
  std::map<u64, u64> seen;
  for (int i = 0; i < 100; i++) {
    REQUIRE(t.seek(t.count() - 1) == Timeline::Arrival::There);
    seen[t.count()] = m->hash();
  }
  auto brute = busy_machine();
  for (const auto& [count, hash] : seen) {
    brute->run({.until_count = count});
    REQUIRE(brute->hash() == hash);
    t.run({.until_count = count});
    REQUIRE(m->hash() == hash);
  }
}

namespace {
/// The counts at which processor 0 has just executed the instruction before `rip`, by looking at each step.
std::vector<u64> visits(u64 rip, u64 end) {
  auto m = busy_machine();
  std::vector<u64> counts;
  while (m->count() < end) {
    m->step();
    if (m->cpu_state(0).rip == rip) counts.push_back(m->count());
  }
  return counts;
}
}  // namespace

TEST_CASE("a search back finds what a search forward found last, and leaves the machine where it was") {
  constexpr u64 kHandler = 0x10011F;  // after the handler's first instruction
  const auto expected = visits(kHandler, 60'000);
  REQUIRE(expected.size() > 3);
  auto m = busy_machine();
  Timeline t(*m, {.spacing = 7'000});
  t.run({.until_count = 60'000});
  const u64 hash = m->hash();
  const auto scan = [&](u64 until) {
    while (m->count() < until) {
      m->step();
      if (m->cpu_state(0).rip == kHandler) return true;
    }
    return false;
  };
  u64 before = 60'000;
  for (std::size_t i = expected.size(); i-- > 0;) {
    const auto found = t.find_last(before, scan);
    REQUIRE(found.arrival == Timeline::Arrival::There);
    REQUIRE(found.count == expected[i]);
    REQUIRE(m->hash() == hash);
    before = found.count;
  }
  CHECK(t.find_last(before, scan).arrival == Timeline::Arrival::Begin);
  CHECK(m->hash() == hash);
}

TEST_CASE("the present comes back exactly, in the middle of a halted stretch too") {
  auto m = busy_machine();
  Timeline t(*m, kSmall);
  Stop stop{StopReason::CountReached};
  for (int idle = 0; idle < 3; idle += stop.reason == StopReason::Idle)
    stop = t.run({.until_count = 10'000'000, .stop_when_idle = true});
  const u64 end = t.count(), hash = m->hash(), now = m->now();
  t.seek(end - 5000);
  CHECK(t.in_past());
  SUBCASE("by a seek") { CHECK(t.seek(end) == Timeline::Arrival::There); }
  SUBCASE("by a run") { t.run({.until_count = end}); }
  SUBCASE("from its first moment") {
    CHECK(t.seek(end, true) == Timeline::Arrival::There);
    CHECK(t.in_past());
    CHECK(t.seek(end) == Timeline::Arrival::There);
  }
  CHECK(m->now() == now);
  CHECK(m->hash() == hash);
  CHECK_FALSE(t.in_past());
}

TEST_CASE("an input in the past starts a branch") {
  auto a = busy_machine();
  Timeline t(*a, kSmall);
  t.run({.until_count = 50'000});
  t.serial_input(bytes_of("one"));
  t.run({.until_count = 150'000});
  t.seek(80'000);
  t.serial_input(bytes_of("two"));
  CHECK(t.end() == 80'000);
  t.run({.until_count = 150'000});

  auto b = busy_machine();
  b->journal().replay(a->journal().records());
  CHECK(a->journal().records().size() > 2);
  b->run({.until_count = 150'000});
  CHECK(a->hash() == b->hash());
}

TEST_CASE("a change by hand stays where it was made, from both sides") {
  auto m = busy_machine();
  Timeline t(*m, kSmall);
  t.run({.until_count = 50'000});
  CpuState s = m->cpu_state(0);
  s.gpr[RBX] ^= 0x1234;
  m->set_cpu_state(0, s);
  t.branch();
  const u64 changed = m->hash();
  t.run({.until_count = 90'000});
  const u64 after = m->hash();
  REQUIRE(t.seek(49'999) == Timeline::Arrival::There);
  auto brute = busy_machine();
  brute->run({.until_count = 49'999});
  CHECK(m->hash() == brute->hash());
  t.run({.until_count = 50'000});
  CHECK(m->hash() == changed);
  t.run({.until_count = 90'000});
  CHECK(m->hash() == after);
  t.seek(20'000);
  t.seek(90'000);
  CHECK(m->hash() == after);
}

TEST_CASE("a guest that powered off is reached again, and there is nothing behind it") {
  // mov ecx, 5000; loop; mov dx, 0x604; mov ax, 0x2000: power off by the debug-exit port here
  auto m = machine_with({0xB9, 0x88, 0x13, 0, 0, 0xE2, 0xFE, 0xB0, 21, 0xE6, 0xF4, 0xEB, 0xFE}, {.ram_bytes = 16 << 20});
  Timeline t(*m, kSmall);
  CHECK(t.run().reason == StopReason::DebugExit);
  const u64 end = t.count(), hash = m->hash();
  CHECK(t.seek(end - 10) == Timeline::Arrival::There);
  CHECK(t.seek(end) == Timeline::Arrival::There);
  CHECK(m->hash() == hash);
  CHECK(t.seek(3) == Timeline::Arrival::There);
  CHECK(t.seek(0) == Timeline::Arrival::There);
}

TEST_CASE("a place before the beginning is the beginning") {
  auto m = busy_machine();
  m->run({.until_count = 10'000});
  const u64 hash = m->hash();
  Timeline t(*m, kSmall);
  t.run({.until_count = 20'000});
  CHECK(t.seek(5'000) == Timeline::Arrival::Begin);
  CHECK(t.count() == 10'000);
  CHECK(m->hash() == hash);
}

TEST_CASE("checkpoints are thinned to the memory limit, and every place can still be reached") {
  auto m = busy_machine();
  Timeline t(*m, {.memory_limit = 24 << 20, .spacing = 2'000});
  t.run({.until_count = kEnd});
  CHECK(t.memory_used() <= 24 << 20);
  CHECK(t.checkpoints() < kEnd / 2'000);
  auto brute = busy_machine();
  brute->run({.until_count = 123'456});
  REQUIRE(t.seek(123'456) == Timeline::Arrival::There);
  CHECK(m->hash() == brute->hash());
}

TEST_CASE("an interrupted operation leaves the machine where it was") {
  auto m = busy_machine();
  Timeline t(*m, kSmall);
  t.run({.until_count = kEnd});
  const u64 hash = m->hash();
  t.on_progress([](const Timeline::Progress&) { return false; });
  CHECK(t.seek(123'456) == Timeline::Arrival::Interrupted);
  CHECK(m->hash() == hash);
  CHECK(t.find_last(kEnd, [&](u64 until) { return m->run({.until_count = until}), false; }).arrival == Timeline::Arrival::Interrupted);
  CHECK(m->hash() == hash);
  t.on_progress({});
  CHECK(t.seek(123'456) == Timeline::Arrival::There);
}

TEST_CASE("a mark is kept when checkpoints are thinned out") {
  auto m = busy_machine();
  Timeline t(*m, kSmall);
  t.run({.until_count = 55'555});
  const u64 hash = m->hash();
  t.mark("here");
  t.run({.until_count = kEnd});
  REQUIRE(t.marks().at("here") == 55'555);
  t.seek(t.marks().at("here"));
  CHECK(m->hash() == hash);
  CHECK(t.unmark("here"));
  CHECK_FALSE(t.unmark("here"));
}
