#include "machine/timeline.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/verify.h"

namespace callgate {

namespace {
/// Instructions between two looks at interrupt() and calls of the progress function.
constexpr u64 kBetweenLooks = 8'000'000;
/// Before the target of a seek, so far from it, checkpoints are left: who steps back once steps back again.
constexpr u64 kRunUps[] = {1'000'000, 50'000};
/// More checkpoints than this would cost more to look through than they save.
constexpr std::size_t kMostPoints = 2000;
/// Deliveries of interrupts and faults with no instruction in between.
constexpr unsigned kMostDeliveries = 1000;
}  // namespace

Timeline::Timeline(Machine& machine, const TimelineOptions& options) : machine_(machine), options_(options) {
  take_here();
  end_ = machine_.count();
}

u64 Timeline::begin() const { return points_.front().count(); }

u64 Timeline::memory_used() const {
  u64 sum = machine_.checkpoint_pages();
  for (const Point& p : points_) sum += p.state->own_bytes();
  return sum;
}

// --- the set of checkpoints -------------------------------------------------------------------------------------

/// The last checkpoint at or before `count`; the edge only serves the present itself.
std::size_t Timeline::index_before(u64 count) const {
  auto after = std::upper_bound(points_.begin(), points_.end(), count,
                                [](u64 c, const Point& p) { return c < p.count(); });
  while (after - points_.begin() > 1 && (after - 1)->edge && (after - 1)->count() != count) --after;
  VERIFY(after != points_.begin(), "no checkpoint before that place");
  return static_cast<std::size_t>(after - points_.begin()) - 1;
}

/// The next place after `count` that replay can't pass by itself.
u64 Timeline::next_branch(u64 count) const {
  for (const Point& p : points_)
    if (p.pinned && p.count() > count) return p.count();
  return ~u64{0};
}

void Timeline::insert(Point point) {
  const u64 count = point.count();
  const auto at = std::upper_bound(points_.begin(), points_.end(), count,
                                   [](u64 c, const Point& p) { return c < p.count(); });
  points_.insert(at, std::move(point));
  thin();
}

void Timeline::add_written(const std::vector<u32>& frames) {
  std::vector<u32> all;
  std::set_union(written_.begin(), written_.end(), frames.begin(), frames.end(), std::back_inserter(all));
  written_ = std::move(all);
}

/// The machine as it is.
Timeline::Point Timeline::here(bool pinned, bool edge) {
  Point point{machine_.checkpoint(), pinned, edge, settled_, {}};
  add_written(point.state->written);
  point.written = written_;
  return point;
}

void Timeline::take_here(bool pinned) {
  insert(here(pinned, false));
  written_.clear();
}

void Timeline::drop_edge() {
  for (const Point& p : points_)
    if (p.edge) add_written(p.written);
  std::erase_if(points_, [](const Point& p) { return p.edge; });
}

/// Before going back from the present: its exact state is kept.
void Timeline::leave_present() {
  if (in_past()) return;
  end_ = machine_.count();
  drop_edge();
  insert(here(false, true));
  written_.clear();
}

bool Timeline::marked(u64 count) const {
  return std::any_of(marks_.begin(), marks_.end(), [&](const auto& mark) { return mark.second == count; });
}

/// Drops checkpoints until they fit. What goes first is what leaves the smallest gap for its distance from here.
void Timeline::thin() {
  u64 used = memory_used();
  const u64 here = machine_.count();
  while (used > options_.memory_limit || points_.size() > kMostPoints) {
    std::size_t worst = 0;
    double least = 0;
    for (std::size_t i = 1; i + 1 < points_.size(); i++) {
      const Point& p = points_[i];
      if (p.pinned || p.edge || marked(p.count())) continue;
      const u64 gap = points_[i + 1].count() - points_[i - 1].count();
      const u64 distance = here > p.count() ? here - p.count() : p.count() - here;
      const double score = static_cast<double>(gap) / static_cast<double>(distance + options_.spacing);
      if (worst == 0 || score < least) worst = i, least = score;
    }
    if (worst == 0) return;  // the rest can't be missed
    // What was written on the way to it was written on the way to the next one.
    const std::vector<u32> kept = std::exchange(written_, points_[worst].written);
    add_written(points_[worst + 1].written);
    points_[worst + 1].written = std::exchange(written_, kept);
    if (points_[worst].count() <= here) add_written(points_[worst].written);
    points_.erase(points_.begin() + static_cast<std::ptrdiff_t>(worst));
    used = memory_used();
  }
}

/// The machine becomes what it was at the checkpoint. In the past it is silent and hears only the journal.
void Timeline::restore(const Point& point) {
  machine_.restore(*point.state);
  settled_ = point.settled;
  enter(point.edge);
  written_.clear();
}

void Timeline::enter(bool present) {
  present_ = present;
  machine_.journal().hold(!present);
  machine_.mute(!present);
}

/// From any place of the past, or the first moment of the present's count, to the present.
void Timeline::restore_present() {
  const auto edge = std::find_if(points_.begin(), points_.end(), [](const Point& p) { return p.edge; });
  VERIFY(edge != points_.end(), "the present was left without a checkpoint");
  restore(*edge);
}

// --- forward ------------------------------------------------------------------------------------------------------

Stop Timeline::run(const RunLimits& limits, const Runner& runner) {
  interrupted_ = false;
  for (;;) {
    const u64 here = machine_.count();
    if (here >= limits.until_count) return {StopReason::CountReached};
    if (in_past() && here >= end_) restore_present();
    const bool past = in_past();
    const Point& last = points_[index_before(here)];
    u64 until = std::min(limits.until_count, std::max(last.count(), here) + options_.spacing);
    if (last.count() + options_.spacing > here) until = std::min(until, last.count() + options_.spacing);
    until = std::min(until, next_branch(here));
    if (past) until = std::min(until, end_);
    // Halted time that went by before is not waited for again.
    const RunLimits piece{until, limits.stop_when_idle && !past};
    const Stop stop = runner ? runner(piece) : !past && present_runner_ ? present_runner_(piece) : machine_.run(piece);
    const u64 now_at = machine_.count();
    const bool reached = stop.reason == StopReason::CountReached && now_at == until;
    settled_ = reached;
    if (past && now_at >= end_) {
      restore_present();
    } else if (now_at > here) {
      if (!past) drop_edge();
      const Point& there = points_[index_before(now_at)];
      if (there.count() == now_at && there.pinned) restore(there);
      else if (reached && there.count() + options_.spacing <= now_at) take_here();
    }
    end_ = std::max(end_, now_at);
    if (!reached) {
      if (stop.reason != StopReason::Requested) last_stop_ = stop;
      return stop;
    }
    if (interrupted_.exchange(false)) return {StopReason::Requested};
  }
}

bool Timeline::stopped_from_outside(u64 from, u64 to) {
  return interrupted_.exchange(false) || (progress_ && !progress_({from, to, machine_.count()}));
}

/// Runs to `target`, which is not beyond the present, from where the machine stands.
Timeline::Arrival Timeline::forward(u64 target, const Progress& progress) {
  const u64 start = machine_.count();
  while (machine_.count() < target) {
    if (stopped_from_outside(progress.from, progress.to)) return Arrival::Interrupted;
    const u64 here = machine_.count();
    u64 until = std::min(target, here + kBetweenLooks);
    const Point& last = points_[index_before(here)];
    // Checkpoints are left at the usual distance, and closer and closer before the target.
    u64 place = last.count() + options_.spacing;
    for (const u64 run_up : kRunUps)
      if (target > run_up && target - run_up > here && target - run_up >= start + run_up) {
        place = std::min(place, target - run_up);
        break;
      }
    if (place > here) until = std::min(until, place);
    const Stop stop = machine_.run({until});
    const u64 now_at = machine_.count();
    settled_ = stop.reason == StopReason::CountReached;
    if (settled_ && now_at == place && now_at < target) take_here();
    if (stop.reason != StopReason::CountReached && stop.reason != StopReason::Requested) {
      last_stop_ = stop;
      if (now_at == here) return Arrival::Stopped;  // in the past a guest may have gone on after a stop
    }
  }
  return Arrival::There;
}

/// To a place that is not beyond the present.
Timeline::Arrival Timeline::go(u64 target, bool first) {
  const Progress progress{machine_.count(), target, machine_.count()};
  std::size_t index = index_before(target);
  if (first && points_[index].edge) {
    VERIFY(index > 0, "no checkpoint before the present");
    index--;
  }
  const Point& nearest = points_[index];
  const u64 at = machine_.count();
  if (nearest.edge || nearest.count() > at || at > target || (at == target && !settled_)) restore(nearest);
  return machine_.count() == target ? Arrival::There : forward(target, progress);
}

Timeline::Arrival Timeline::seek(u64 target, bool first) {
  interrupted_ = false;
  if (target == machine_.count() && (first || target != end_ ? settled_ : present_)) return Arrival::There;
  leave_present();
  const Point origin = here(false, present_);
  Arrival arrival = Arrival::There;
  if (target < begin()) {
    go(begin(), true);
    return Arrival::Begin;
  }
  arrival = go(std::min(target, end_), first);
  while (arrival == Arrival::There && machine_.count() < target) {
    const u64 here = machine_.count();
    const Stop stop = run({.until_count = std::min(target, here + kBetweenLooks)});
    const bool by_itself = stop.reason != StopReason::CountReached && stop.reason != StopReason::Requested;
    if (by_itself) return Arrival::Stopped;
    // What was run beyond the old present stays: it happened.
    if (stop.reason == StopReason::Requested || stopped_from_outside(here, target)) return Arrival::Interrupted;
  }
  if (arrival == Arrival::Interrupted) return_to(origin);
  return arrival;
}

/// Back to a place that is not in the list.
void Timeline::return_to(const Point& origin) {
  restore(origin);
  written_ = origin.written;
}

// --- searching back -----------------------------------------------------------------------------------------------

/// False when no page of the range was written between the checkpoint at `index` and `high`, which is not beyond the next
/// one (or the origin of the search, when there is none).
bool Timeline::written_after(std::size_t index, u64 high, const PhysicalRange& range, const Point& origin) const {
  const std::vector<u32>* frames = nullptr;
  if (index + 1 < points_.size() && points_[index + 1].count() >= high) frames = &points_[index + 1].written;
  else if (index + 1 == points_.size() && origin.count() >= high) frames = &origin.written;
  if (frames == nullptr || range.size == 0) return true;
  for (u64 page = range.address >> kPageShift; page <= (range.address + range.size - 1) >> kPageShift; page++) {
    const auto frame = machine_.frame_at(page << kPageShift);
    if (!frame || std::binary_search(frames->begin(), frames->end(), *frame)) return true;
  }
  return false;
}

Timeline::Found Timeline::find_last(u64 before, const Scan& scan, std::optional<PhysicalRange> written) {
  interrupted_ = false;
  leave_present();
  const u64 from = machine_.count();
  const Point origin = here(false, present_);
  Found found{Arrival::Begin};
  // The stretch (low, high] of each round begins at a checkpoint.
  u64 high = std::min(before == 0 ? 0 : before - 1, end_);

  while (found.arrival == Arrival::Begin && high > begin()) {
    const std::size_t index = index_before(high - 1);
    const Point start = points_[index];
    if (written && !written_after(index, high, *written, origin)) {
      high = start.count();
      if (stopped_from_outside(from, begin())) found = {Arrival::Interrupted};
      continue;
    }
    restore(start);
    machine_.mute(true);
    unsigned same_place = 0;
    while (machine_.count() < high && found.arrival != Arrival::Interrupted) {
      const u64 here = machine_.count();
      const u64 until = std::min(high, here + std::min(options_.spacing, kBetweenLooks));
      if (scan(until)) {
        // In one place interrupts and faults can be delivered a few times, but not for ever.
        same_place = machine_.count() == here ? same_place + 1 : 0;
        VERIFY(same_place < kMostDeliveries, "a scan reports the place where it began");
        found = {Arrival::There, machine_.count()};
      } else if (machine_.count() == until && until < high &&
                 until - points_[index_before(until)].count() >= options_.spacing) {
        take_here();
      }
      if (stopped_from_outside(from, begin())) found = {Arrival::Interrupted};
    }
    high = start.count();
  }
  return_to(origin);
  return found;
}

// --- marks and branches --------------------------------------------------------------------------------------------

void Timeline::mark(const std::string& name) {
  const u64 here = machine_.count();
  marks_[name] = here;
  if (settled_ && points_[index_before(here)].count() != here) take_here();
}

bool Timeline::unmark(const std::string& name) { return marks_.erase(name) != 0; }

void Timeline::serial_input(std::span<const u8> bytes) {
  if (in_past()) branch();
  machine_.serial_input(bytes);
}

void Timeline::branch() {
  const u64 here = machine_.count();
  for (const Point& p : points_)
    if (p.count() >= here) add_written(p.written);
  std::erase_if(points_, [&](const Point& p) { return p.count() >= here; });
  std::erase_if(marks_, [&](const auto& mark) { return mark.second > here; });
  machine_.journal().forget_future();
  end_ = here;
  enter(true);
  settled_ = true;
  take_here(true);
}

void Timeline::interrupt() {
  interrupted_ = true;
  machine_.request_stop();
}

}  // namespace callgate
