// Guest time and the timers that hang on it. Time is a function of retired instructions: one nanosecond each, plus the
// time that was skipped while every processor was halted. Never reads a host clock.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

/// The end of guest time, 146 years after power-on: far from where sums of nanoseconds would overflow. A guest can ask
/// for later alarms (its timers have 64 bits) and can't tell that they don't come.
constexpr u64 kEndOfTime = u64{1} << 62;

class GuestClock final : public Clock {
 public:
  /// Guest time as devices see it. It never goes back: when several processors run the same stretch of time one after
  /// the other, devices keep the latest that any of them reached.
  u64 now() const override { return std::max(processor_now(), latest_); }
  /// Guest time as the running processor sees it (its TSC).
  u64 processor_now() const { return base_ + (counter_ != nullptr ? *counter_ - counted_from_ : 0); }
  void arm(Timer& timer, u64 deadline) override;
  void cancel(Timer& timer) override;

  /// Called when a timer was armed for a time before every other one: the running slice may have to end earlier.
  void on_earlier(std::function<void()> hook) { earlier_ = std::move(hook); }

  /// While a processor runs, time goes with its count of retired instructions.
  void attach(const u64& retired) {
    counter_ = &retired;
    counted_from_ = retired;
  }
  /// Time stands still.
  void detach() {
    base_ = processor_now();
    latest_ = std::max(latest_, base_);
    counter_ = nullptr;
  }
  /// Back to an earlier `time` (another processor runs the same stretch) or forward (halted time is skipped). Detached
  /// only.
  void set(u64 time) {
    base_ = time;
    latest_ = std::max(latest_, base_);
  }

  /// The earliest deadline, or kNever.
  u64 next_deadline() const { return armed_.empty() ? kNever : armed_.front()->deadline; }
  /// Fires every timer whose deadline is not after now(), in order of deadline, then of Timer::order.
  void fire_due();
  /// Forgets all timers: devices arm theirs again when they are restored.
  void clear();
  void sync(StateIo& io) {
    io.fields(base_, latest_);
    io.limit(base_, kEndOfTime, "the guest's time is past its end");
    io.limit(latest_, kEndOfTime, "the devices' time is past its end");
  }

 private:
  u64 base_ = 0;
  u64 latest_ = 0;
  const u64* counter_ = nullptr;
  u64 counted_from_ = 0;
  std::vector<Timer*> armed_;  ///< sorted
  std::function<void()> earlier_;
};

}  // namespace callgate
