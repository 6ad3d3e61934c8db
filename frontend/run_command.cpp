#include "frontend/run_command.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>

#include "frontend/console_keys.h"
#include "frontend/exit_status.h"
#include "frontend/gdb/server.h"
#include "frontend/output.h"
#include "frontend/perf_map.h"
#include "frontend/stats_file.h"
#include "frontend/terminal.h"
#include "frontend/version.h"
#include "machine/boot/files.h"
#include "machine/origin_files.h"
#include "machine/recorder.h"
#include "machine/snapshot.h"

namespace callgate {

namespace {

using HostClock = std::chrono::steady_clock;

/// How many instructions run between two looks at the keyboard.
constexpr u64 kBetweenLooks = 2'000'000;

u64 host_nanoseconds() {
  return static_cast<u64>(std::chrono::duration_cast<std::chrono::nanoseconds>(HostClock::now().time_since_epoch()).count());
}

int report(const Error& error) {
  fmt::print(stderr, "callgate: {}\n", error.message);
  return exit_status(error.kind);
}

/// True when somebody or something may still type: a terminal, a pipe, a socket; not a file or /dev/null.
bool input_may_come() {
  struct stat st;
  if (fstat(STDIN_FILENO, &st) != 0) return false;
  return isatty(STDIN_FILENO) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
}

/// One run on the console.
class Session {
 public:
  /// `lockstep`: what runs `machine`, its subject; or nullptr. So `gdb`, and `timeline`, which may be there with it.
  Session(Machine& machine, Lockstep* lockstep, gdb::Server* gdb, Timeline* timeline, const RunOptions& options, Output& serial)
      : machine_(machine), lockstep_(lockstep), gdb_(gdb), timeline_(timeline), options_(options), serial_(serial) {
    wait_when_idle_ = options.idle == IdlePolicy::Wait || (options.idle == IdlePolicy::Auto && input_may_come());
  }

  /// Runs to the end and tells how it ended.
  Stop run() {
    for (;;) {
      const u64 count = machine_.count();
      u64 until = count + kBetweenLooks;
      if (options_.hash_every != 0) until = std::min(until, (count / options_.hash_every + 1) * options_.hash_every);
      const auto next = std::upper_bound(options_.hash_at.begin(), options_.hash_at.end(), count);
      if (next != options_.hash_at.end()) until = std::min(until, *next);
      until = std::min(until, options_.until);
      const RunLimits limits{.until_count = until, .stop_when_idle = wait_when_idle_};
      const Stop stop = lockstep_ != nullptr   ? lockstep_->run(limits)
                        : gdb_ != nullptr      ? gdb_->run(limits, input_over_ ? -1 : STDIN_FILENO)
                        : recorder_ != nullptr ? recorder_->run(limits)
                                               : machine_.run(limits);
      serial_.flush();
      tell_recording();
      const u64 now_at = machine_.count();
      if (options_.hash_every != 0 && now_at != count && now_at % options_.hash_every == 0) print_hash();
      if (next != options_.hash_at.end() && now_at == *next) print_hash();
      if (stop.reason == StopReason::CountReached && now_at >= options_.until) return stop;
      if (stop.reason == StopReason::Idle) {
        if (stop.idle_ns == kNever && input_over_ && gdb_ == nullptr) return {StopReason::Halted};
        if (!look_at_input(stop.idle_ns)) return {StopReason::Requested};
        continue;
      }
      if (stop.reason != StopReason::CountReached && stop.reason != StopReason::Debug) return stop;
      if (!look_at_input(0)) return {StopReason::Requested};
    }
  }

  /// From now on the run goes through it.
  void record(Recorder* recorder) { recorder_ = recorder; }

  void print_hash() {
    const u64 count = machine_.count();
    if (count == hashed_at_) return;
    hashed_at_ = count;
    fmt::print(stderr, "hash {} {:016x}\n", count, machine_.hash());
  }

