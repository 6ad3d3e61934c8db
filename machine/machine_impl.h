// What is behind Machine: the parts, and the place in the run. For machine.cpp, which runs it, and machine_state.cpp, which
// hashes it, keeps it and puts it back.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/interpreter.h"
#include "jit/translator.h"
#include "machine/board.h"
#include "machine/checkpoint.h"
#include "machine/debugger.h"
#include "machine/journal.h"
#include "machine/machine.h"

namespace callgate {

/// How long a run may go without looking whether somebody outside asked it to stop.
constexpr u64 kLongestSlice = 4'000'000;

/// Frames, each once. Takes none until it is begun.
struct FrameSet {
  bool on = false;
  std::vector<u32> frames;
  std::vector<bool> has;

  void begin(u32 of) {
    on = true;
    frames.clear();
    has.assign(of, false);
  }
  void add(std::span<const u32> more) {
    if (!on) return;
    for (const u32 frame : more) {
      if (has[frame]) continue;
      has[frame] = true;
      frames.push_back(frame);
    }
  }
};

/// A stretch of guest time that the processors run one after the other. With several processors it is part of the
/// state: a run that stops in the middle of it goes on where it was.
struct Round {
  bool active = false;
  u32 processor = 0;  ///< whose turn it is
  u64 start = 0, end = 0;
  u64 reached = 0;  ///< how far that processor has come

  void sync(StateIo& io, u32 processors) {
    io.section("round");
    io.fields(active, processor, start, end, reached);
    if (!io.loading()) return;
    const bool sane = processor < processors && start <= reached && reached <= end &&
                      end <= kEndOfTime + kLongestSlice && end - start <= kLongestSlice;
    if (active && !sane) io.damaged("round: it makes no sense");
    if (!active || !sane) *this = {};
  }
};

struct Machine::Impl {
  Impl(const MachineConfig& c, std::unique_ptr<Ram> ram)
      : config(c), board(c, std::move(ram), log), interpreter(board.decoded) {}

  const MachineConfig config;
  Log log;
  Board board;
  Interpreter interpreter;
  std::unique_ptr<jit::Translator> translator;  ///< nullptr: the interpreter runs
  Debugger debugger{board};
  HostInput input;
  std::optional<boot::BootPlan> plan;
  std::function<std::optional<boot::BootPlan>()> late_plan;
  std::string description = "nothing is loaded";
  std::atomic<bool> stop_requested{false};
  bool idle_reported = false;  ///< the caller of run() knows of the halted stretch that we stand before
  u64 slice_until = 0;         ///< count at which the running processor's slice ends
  Round round;
  u64 timer_events = 0, idle_skips = 0;
  PageAccount page_account = std::make_shared<u64>(0);
  PageTree ram_then{page_account};  ///< of the checkpoint that was made or restored last: RAM is this and what changed
  std::vector<u32> changed;         ///< frames written since then and hashed; what is dirty in RAM comes to it
  std::vector<bool> is_changed = std::vector<bool>(board.memory.ram().frames());
  std::shared_ptr<PageSource> source;  ///< of what ram_then has no page of; none: zeros
  std::string damage;
  u64 edits = 0;  ///< changes by hand, but the debugger's
  FrameSet guests_writes;  ///< frames written since a checkpoint was made or restored, as far as the guest's own snapshots took them from `changed`
  FrameSet since_place;  ///< frames written since note_place()

  u64 count() const {
    u64 sum = 0;
    for (const auto& p : board.processors) sum += p->cpu.s.retired;
    return sum;
  }
  /// True when the processor has something to do now.
  bool ready(Processor& p) { return p.cpu.s.activity == Activity::Running || p.cpu.event_ready(); }

  void deliver_input();
  void run_slice(u64 most);
  void run_round(u64 until_count);
  void end_round(u64 time);
  void sync(StateIo& io) {
    board.sync(io);
    round.sync(io, static_cast<u32>(board.processors.size()));
    if (io.loading()) debugger.note_running(round.processor);
  }
  /// The same without RAM's contents.
  void sync_devices(StateIo& io) {
    board.sync(io, false);
    round.sync(io, static_cast<u32>(board.processors.size()));
    if (io.loading()) debugger.note_running(round.processor);
  }
  void note_changes();
  void put_back(u32 frame, const u8* contents);
  void put_back(u32 frame, const PageCopy* page);
  std::vector<u32> settle();
  std::vector<u32> put_back_ram(const PageTree& ram);
  bool take_state();
  void grant_wish();
  void keep_for_guest();
  void go_back_for_guest();
  void hash_guest_snapshots(StateIo& io);
  void save_guest_snapshots(StateIo& io);
  void restore_guest_snapshots(StateIo& io);
  std::string apply_state(const InputRecord& record);
  std::vector<u8> save_devices();
  Result<> restore_devices(std::span<const u8> saved);
  std::optional<Stop> start_round(const RunLimits& limits);
  std::optional<Stop> handle_power();
  std::optional<Stop> dead_end();
  Stop run(const RunLimits& limits);
};

}  // namespace callgate
