#include "frontend/replay_command.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>

#include "frontend/exit_status.h"
#include "frontend/gdb/server.h"
#include "frontend/output.h"
#include "frontend/run_command.h"
#include "frontend/stats_file.h"
#include "machine/boot/files.h"
#include "machine/replay.h"
#include "machine/snapshot.h"

namespace callgate {

namespace {

/// How many instructions run between two times that the console's output is shown.
constexpr u64 kSlice = 20'000'000;
/// The same with a debugger, which may say something.
constexpr u64 kDebuggedSlice = 2'000'000;

int report(const Error& error) {
  fmt::print(stderr, "callgate: {}\n", error.message);
  return exit_status(error.kind);
}

int status_of(ReplayOutcome outcome) {
  switch (outcome) {
    case ReplayOutcome::Matched:
    case ReplayOutcome::Stopped: return kExitPowerOff;
    case ReplayOutcome::CutOff: return kExitBadFile;
    case ReplayOutcome::Different: return kExitDifference;
    case ReplayOutcome::Damaged: return kExitBadFile;
  }
  return kExitHost;
}

const char* words(StopReason reason) {
  switch (reason) {
    case StopReason::PowerOff: return "the guest powered off";
    case StopReason::Reset: return "the guest reset itself";
    case StopReason::DebugExit: return "the guest wrote the debug-exit port";
    case StopReason::TripleFault: return "a triple fault";
    case StopReason::Halted: return "halted for good";
    case StopReason::Idle: return "stopped while the guest waited";
    default: return "stopped";
  }
}

/// The recording under a debugger: it runs as the debugger wishes, to the recording's end at most.
int debug_recording(Replay& replay, const RunOptions& run, Output& serial) {
  const auto address = gdb::parse_address(run.gdb);
  if (!address) return report(address.error());
  Machine& m = replay.machine();
  std::optional<Timeline> timeline;
  if (run.history != 0) timeline.emplace(m, TimelineOptions{.memory_limit = run.history});
  auto listening = gdb::Server::listen(*address, m, timeline ? &*timeline : nullptr);
  if (!listening) return report(listening.error());
  gdb::Server& server = **listening;
  const Recording& r = replay.recording();
  const u64 end = std::min(run.until, r.end ? r.end->state.count : r.last_count());
  server.end_at(end);
  if (run.wait_for_gdb) server.hold();
  fmt::print(stderr, "callgate: a debugger may connect: target remote {}\n", server.where());
  for (;;) {
    const Stop stop = server.run({.until_count = std::min(end, m.count() + kDebuggedSlice)}, -1);
    serial.flush();
    const bool at_end = stop.reason == StopReason::CountReached && m.count() >= end;
    if (at_end) server.hold();  // whoever connects may still go back
    else if (stop.reason != StopReason::CountReached && stop.reason != StopReason::Debug) return kExitPowerOff;
  }
}

}  // namespace

int replay_command(const ReplayOptions& options, const RunOptions& run) {
  auto recording = load_recording(options.file);
  if (!recording) return report(recording.error());
  auto made = Replay::create(std::move(*recording), {.engine = run.machine.engine,
                                                     .translator = run.machine.translator,
                                                     .until = run.until,
                                                     .kernel = options.kernel,
                                                     .initrd = options.initrd,
                                                     .snapshot = options.snapshot,
                                                     .modules = options.modules});
  if (!made) return report(made.error());
  Replay& replay = **made;
  Machine& m = replay.machine();

  // What goes on live opens its outputs itself, at the end of the replay.
  auto serial = Output::open(options.go_live && run.serial != "stdio" ? "none" : run.serial, "--serial");
  if (!serial) return report(serial.error());
  auto debug_console = Output::open(options.go_live && run.debug_console != "stdio" ? "none" : run.debug_console, "--debugcon");
  if (!debug_console) return report(debug_console.error());
  auto stats = StatsFile::create(options.go_live ? "" : run.stats_file);
  if (!stats) return report(stats.error());
  (*serial)->keep();
  (*debug_console)->keep();
  stats->keep();
  m.on_serial([&](std::span<const u8> bytes) { (*serial)->write(bytes); });
  m.on_debug_console([&](std::span<const u8> bytes) { (*debug_console)->write(bytes); });

  if (!run.gdb.empty() && !options.go_live) return debug_recording(replay, run, **serial);
  const auto started = std::chrono::steady_clock::now();
  while (!replay.run(kSlice)) (*serial)->flush();
  (*serial)->flush();
  (*debug_console)->flush();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  fmt::print(stderr, "callgate: {}\n", replay.verdict());
  const bool went_wrong = replay.outcome() == ReplayOutcome::Different || replay.outcome() == ReplayOutcome::Damaged;
  if (options.go_live && !went_wrong) {
    replay.go_live();
    RunOptions live = run;
    live.until = ~u64{0};
    return run_command(live, &replay);
  }
  if (!run.save_snapshot.empty() && !went_wrong)
    if (auto saved = save_snapshot(m, replay.recording().header, run.save_snapshot, run.save_base); !saved) return report(saved.error());
  if (auto written = stats->write(m, seconds); !written) return report(written.error());
  return status_of(replay.outcome());
}

namespace {

/// The machine and what it was started from.
void print_origin(const RecordingHeader& h) {
  fmt::print("machine        {} MiB, {} processor{}, CPU {}{}\n", static_cast<double>(h.machine.ram_bytes) / (1 << 20), h.machine.cpus,
             h.machine.cpus == 1 ? "" : "s", h.machine.cpu_model,
             h.machine.paravirt == 0 ? "" : ", paravirt " + paravirt_text(h.machine.paravirt));
  for (const RecordedFile& f : h.files)
    fmt::print("{:<14} {} ({}){}\n", name_of(f.role), f.name, f.identity.text(), f.bundled ? ", in the recording" : "");
  if (!h.command_line.empty()) fmt::print("command line   {}\n", h.command_line);
}

int snapshot_info(std::shared_ptr<FileBytesAt> bytes, const std::string& file) {
  auto read = check_snapshot(std::move(bytes), file);
  if (!read) return report(read.error());
  const SnapshotHeader& h = read->header;
  fmt::print("snapshot       by callgate {}\n", h.origin.version);
  print_origin(h.origin);
  fmt::print("state          count {}, {:.6f} s of guest time, hash {:016x}\n", h.count, static_cast<double>(h.time) / 1e9, h.hash);
  if (!h.base.name.empty())
    fmt::print("base           {}: count {}, hash {:016x}; {} pages are its\n", h.base.name, h.base.count, h.base.hash, read->of_base);
  fmt::print("size           {} bytes, {} pages, {} of them in it\n", read->bytes, read->pages, read->slots);
  return kExitPowerOff;
}

}  // namespace

int recording_info_command(const std::string& file) {
  u8 magic[8] = {};
  if (auto open = FileBytesAt::open(file); open && (*open)->read(0, magic) && std::memcmp(magic, kSnapshotFormat.magic, 8) == 0)
    return snapshot_info(std::move(*open), file);
  auto bytes = boot::read_file(file);
  if (!bytes) return report(bytes.error());
  auto read = read_recording(*bytes, file);
  if (!read) return report(read.error());
  const Recording& r = *read;
  const RecordingHeader& h = r.header;
  fmt::print("recording      {:016x}, by callgate {}\n", h.id, h.version);
  if (h.parent != 0) fmt::print("parent         {:016x}, left at count {} ({})\n", h.parent, h.parent_count, h.parent_name);
  print_origin(h);
  u64 inputs = 0, typed = 0, changes = 0;
  for (const InputRecord& input : r.inputs) {
    const bool change = input.channel == InputChannel::State;
    changes += change;
    inputs += !change;
    if (!change) typed += input.bytes.size();
  }
  fmt::print("inputs         {} ({} bytes)\n", inputs, typed);
  if (changes != 0) fmt::print("changes        {} by a debugger\n", changes);
  fmt::print("hashes         {}\n", r.hashes.size());
  fmt::print("size           {} bytes, {} records\n", r.bytes, r.records);
  if (r.end)
    fmt::print("end            count {}, {:.6f} s of guest time, hash {:016x}: {}\n", r.end->state.count,
               static_cast<double>(r.end->state.time) / 1e9, r.end->state.hash, words(r.end->reason));
  else
    fmt::print("end            none: {}; good up to count {}\n", r.cut(), r.last_count());
  return r.end ? kExitPowerOff : kExitBadFile;
}

}  // namespace callgate