 private:
  /// Takes what was typed, waiting at most `wait_ns` for it. False: the user ended the run.
  bool look_at_input(u64 wait_ns) {
    const auto until = HostClock::now() + std::chrono::nanoseconds(std::min<u64>(wait_ns, u64{3600} * 1'000'000'000));
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::microseconds>(until - HostClock::now()).count();
      const long wait_us = left > 0 ? left : 0;
      const timespec timeout{wait_us / 1'000'000, wait_us % 1'000'000 * 1000};
      pollfd fd[] = {{input_over_ ? -1 : STDIN_FILENO, POLLIN, 0}, {gdb_ != nullptr ? gdb_->descriptor() : -1, POLLIN, 0}};
      const int n = ppoll(fd, 2, &timeout, nullptr);
      if (n <= 0) {
        if (wait_us == 0 || n == 0) return true;
        continue;
      }
      if (fd[0].revents == 0) return true;  // the debugger's turn
      u8 bytes[256];
      const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
      if (got <= 0) {
        input_over_ = true;
        continue;
      }
      const auto typed = keys_.feed(std::span<const u8>(bytes, static_cast<std::size_t>(got)));
      if (lockstep_ != nullptr) lockstep_->serial_input(typed.for_guest);
      else if (timeline_ != nullptr) timeline_->serial_input(typed.for_guest);
      else machine_.serial_input(typed.for_guest);
      for (const ConsoleCommand command : typed.commands)
        if (!obey(command)) return false;
      return true;
    }
  }

  bool obey(ConsoleCommand command) {
    switch (command) {
      case ConsoleCommand::Quit: return false;
      case ConsoleCommand::Help: fmt::print(stderr, "{}", kConsoleHelp); break;
      case ConsoleCommand::Where:
        fmt::print(stderr, "\ncount {}  guest time {:.6f} s  rip {:#x}\n", machine_.count(),
                   static_cast<double>(machine_.now()) / 1e9, machine_.cpu_state(0).rip);
        break;
      case ConsoleCommand::None: break;
    }
    return true;
  }

  /// The disk is full, or the like: the guest goes on.
  void tell_recording() {
    if (recorder_ == nullptr || !recorder_->error() || recording_told_) return;
    recording_told_ = true;
    fmt::print(stderr, "callgate: {}; what is before can be replayed\n", recorder_->error()->message);
  }

  Machine& machine_;
  Lockstep* lockstep_;
  Recorder* recorder_ = nullptr;
  bool recording_told_ = false;
  gdb::Server* gdb_;
  Timeline* timeline_;
  const RunOptions& options_;
  Output& serial_;
  ConsoleKeys keys_;
  bool wait_when_idle_ = false;
  bool input_over_ = false;
  u64 hashed_at_ = ~u64{0};
};

/// What the run's end means to the user: a sentence where it is not the usual one, and the exit status.
int conclude(Machine& machine, const Stop& stop) {
  switch (stop.reason) {
    case StopReason::PowerOff:
    case StopReason::Requested:
    case StopReason::CountReached:
    case StopReason::Debug:
    case StopReason::Idle: return kExitPowerOff;
    case StopReason::DebugExit: return static_cast<int>(stop.code & 0xFF);
    case StopReason::Reset:
      fmt::print(stderr, "callgate: the guest reset itself; without --no-reboot it would start again\n");
      return kExitReset;
    case StopReason::Halted:
      fmt::print(
          stderr,
          "callgate: every processor is halted and nothing can wake it: see where with --log faults,interrupts\n");
      return kExitHalted;
    case StopReason::Damaged:
      fmt::print(stderr, "callgate: {} (found at count {}; the run can't go on)\n", machine.damage(), machine.count());
      return kExitBadFile;
    case StopReason::TripleFault:
      fmt::print(stderr,
                 "callgate: triple fault: a fault could not be delivered, nor the double fault that followed from it; "
                 "the chain below tells why\n");
      for (unsigned i = 0; i < machine.cpus(); i++)
        if (machine.cpu_state(i).activity == Activity::Shutdown) fmt::print(stderr, "{}", machine.fault_report(i));
      return kExitTripleFault;
  }
  return kExitHost;
}

}  // namespace

int run_command(const RunOptions& options, Replay* from) {
  std::unique_ptr<Recorder> recorder;
  const auto start_recording = [&](Machine& m, const RunStart& start) -> Result<> {
    std::random_device random;
    auto made = Recorder::create({.path = options.record,
                                  .version = kVersion,
                                  .id = u64{random()} << 32 | random(),
                                  .bundle = options.bundle,
                                  .debugged = !options.gdb.empty()},
                                 m, start, from != nullptr ? &from->recording() : nullptr);
    if (!made) return tl::make_unexpected(made.error());
    recorder = std::move(*made);
    return {};
  };
  SnapshotStart snapshot_start;
  RecordingHeader origin;  // what a snapshot says of where the machine came from
  if (from != nullptr) origin = from->recording().header;
  std::vector<u8> test_input;
  if (!options.test_input.empty()) {
    auto read = boot::read_file(options.test_input);
    if (!read) return report(read.error());
    test_input.assign(read->begin(), read->end());
  }
  const auto load = [&](Machine& m) -> Result<> {
    m.test_input(test_input);
    if (options.record.empty() && options.save_snapshot.empty())
      return m.load_kernel(options.kernel, options.initrd, options.append, options.boot);
    auto inputs = boot::read_boot_files(options.kernel, options.initrd, options.append, m.memory_map());
    if (!inputs) return tl::make_unexpected(inputs.error());
    if (!options.save_snapshot.empty()) origin = describe_origin(*inputs, options.boot, kVersion);
    if (!options.record.empty())
      if (auto started = start_recording(m, start_of(*inputs, options.boot, kVersion)); !started) return started;
    auto loaded = m.load(std::move(*inputs), options.boot);
    if (!loaded && recorder) recorder->abandon();
    return loaded;
  };
  std::unique_ptr<Machine> machine;
  std::unique_ptr<Lockstep> lockstep;
  if (options.lockstep) {
    auto made = Lockstep::create(options.machine, load, options.compare_every);
    if (!made) return report(made.error());
    lockstep = std::move(*made);
  } else if (!options.load_snapshot.empty()) {
    auto loaded = load_snapshot(options.load_snapshot, options.machine.engine, options.machine.translator);
    if (!loaded) return report(loaded.error());
    machine = std::move(loaded->machine);
    origin = std::move(loaded->header.origin);
    machine->on_reset([&]() -> std::optional<boot::BootPlan> {
      auto plan = plan_origin(origin, machine->memory_map(), [&](std::size_t i) { return read_origin_file(origin.files[i], options.load_snapshot); });
      if (plan) return std::move(*plan);
      machine->set_damage(plan.error().message);
      return std::nullopt;
    });
  } else if (from == nullptr) {
    auto made = Machine::create(options.machine);
    if (!made) return report(made.error());
    machine = std::move(*made);
  }
  if (machine && !options.load_snapshot.empty()) machine->test_input(test_input);
  Machine& m = lockstep ? lockstep->subject() : from != nullptr ? from->machine() : *machine;

  std::string bad;
  if (!m.log().enable_list(options.log_channels, &bad))
    return report(
        {ErrorKind::BadArgument,
         fmt::format("--log has no channel \"{}\": there are faults, interrupts, devices, io, msr, boot, cpu and all",
                     bad)});
  // Everything that can be refused is tried before anything runs; the files that it made go again if it is.
  auto log_output = Output::open(options.log_file.empty() ? "none" : "file:" + options.log_file, "--log-file");
  if (!log_output) return report(log_output.error());
  m.log().set_sink([&](LogChannel channel, std::string_view line) {
    const std::string text = fmt::format("[{}] {}\n", name_of(channel), line);
    if (options.log_file.empty())
      std::fputs(text.c_str(), stderr);
    else
      (*log_output)->write({reinterpret_cast<const u8*>(text.data()), text.size()});
  });

  const auto refuse = [&](const Error& error) {
    if (recorder) recorder->abandon();
    return report(error);
  };
  if (machine && options.load_snapshot.empty()) {
    if (auto loaded = load(m); !loaded) return report(loaded.error());
  } else if (!options.record.empty()) {
    auto start = from != nullptr ? from->start(options.bundle) : snapshot_start.read(options.load_snapshot, origin, options.bundle);
    if (!start) return report(start.error());
    if (auto started = start_recording(m, *start); !started) return report(started.error());
  }
  m.log().line(LogChannel::Boot, "{}", m.boot_description());

  auto serial = Output::open(options.serial, "--serial");
  if (!serial) return refuse(serial.error());
  auto debug_console = Output::open(options.debug_console, "--debugcon");
  if (!debug_console) return refuse(debug_console.error());
  auto stats = StatsFile::create(options.stats_file);
  if (!stats) return refuse(stats.error());
  auto perf_map = PerfMap::create(options.perf_map);
  if (!perf_map) return refuse(perf_map.error());
  std::optional<Timeline> timeline;
  std::unique_ptr<gdb::Server> gdb;
  if (!options.gdb.empty()) {
    if (options.lockstep) return refuse({ErrorKind::BadArgument, "--gdb works with one engine: leave out --engine lockstep"});
    if (recorder && options.history == 0)
      return refuse({ErrorKind::BadArgument, "--record with --gdb needs the history that --history 0 switches off"});
    const auto address = gdb::parse_address(options.gdb);
    if (!address) return refuse(address.error());
    if (options.history != 0) timeline.emplace(m, TimelineOptions{.memory_limit = options.history});
    auto server = gdb::Server::listen(*address, m, timeline ? &*timeline : nullptr);
    if (!server) return refuse(server.error());
    gdb = std::move(*server);
    if (options.wait_for_gdb) gdb->hold();
    fmt::print(stderr, "callgate: a debugger may connect: target remote {}\n", gdb->where());
  }
  (*log_output)->keep();
  (*serial)->keep();
  (*debug_console)->keep();
  stats->keep();
  perf_map->follow(m);
  m.on_serial([&](std::span<const u8> bytes) { (*serial)->write(bytes); });
  m.on_debug_console([&](std::span<const u8> bytes) { (*debug_console)->write(bytes); });

  if (!options.stats_file.empty()) m.set_host_clock(host_nanoseconds);
  const auto started = HostClock::now();
  Stop stop{StopReason::Requested};
  Session session(m, lockstep.get(), gdb.get(), timeline ? &*timeline : nullptr, options, **serial);
  if (recorder) {
    if (auto begun = recorder->begin(from != nullptr ? &from->recording() : nullptr); !begun) return refuse(begun.error());
    session.record(recorder.get());
    if (timeline) timeline->run_with([&](const RunLimits& limits) { return recorder->run(limits); });
  }
  {
    RawTerminal terminal;
    stop = session.run();
    (*serial)->flush();
    (*debug_console)->flush();
  }
  if (recorder) {
    // It ends where the run ended, wherever the debugger left it.
    if (timeline && timeline->in_past()) timeline->seek(timeline->end());
    // A recording that ended early was told of.
    const bool told = recorder->error().has_value();
    if (auto finished = recorder->finish(); !finished && !told) fmt::print(stderr, "callgate: {}\n", finished.error().message);
  }
  std::optional<Error> not_saved;
  if (!options.save_snapshot.empty())
    if (auto saved = save_snapshot(m, origin, options.save_snapshot, options.save_base); !saved) not_saved = saved.error();
  session.print_hash();
  const double seconds = std::chrono::duration<double>(HostClock::now() - started).count();
  int status = conclude(m, stop);
  if (not_saved) status = report(*not_saved);
  if (lockstep && !lockstep->difference().empty()) {
    fmt::print(stderr, "callgate: {}", lockstep->difference());
    status = kExitDifference;
  }
  if (auto written = stats->write(m, seconds); !written) return report(written.error());
  if (status == kExitPowerOff && recorder && recorder->error()) status = kExitHost;
  return status;
}

}  // namespace callgate
