// SNAPSHOT and RESTORE of a guest, from outside. That such runs are the same on all engines, in recordings, from files and back and forth
// is in determinism_test.cpp; what a guest sees of it in guest/kernel/snapshot.c.
#include "machine/guest_snapshots.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "machine/checkpoint.h"
#include "machine/test_guests.h"
#include "machine/timeline.h"

using namespace callgate;
using namespace callgate::test;

namespace {

constexpr u64 kReturned = 0x3010;  ///< what the last SNAPSHOT returned

std::unique_ptr<Machine> machine(unsigned cpus = 1) {
  return machine_with(going_back_guest(), {.ram_bytes = 16 << 20, .cpus = cpus, .paravirt = parse_paravirt("callgate").value()});
}

u32 word(Machine& m, u64 at) {
  u8 bytes[4] = {};
  CHECK(m.read_physical(at, bytes));
  return static_cast<u32>(bytes[0] | bytes[1] << 8 | bytes[2] << 16 | bytes[3] << 24);
}

/// Runs until a RESTORE was the last instruction: guest time went back. Gives the time before it.
u64 run_to_restore(Machine& m) {
  for (u64 before = m.now();; before = m.now()) {
    m.run({.until_count = m.count() + 1});
    if (m.now() < before) return before;
    REQUIRE(m.count() < 1'000'000);
  }
}

}  // namespace

TEST_CASE("a guest's RESTORE takes its time and memory back, and the count goes on") {
  auto m = machine();
  const u64 before = run_to_restore(*m);
  const u64 count = m->count();
  CHECK(m->now() < before);
  CHECK(m->now() < count);
  CHECK(m->cpu_state(0).gpr[RBX] == 1);
  CHECK(word(*m, kReturned) == 0);
  m->run({.until_count = count + 1});
  CHECK(word(*m, kReturned) == 1);
  CHECK(m->count() == count + 1);
  run_to_restore(*m);
  CHECK(m->cpu_state(0).gpr[RBX] == 2);
}

TEST_CASE("what a RESTORE puts back counts as written, for who searches back for writes") {
  auto m = machine();
  for (;;) {
    const auto start = m->checkpoint();
    const u64 time = m->now();
    m->run({.until_count = m->count() + 1});
    const auto end = m->checkpoint();
    if (m->now() >= time) continue;
    CHECK(std::binary_search(end->written.begin(), end->written.end(), *m->frame_at(kBusyCounter)));
    CHECK(end->written.size() > 10);
    break;
  }
}

TEST_CASE("a place that was kept is a part of the state: of its hash, of what is saved, of checkpoints") {
  auto m = machine();
  run_to_restore(*m);
  const u64 here = m->count(), hash = m->hash();
  const auto checkpoint = m->checkpoint();
  const std::vector<u8> saved = m->save();
  m->run({.until_count = here + 100'000});
  const u64 later = m->hash();

  m->restore(*checkpoint);
  CHECK(m->hash() == hash);
  m->run({.until_count = here + 100'000});
  CHECK(m->hash() == later);

  auto other = machine();
  REQUIRE(other->restore(saved).has_value());
  CHECK(other->hash() == hash);
  other->run({.until_count = here + 100'000});
  CHECK(other->hash() == later);

  // Without what was kept the guest could not go on in the same way, and the hash says so.
  auto without = machine();
  REQUIRE(without->restore(saved).has_value());
  REQUIRE(without->save_guest_snapshots().size() > 1000);
  REQUIRE(without->restore_guest_snapshots(machine()->save_guest_snapshots()).has_value() == false);
  CHECK(without->hash() != hash);
}

TEST_CASE("a damaged place of a guest is found when it is loaded") {
  auto m = machine();
  run_to_restore(*m);
  const std::vector<u8> good = m->save_guest_snapshots();
  for (std::size_t at = 0; at < good.size(); at += 1 + at / 8) {
    std::vector<u8> bad(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(at));
    CHECK_FALSE(machine()->restore_guest_snapshots(bad).has_value());
  }
  std::vector<u8> longer = good;
  longer.push_back(0);
  CHECK_FALSE(machine()->restore_guest_snapshots(longer).has_value());
}

TEST_CASE("a timeline passes a guest's RESTORE in both directions") {
  auto m = machine();
  Timeline t(*m, {.spacing = 5'000});
  t.run({.until_count = 3'000});
  run_to_restore(*m);
  const u64 place = m->count(), hash = m->hash();
  t.run({.until_count = place + 50'000});
  REQUIRE(t.seek(place - 1) == Timeline::Arrival::There);
  const u64 before = m->now();
  CHECK(m->count() == place - 1);
  REQUIRE(t.seek(place) == Timeline::Arrival::There);
  CHECK(m->now() < before);
  CHECK(m->hash() == hash);
}
