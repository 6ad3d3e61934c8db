// A machine that can go back: checkpoints in memory, and replay of the journal from the nearest one. The one API under
// reverse execution. It knows nothing of debuggers: they bring their own ways to run (Runner) and to look (Scan).
//
//   Timeline timeline(*machine);             // the machine stands at the beginning of what can be gone back to
//   timeline.run({.until_count = 1'000'000});
//   timeline.seek(999'999);                  // one step back
//   timeline.run();                          // replays to the present, then goes on
//
// **Positions are counts** of retired instructions, all processors together. The state at count N is the one in which the
// N-th instruction has just retired: no timer, input or interrupt of that moment has been looked at yet, and a halted
// processor has not waited yet. run() with until_count stops exactly there. seek(N) gives the same hash at N however one
// comes there.
//   Later moments of one count are not positions: after the delivery of an interrupt or a fault, before the handler's
// first instruction (which a breakpoint on a handler sees), or in the middle of a halted stretch (StopReason::Idle). A
// Runner or Scan may stop there; to come back to such a place, seek(N) and run on to the same stop. The *present*, the
// furthest point ever reached, is the exception: seek(end()) restores it exactly as it was left.
//
// **Past and future.** Between the present and the past the journal is replayed: what was typed is typed again. Who
// offers an input (serial_input) or changes the machine by hand (branch) in the past starts a new branch: what came
// after that place is forgotten.
//
// For the debugger (frontend/gdb, machine/debugger*):
//   stepi, continue       run(limits, runner): `runner` stops at breakpoints; checkpoints are taken on the way
//   reverse-stepi         seek(count() - 1); with several processors the step may be another processor's
//   reverse-continue      find_last(count(), scan), then seek(found.count), or seek(begin()) when there is none
//   last-write            find_last(count(), scan that stops after writes, the physical range)
//   M, G, P packets       change the machine, then branch()
//   Ctrl-C                interrupt(), from any thread or signal handler
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "machine/checkpoint.h"
#include "machine/machine.h"

namespace callgate {

struct TimelineOptions {
  /// The most host memory for checkpoints. When it is reached, checkpoints far from the current place are thinned out:
  /// the gaps between them grow with the distance.
  u64 memory_limit = u64{1} << 30;
  /// Instructions between two checkpoints while running forward.
  u64 spacing = 20'000'000;
};

/// Bytes of guest-physical memory.
struct PhysicalRange {
  u64 address = 0, size = 0;
};

class Timeline {
 public:
  /// The machine's current place becomes begin(). The machine must outlive the timeline, and from now on is run, moved
  /// and given input only through it (looking at it is free).
  explicit Timeline(Machine& machine, const TimelineOptions& options = {});
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  Machine& machine() { return machine_; }
  /// Where the machine stands.
  u64 count() const { return machine_.count(); }
  /// The earliest place.
  u64 begin() const;
  /// The present: the furthest place that was reached.
  u64 end() const { return std::max(end_, machine_.count()); }
  bool in_past() const { return !present_; }

  // --- forward ------------------------------------------------------------------------------------------------
  /// Runs the machine forward to `until_count` at most. CountReached means exactly that it came there; any other reason
  /// ends the run.
  using Runner = std::function<Stop(const RunLimits&)>;
  /// As Machine::run (which is the default runner), taking checkpoints on the way. An interrupt() gives Requested.
  Stop run(const RunLimits& limits = {}, const Runner& runner = {});
  /// What runs the machine on in the present when run() is not told: a recorder.
  void run_with(Runner runner) { present_runner_ = std::move(runner); }

  // --- to any place -------------------------------------------------------------------------------------------
  enum class Arrival {
    There,        ///< the machine stands where it was asked to
    Begin,        ///< that is before begin(), where the machine stands now
    Stopped,      ///< the guest ended its run before that (last_stop() tells how): the machine stands there
    Interrupted,  ///< interrupt(), or the progress function said so: the machine is back where it was
  };
  /// Goes to `count`, back or forward. With `first`, to the moment in which that count was first reached, even when it is
  /// the present or the machine stands at a later moment of it: the step back from a handler's first instruction.
  Arrival seek(u64 count, bool first = false);
  /// Why the machine last stopped by itself.
  Stop last_stop() const { return last_stop_; }

