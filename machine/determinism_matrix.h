// The proof of determinism, as a function: the same guest with the same inputs on every engine and tuning, from the
// beginning, from snapshots and from checkpoints, recorded and replayed. All states must be equal. It is a header because
// two programs use it: the test that wants no difference, and the one that breaks the machine on purpose and wants some.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "machine/boot/files.h"
#include "machine/debugger.h"
#include "machine/recorder.h"
#include "machine/replay.h"
#include "machine/snapshot.h"
#include "machine/test_guests.h"
#include "machine/timeline.h"

namespace callgate::test {

struct Variant {
  const char* name;
  Engine engine;
  TranslatorTuning tuning;
};

inline std::vector<Variant> variants() {
  std::vector<Variant> all = {{"interpreter", Engine::Interpreter, {}}};
  if (default_engine() != Engine::Translator) return all;
  all.push_back({"translator", Engine::Translator, {}});
  all.push_back({"tiny code cache", Engine::Translator, {.code_bytes = 300 << 10}});
  all.push_back({"no chaining", Engine::Translator, {.chaining = false}});
  all.push_back({"no passes", Engine::Translator, {.passes = false}});
  all.push_back({"random splits", Engine::Translator, {.most_insns = 7, .split_seed = 99}});
  return all;
}

/// What differs, a sentence each; none when everything is deterministic.
inline std::vector<std::string> determinism_differences(unsigned cpus = 1, const std::vector<u8>& guest = kBusyGuest, u32 paravirt = 0) {
  constexpr u64 kPlaces[] = {20'000, 61'803, 100'001, 160'000};
  std::vector<std::string> wrong;
  const auto config = [&](const Variant& v) { return MachineConfig{.ram_bytes = 16 << 20, .cpus = cpus, .engine = v.engine, .translator = v.tuning, .paravirt = paravirt}; };
  const std::string base = fmt::format("/tmp/callgate-determinism-{}", ::getpid());
  const auto typed = [](const char* text) { return std::span(reinterpret_cast<const u8*>(text), std::char_traits<char>::length(text)); };

  // The reference is recorded on the interpreter; hashes and snapshots on the way.
  std::map<u64, u64> expected;
  std::vector<std::vector<u8>> snapshots;
  std::vector<InputRecord> journal;
  {
    std::remove((base + ".rec").c_str());
    auto m = Machine::create(config(variants()[0])).value();
    boot::BootInputs inputs = small_kernel(*m, guest);
    auto recorder = Recorder::create({.path = base + ".rec", .bundle = true, .hash_every = 25'000}, *m, start_of(inputs, {}, "test")).value();
    VERIFY(m->load(std::move(inputs)).has_value() && recorder->begin().has_value(), "the reference could not start");
    for (const u64 place : kPlaces) {
      recorder->run({.until_count = place - 5'000});
      m->serial_input(typed("typed"));
      m->test_input(typed("for a guest that asks"));
      recorder->run({.until_count = place});
      expected[place] = m->hash();
      RecordingHeader origin;
      origin.files.push_back({RecordedFile::Role::Kernel, "kernel", "", {}, false});
      std::remove((base + ".snap").c_str());
      VERIFY(save_snapshot(*m, origin, base + ".snap").has_value(), "no snapshot could be saved");
      const auto bytes = boot::read_file(base + ".snap").value();
      snapshots.emplace_back(bytes.begin(), bytes.end());
    }
    VERIFY(recorder->finish().has_value(), "the recording could not be written");
    journal = m->journal().records();
  }
  const auto check = [&](const std::string& how, Machine& m, u64 place) {
    m.run({.until_count = place});
    if (m.count() != place || m.hash() != expected[place]) wrong.push_back(fmt::format("{}: another state at count {}", how, place));
  };
  for (const Variant& v : variants()) {
    auto m = machine_with(guest, config(v));
    m->journal().replay(journal);
    for (const u64 place : kPlaces) check(fmt::format("{}, from the beginning", v.name), *m, place);

    for (std::size_t i = 0; i < snapshots.size(); i++) {
      auto from = load_snapshot(snapshots[i], "snapshot", v.engine, v.tuning);
      if (!from) {
        wrong.push_back(from.error().message);
        continue;
      }
      std::vector<InputRecord> rest;
      for (const InputRecord& r : journal)
        if (r.count >= kPlaces[i]) rest.push_back(r);
      from->machine->journal().replay(rest);
      for (std::size_t k = i + 1; k < std::size(kPlaces); k++) check(fmt::format("{}, from snapshot {}", v.name, i), *from->machine, kPlaces[k]);
    }

    auto travels = machine_with(guest, config(v));
    travels->journal().replay(journal);
    Timeline timeline(*travels, {.spacing = 9'000});
    timeline.run({.until_count = kPlaces[3]});
    for (const std::size_t i : {2u, 0u, 3u, 1u}) {
      timeline.seek(kPlaces[i]);
      check(fmt::format("{}, by going back and forth", v.name), *travels, kPlaces[i]);
    }

    auto watched = machine_with(guest, config(v));
    watched->journal().replay(journal);
    u64 lines = 0;
    std::string bad_channel;
    watched->log().set_sink([&](LogChannel, std::string_view) { lines++; });
    VERIFY(watched->log().enable_list("faults,interrupts,devices,io", &bad_channel), "there are such channels");
    Debugger& debugger = watched->debugger();
    debugger.add_breakpoint({.at = {kBusyHandler, false}});
    debugger.add_watchpoint({.at = {kBusyCounter, false}, .size = 4, .on = WatchOn::Access});
    u64 stops = 0;
    for (const u64 place : kPlaces) {
      while (watched->count() < place) {
        if (stops % 3 == 2) debugger.step(debugger.current_cpu(), stops % 2 == 0);
        else debugger.resume();
        stops += watched->run({.until_count = place}).reason == StopReason::Debug;
      }
      check(fmt::format("{}, debugged and traced", v.name), *watched, place);
    }
    if (stops < 20 || lines < 20) wrong.push_back(fmt::format("{}: {} stops and {} lines are too few to prove anything", v.name, stops, lines));

    auto recording = load_recording(base + ".rec");
    auto replay = recording ? Replay::create(std::move(*recording), {.engine = v.engine, .translator = v.tuning}) : tl::make_unexpected(recording.error());
    if (!replay) {
      wrong.push_back(replay.error().message);
      continue;
    }
    while (!(*replay)->run(33'333))
      ;
    if ((*replay)->outcome() != ReplayOutcome::Matched) wrong.push_back(fmt::format("{}, the recording: {}", v.name, (*replay)->verdict()));
  }
  std::remove((base + ".rec").c_str());
  std::remove((base + ".snap").c_str());
  return wrong;
}

}  // namespace callgate::test
