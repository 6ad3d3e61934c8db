// Recordings that begin with a snapshot, and recordings of a run that a debugger goes back in and changes.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdio>
#include <random>

#include "machine/debugger.h"
#include "machine/origin_files.h"
#include "machine/recorder.h"
#include "machine/replay.h"
#include "machine/snapshot.h"
#include "machine/test_files.h"
#include "machine/test_guests.h"
#include "machine/timeline.h"

using namespace callgate;
using namespace callgate::test;

namespace {

const MachineConfig kConfig{.ram_bytes = 16 << 20};

std::string verdict_of(const std::string& path, Replay::Options options = {}, u64 slice = ~u64{0}) {
  auto recording = load_recording(path);
  if (!recording) return recording.error().message;
  auto r = Replay::create(std::move(*recording), options);
  if (!r) return r.error().message;
  while (!(*r)->run(slice))
    ;
  return ((*r)->outcome() == ReplayOutcome::Matched ? "matched: " : "") + (*r)->verdict();
}

/// A run of the busy guest under a timeline, recorded.
struct Debugged {
  explicit Debugged(const std::string& path, const std::vector<u8>& code = kBusyGuest, const MachineConfig& config = kConfig) {
    machine = Machine::create(config).value();
    boot::BootInputs inputs = small_kernel(*machine, code);
    recorder = Recorder::create({.path = path, .id = 3, .bundle = true, .debugged = true, .hash_every = 10'000}, *machine,
                                start_of(inputs, {}, "test")).value();
    REQUIRE(machine->load(std::move(inputs)).has_value());
    REQUIRE(recorder->begin().has_value());
    timeline.emplace(*machine, TimelineOptions{.spacing = 7'000});
    timeline->run_with([this](const RunLimits& limits) { return recorder->run(limits); });
  }
  void edit(u64 address, const char* text) {
    REQUIRE(machine->write_physical(address, bytes_of(text)));
    timeline->branch();
  }
  void finish() {
    if (timeline->in_past()) timeline->seek(timeline->end());
    const auto done = recorder->finish();
    REQUIRE_MESSAGE(done.has_value(), (done ? "" : done.error().message));
  }
  std::unique_ptr<Machine> machine;
  std::unique_ptr<Recorder> recorder;
  std::optional<Timeline> timeline;
};

}  // namespace

TEST_CASE("a recording that begins with a snapshot replays on either engine, with the snapshot beside it or in it") {
  Folder folder;
  auto m = machine_with(kBusyGuest, kConfig);
  m->run({.until_count = 54'321});
  RecordingHeader origin = describe_origin(small_kernel(*m, kBusyGuest), {}, "test");
  write_file(folder / "kernel", small_kernel(*m, kBusyGuest).kernel.bytes);
  origin.files[0].name = folder / "kernel";
  REQUIRE(save_snapshot(*m, origin, folder / "snapshot").has_value());
  for (const bool bundle : {false, true}) {
    CAPTURE(bundle);
    const std::string path = folder / (bundle ? "bundled" : "plain");
    auto from = load_snapshot(folder / "snapshot");
    REQUIRE(from.has_value());
    SnapshotStart files;
    const auto start = files.read(folder / "snapshot", from->header.origin, bundle);
    REQUIRE_MESSAGE(start.has_value(), (start ? "" : start.error().message));
    auto recorder = Recorder::create({.path = path, .id = 9, .bundle = bundle, .hash_every = 20'000}, *from->machine, *start).value();
    REQUIRE(recorder->begin().has_value());
    recorder->run({.until_count = 80'000});
    from->machine->serial_input(bytes_of("typed"));
    recorder->run({.until_count = 150'000});
    REQUIRE(recorder->finish().has_value());
    for (const Engine engine : {Engine::Interpreter, default_engine()}) CHECK(verdict_of(path, {.engine = engine}).starts_with("matched"));
    CHECK(verdict_of(path, {}, 777).starts_with("matched"));
  }
  // Going on from its middle is a recording that begins with the same snapshot.
  auto r = Replay::create(load_recording(folder / "plain").value(), {.until = 100'000}).value();
  while (!r->run(~u64{0}))
    ;
  r->go_live();
  auto child = Recorder::create({.path = folder / "child", .id = 10}, r->machine(), r->start(false).value(), &r->recording()).value();
  REQUIRE(child->begin(&r->recording()).has_value());
  child->run({.until_count = 120'000});
  REQUIRE(child->finish().has_value());
  CHECK(verdict_of(folder / "child").starts_with("matched"));

  REQUIRE(std::rename((folder / "snapshot").c_str(), (folder / "moved").c_str()) == 0);
  CHECK(verdict_of(folder / "bundled").starts_with("matched"));
  CHECK(verdict_of(folder / "plain").find("give its place with --snapshot") != std::string::npos);
  CHECK(verdict_of(folder / "plain", {.snapshot = folder / "moved"}).starts_with("matched"));
  std::vector<u8> other = read_bytes(folder / "moved");
  other[other.size() / 2] ^= 1;
  write_file(folder / "snapshot", other);
  CHECK(verdict_of(folder / "plain").find("not the snapshot of") != std::string::npos);
}

TEST_CASE("what a debugger writes is in the recording, wherever the machine stands") {
  Folder folder;
  Debugged d(folder / "r");
  d.timeline->run({.until_count = 33'333});
  d.edit(0x30'0000, "a change at the first moment of a count");
  d.timeline->run({.until_count = 40'000});
  // At a breakpoint in an interrupt's handler: behind the delivery, in the middle of a count.
  Debugger& debugger = d.machine->debugger();
  debugger.add_breakpoint({.at = {0x10011E, false}});
  debugger.resume();
  REQUIRE(d.timeline->run({.until_count = 200'000}).reason == StopReason::Debug);
  REQUIRE(debugger.hit().kind == DebugHit::Breakpoint);
  d.edit(0x20'0100, "a change behind the delivery of an interrupt");
  CpuState s = d.machine->cpu_state(0);
  s.gpr[RBX] ^= 0x55;
  d.machine->set_cpu_state(0, s);
  d.timeline->branch();
  debugger.clear();
  d.timeline->run({.until_count = 150'000, .stop_when_idle = true});
  d.edit(0x20'0104, "and once more, perhaps while it waits");
  d.machine->serial_input(bytes_of("typed"));
  d.timeline->run({.until_count = 160'000});
  d.finish();
  for (const Engine engine : {Engine::Interpreter, default_engine()}) {
    const std::string verdict = verdict_of(folder / "r", {.engine = engine});
    CAPTURE(verdict);
    CHECK(verdict.starts_with("matched"));
  }
  CHECK(verdict_of(folder / "r", {}, 1'111).starts_with("matched"));

  // And it can be gone through backwards.
  auto r = Replay::create(load_recording(folder / "r").value(), {}).value();
  Timeline back(r->machine(), {.spacing = 9'000});
  back.run({.until_count = 160'000});
  CHECK(r->machine().hash() == d.machine->hash());
  std::mt19937_64 random(3);
  std::map<u64, u64> seen;
  for (int i = 0; i < 40; i++) {
    const u64 place = 30'000 + random() % 130'000;
    back.seek(place);
    const auto [at, fresh] = seen.try_emplace(place, r->machine().hash());
    CHECK(at->second == r->machine().hash());
  }
  back.seek(160'000);
  CHECK(r->machine().hash() == d.machine->hash());
}

TEST_CASE("a way that a debugger took back is not in the recording any more") {
  Folder folder;
  for (const u64 seed : {1u, 2u, 3u, 4u}) {
    CAPTURE(seed);
    const std::string path = folder / std::to_string(seed);
    Debugged d(path, kBusyGuest, {.ram_bytes = 16 << 20, .cpus = seed == 4 ? 2u : 1u});
    std::mt19937_64 random(seed);
    for (int i = 0; i < 12; i++) {
      const u64 here = d.timeline->count();
      switch (random() % 4) {
        case 0: d.timeline->seek(random() % (here + 1)); break;
        case 1: d.timeline->serial_input(bytes_of("x")); break;
        case 2: d.edit(0x20'0000 + random() % 0x10'0000, "edit"); break;
        default: break;
      }
      d.timeline->run({.until_count = d.timeline->count() + 1 + random() % 30'000, .stop_when_idle = random() % 2 == 0});
    }
    if (random() % 2) d.timeline->seek(d.timeline->count() / 2);
    d.finish();
    const std::string verdict = verdict_of(path);
    CAPTURE(verdict);
    CHECK(verdict.starts_with("matched"));
    CHECK(verdict_of(path, {.engine = Engine::Interpreter}, 3'331).starts_with("matched"));
  }
}

TEST_CASE("the end of a guest that was gone back from, and changed after it, is found again") {
  Folder folder;
  // mov ecx, 5000; loop; mov al, 21; out 0xf4: the debug-exit port
  const std::vector<u8> code = {0xB9, 0x88, 0x13, 0, 0, 0xE2, 0xFE, 0xB0, 21, 0xE6, 0xF4, 0xEB, 0xFE};
  Debugged d(folder / "r", code);
  CHECK(d.timeline->run().reason == StopReason::DebugExit);
  SUBCASE("left in the past") { d.timeline->seek(1'000); }
  SUBCASE("changed at its end") { d.edit(0x20'0000, "too late"); }
  SUBCASE("another way from the past, to another end") {
    d.timeline->seek(2'000);
    CpuState s = d.machine->cpu_state(0);
    s.gpr[RCX] = 10;
    d.machine->set_cpu_state(0, s);
    d.timeline->branch();
    CHECK(d.timeline->run().reason == StopReason::DebugExit);
    CHECK(d.machine->count() < 2'100);
  }
  d.finish();
  const std::string verdict = verdict_of(folder / "r");
  CAPTURE(verdict);
  CHECK(verdict.starts_with("matched"));
}

TEST_CASE("a change in a recording that makes no sense ends the replay with a sentence") {
  Folder folder;
  Debugged d(folder / "r");
  d.timeline->run({.until_count = 20'000});
  d.edit(0x30'0000, "a change");
  d.timeline->run({.until_count = 30'000});
  d.finish();
  Recording recording = load_recording(folder / "r").value();
  InputRecord& change = recording.inputs.back();
  REQUIRE(change.channel == InputChannel::State);
  std::mt19937_64 random(7);
  const std::vector<u8> good = change.bytes;
  for (int i = 0; i < 60; i++) {
    change.bytes = good;
    if (i % 3 == 0) change.bytes.resize(1 + random() % (good.size() - 1));
    else change.bytes[i % 3 == 1 ? random() % 5 : random() % good.size()] ^= static_cast<u8>(1u << random() % 8);
    auto r = Replay::create(recording, {}).value();
    while (!r->run(~u64{0}))
      ;
    // A bit of a page may be overwritten before anybody sees it.
    if (i % 3 == 0) CHECK(r->outcome() == ReplayOutcome::Damaged);
    CHECK_FALSE(r->verdict().empty());
  }
}