  // --- searching back -----------------------------------------------------------------------------------------
  /// Runs the machine forward, to `until` at most. True: the condition was met, at the machine's count. It must report
  /// every place in (where it stands, until] where the condition holds, in order, one a call: not the place where it
  /// stands when called (but later moments of that count), and `until` itself (but
  /// not later moments of it). With no hit it leaves the machine at `until`, or earlier when a Stop of Requested kind came in between.
  using Scan = std::function<bool(u64 until)>;
  struct Found {
    Arrival arrival;  ///< There: found. Begin: there is none. Interrupted.
    u64 count = 0;    ///< There: the place
  };
  /// The last place before `before` (not that itself) where the condition was met. The machine is back where it was
  /// afterwards: go there with seek(). With `written`, stretches of the run in which no page of that range was written
  /// are passed over: for conditions that only writes there can meet.
  Found find_last(u64 before, const Scan& scan, std::optional<PhysicalRange> written = std::nullopt);

  // --- marks --------------------------------------------------------------------------------------------------
  /// Remembers the current place under a name, with a checkpoint that is never thinned out: going back is quick.
  void mark(const std::string& name);
  bool unmark(const std::string& name);
  const std::map<std::string, u64>& marks() const { return marks_; }

  // --- the outside --------------------------------------------------------------------------------------------
  /// An input. In the past: a branch.
  void serial_input(std::span<const u8> bytes);
  /// The caller changed the machine's state (a debugger's write): from now on this place is as it is now. What came
  /// after it is forgotten; what came before stays reachable.
  void branch();

  struct Progress {
    u64 from = 0, to = 0, at = 0;  ///< counts of the operation that is on
  };
  /// Called now and then during seek() and find_last(). False interrupts.
  void on_progress(std::function<bool(const Progress&)> callback) { progress_ = std::move(callback); }
  /// Makes the running operation end soon. From any thread or a signal handler.
  void interrupt();

  // --- figures ------------------------------------------------------------------------------------------------
  std::size_t checkpoints() const { return points_.size(); }
  u64 memory_used() const;

 private:
  struct Point {
    std::shared_ptr<const Checkpoint> state;
    bool pinned = false;  ///< a branch begins here: it can't be come to from before
    bool edge = false;    ///< the present, perhaps at a later moment of its count
    bool settled = true;  ///< the first moment of its count
    std::vector<u32> written;  ///< frames written since the checkpoint before it in the list, at least those
    u64 count() const { return state->count; }
  };

  std::size_t index_before(u64 count) const;
  u64 next_branch(u64 count) const;
  Point here(bool pinned, bool edge);
  void insert(Point point);
  void take_here(bool pinned = false);
  void leave_present();
  void thin();
  void add_written(const std::vector<u32>& frames);
  void drop_edge();
  bool marked(u64 count) const;
  void restore(const Point& point);
  void restore_present();
  void return_to(const Point& origin);
  bool written_after(std::size_t index, u64 high, const PhysicalRange& range, const Point& origin) const;
  void enter(bool present);
  bool stopped_from_outside(u64 from, u64 to);
  Arrival go(u64 target, bool first);
  Arrival forward(u64 target, const Progress& progress);

  Machine& machine_;
  const TimelineOptions options_;
  std::vector<Point> points_;  ///< by count; of one count, the edge is the last
  std::map<std::string, u64> marks_;
  std::vector<u32> written_;  ///< frames written since the last checkpoint of the list, as far as checkpoints told
  u64 end_ = 0;
  bool present_ = true;  ///< else the journal is being replayed
  bool settled_ = true;  ///< the machine stands at the first moment of its count
  Stop last_stop_{StopReason::CountReached};
  std::function<bool(const Progress&)> progress_;
  Runner present_runner_;
  std::atomic<bool> interrupted_{false};
};

}  // namespace callgate
