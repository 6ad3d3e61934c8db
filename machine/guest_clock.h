// Guest time and the timers that hang on it. Time is a function of retired instructions: one nanosecond each, plus the
// time that was skipped while every processor was halted. Never reads a host clock.
#pragma once

#include <functional>
#include <vector>

#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

class GuestClock final : public Clock {
 public:
  u64 now() const override { return base_ + (counter_ != nullptr ? *counter_ - counted_from_ : 0); }
  void arm(Timer& timer, u64 deadline) override;
  void cancel(Timer& timer) override;

  /// Called when a timer was armed for a time before every other one: the running slice may have to end earlier.
  void on_earlier(std::function<void()> hook) { earlier_ = std::move(hook); }

  /// While a processor runs, time goes with its count of retired instructions.
  void attach(const u64& retired) {
    counter_ = &retired;
    counted_from_ = retired;
  }
  /// Time stands still at now().
  void detach() {
    base_ = now();
    counter_ = nullptr;
  }
  /// Back to an earlier `time` (another processor runs the same slice) or forward (halted time is skipped). Detached only.
  void set(u64 time) { base_ = time; }

  /// The earliest deadline, or kNever.
  u64 next_deadline() const { return armed_.empty() ? kNever : armed_.front()->deadline; }
  /// Fires every timer whose deadline is not after now(), in order of deadline, then of Timer::order.
  void fire_due();
  /// Forgets all timers: devices arm theirs again when they are restored.
  void clear() { armed_.clear(); }
  void sync(StateIo& io) { io.field(base_); }

 private:
  u64 base_ = 0;
  const u64* counter_ = nullptr;
  u64 counted_from_ = 0;
  std::vector<Timer*> armed_;  ///< sorted
  std::function<void()> earlier_;
};

}  // namespace callgate
