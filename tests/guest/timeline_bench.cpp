// Goes through a recording backwards and tells how long that takes, and whether it was right:
//   timeline_bench RECORDING [PLACES]
// prints a line of JSON. Exit status 1: a state was another one than on the way forward.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "machine/debugger.h"
#include "machine/replay.h"
#include "machine/timeline.h"

using namespace callgate;

namespace {

double ms_of(const std::function<void()>& what) {
  const auto from = std::chrono::steady_clock::now();
  what();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from).count();
}

std::string figures(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const auto at = [&](double part) { return times.empty() ? 0.0 : times[std::min(times.size() - 1, static_cast<std::size_t>(part * static_cast<double>(times.size())))]; };
  return fmt::format("{{\"median\": {:.2f}, \"p95\": {:.2f}, \"worst\": {:.2f}}}", at(0.5), at(0.95), at(1));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: timeline_bench RECORDING [PLACES]\n");
    return 2;
  }
  const unsigned places = argc > 2 ? static_cast<unsigned>(std::stoul(argv[2])) : 100;
  auto recording = load_recording(argv[1]);
  auto replay = recording ? Replay::create(std::move(*recording), {}) : tl::make_unexpected(recording.error());
  if (!replay) {
    fmt::print(stderr, "timeline_bench: {}\n", replay.error().message);
    return 2;
  }
  Machine& m = (*replay)->machine();
  Timeline t(m);
  const u64 end = (*replay)->recording().last_count();
  const double forward = ms_of([&] { t.run({.until_count = end}); });
  const u64 end_hash = m.hash();
  const u64 memory = t.memory_used();
  const std::size_t checkpoints = t.checkpoints();
  std::mt19937_64 random(42);
  std::vector<double> gotos, steps, next_steps, writes;
  unsigned wrong = 0;

  for (unsigned i = 0; i < places; i++) {
    const u64 place = 1000 + random() % (end - 1000);
    gotos.push_back(ms_of([&] { t.seek(place); }));
    const u64 hash = m.hash();
    steps.push_back(ms_of([&] { t.seek(t.count() - 1); }));
    for (unsigned k = 0; k < 4; k++) next_steps.push_back(ms_of([&] { t.seek(t.count() - 1); }));
    t.run({.until_count = place});
    wrong += m.count() != place || m.hash() != hash;
  }

  // Words that changed late in the run: who wrote them last?
  t.seek(end / 2);
  const auto middle = m.checkpoint();
  t.seek(end);
  const auto last = m.checkpoint();
  const std::vector<u32> changed = PageTree::difference(middle->ram, last->ram);
  Debugger& debugger = m.debugger();
  for (unsigned i = 0; i < 20 && !changed.empty();) {
    const u32 frame = changed[random() % changed.size()];
    const PageCopy *a = middle->ram.page(frame), *b = last->ram.page(frame);
    const u32 offset = static_cast<u32>(random() % 512 * 8);
    if (a == nullptr || b == nullptr || std::memcmp(a->bytes + offset, b->bytes + offset, 8) == 0) continue;
    i++;
    const u64 address = u64{frame} << kPageShift;  // below the PCI hole
    const Watchpoint watch{.at = {.address = address + offset, .physical = true}, .size = 8, .on = WatchOn::Write};
    debugger.add_watchpoint(watch);
    Timeline::Found found{Timeline::Arrival::Begin};
    writes.push_back(ms_of([&] {
      found = t.find_last(end + 1, [&](u64 until) {
        debugger.resume();
        return m.run({.until_count = until}).reason == StopReason::Debug;
      }, PhysicalRange{address + offset, 8});
      if (found.arrival == Timeline::Arrival::There) t.seek(found.count);
    }));
    debugger.remove_watchpoint(watch);
    // It holds what it holds at the end, and one instruction before it may have been anything.
    u64 now = 0;
    m.read_physical(address + offset, {reinterpret_cast<u8*>(&now), 8});
    wrong += found.arrival != Timeline::Arrival::There || std::memcmp(&now, b->bytes + offset, 8) != 0;
    t.seek(end);
  }
  wrong += m.hash() != end_hash;
  fmt::print("{{\"instructions\": {}, \"forward_ms\": {:.0f}, \"checkpoints\": {}, \"memory_mib\": {}, \"goto_ms\": {}, \"reverse_step_ms\": {}, "
             "\"next_reverse_steps_ms\": {}, \"last_write_ms\": {}, \"wrong\": {}}}\n",
             end, forward, checkpoints, memory >> 20, figures(gotos), figures(steps), figures(next_steps), figures(writes), wrong);
  return wrong == 0 ? 0 : 1;
}
