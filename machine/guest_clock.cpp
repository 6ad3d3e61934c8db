#include "machine/guest_clock.h"

#include <algorithm>

namespace callgate {

void GuestClock::arm(Timer& timer, u64 deadline) {
  cancel(timer);
  if (deadline > kEndOfTime) return;
  timer.deadline = deadline;
  const auto before = [](const Timer* a, const Timer* b) {
    return a->deadline != b->deadline ? a->deadline < b->deadline : a->order < b->order;
  };
  const auto at = std::lower_bound(armed_.begin(), armed_.end(), &timer, before);
  const bool first = at == armed_.begin();
  armed_.insert(at, &timer);
  if (first && earlier_) earlier_();
}

void GuestClock::cancel(Timer& timer) {
  if (timer.deadline == kNever) return;
  armed_.erase(std::remove(armed_.begin(), armed_.end(), &timer), armed_.end());
  timer.deadline = kNever;
}

void GuestClock::clear() {
  for (Timer* timer : armed_) timer->deadline = kNever;
  armed_.clear();
}

void GuestClock::fire_due() {
  const u64 now_is = now();
  while (!armed_.empty() && armed_.front()->deadline <= now_is) {
    Timer* timer = armed_.front();
    armed_.erase(armed_.begin());
    timer->deadline = kNever;
    timer->fire();
  }
}

}  // namespace callgate
