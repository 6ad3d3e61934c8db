// Local APIC timer: one-shot, periodic and TSC-deadline. The count is derived from the clock when asked for; an alarm
// exists only while an interrupt can come of it.
#include "devices/local_apic.h"

namespace callgate {

/// SDM 3A, Divide Configuration Register: bits 3, 1 and 0 make 2, 4, ... 128, 1.
u64 LocalApic::timer_divisor() const {
  const unsigned code = (s_.divide & 3) | (s_.divide >> 1 & 4);
  return u64{1} << ((code + 1) & 7);
}

u32 LocalApic::current_count() const {
  if (!s_.timer_running) return 0;
  const u64 now = clock_.now();
  u64 ticks = now > s_.timer_since ? (now - s_.timer_since) / timer_divisor() : 0;
  if (ticks < s_.timer_count) return s_.timer_count - static_cast<u32>(ticks);
  if (timer_mode() != kPeriodic || s_.initial_count == 0) return 0;
  ticks -= s_.timer_count;
  return s_.initial_count - static_cast<u32>(ticks % s_.initial_count);
}

/// Handles every expiry up to now with the settings of now; to be called before a setting changes.
void LocalApic::catch_up_timer() {
  if (timer_mode() == kDeadline) {
    if (s_.tsc_deadline == 0 || tsc() < s_.tsc_deadline) return;
    s_.tsc_deadline = 0;
    deliver_lvt(kTimer);
    return;
  }
  if (!s_.timer_running) return;
  const u64 now = clock_.now();
  const u64 divisor = timer_divisor();
  const u64 elapsed = now > s_.timer_since ? now - s_.timer_since : 0;
  const u64 first = s_.timer_count * divisor;
  if (elapsed < first) return;
  if (timer_mode() == kPeriodic && s_.initial_count != 0) {
    // Periods that went by at once are one interrupt: a second could not be told from the first in the IRR.
    const u64 period = s_.initial_count * divisor;
    s_.timer_since += first + (elapsed - first) / period * period;
    s_.timer_count = s_.initial_count;
  } else {
    s_.timer_running = false;
  }
  deliver_lvt(kTimer);
}

/// Sets the alarm that the state asks for. A masked count needs none: nobody sees it expire but by reading it.
void LocalApic::arm_timer() {
  if (timer_mode() == kDeadline) {
    const u64 now = clock_.now();
    const u64 tsc_now = tsc();
    if (s_.tsc_deadline == 0) return clock_.cancel(timer_);
    const u64 wait = s_.tsc_deadline > tsc_now ? s_.tsc_deadline - tsc_now : 0;
    if (wait >= kNever - now) return clock_.cancel(timer_);
    return clock_.arm(timer_, now + wait);
  }
  if (!s_.timer_running || (s_.lvt[kTimer] & kLvtMasked)) return clock_.cancel(timer_);
  const u64 span = s_.timer_count * timer_divisor();
  if (s_.timer_since >= kNever - span) return clock_.cancel(timer_);
  clock_.arm(timer_, s_.timer_since + span);
}

void LocalApic::write_initial_count(u32 value) {
  if (timer_mode() == kDeadline) return;  // Ignored in this mode.
  catch_up_timer();
  s_.initial_count = value;
  s_.timer_count = value;
  s_.timer_since = clock_.now();
  s_.timer_running = value != 0;
  arm_timer();
}

void LocalApic::write_divide(u32 value) {
  catch_up_timer();
  const u32 rest = current_count();
  s_.divide = value & 0xB;
  s_.timer_count = rest;
  s_.timer_since = clock_.now();
  arm_timer();
}

void LocalApic::write_timer_lvt(u32 value) {
  catch_up_timer();
  const TimerMode before = timer_mode();
  s_.lvt[kTimer] = value;
  if ((before == kDeadline) != (timer_mode() == kDeadline)) {
    // A change between TSC-deadline and the other modes disarms the timer (SDM 3A, TSC-Deadline Mode).
    s_.timer_running = false;
    s_.tsc_deadline = 0;
  }
  arm_timer();
}

void LocalApic::write_tsc_deadline(u64 value) {
  if (timer_mode() != kDeadline || !enabled()) return;  // The write has no effect.
  s_.tsc_deadline = value;
  catch_up_timer();  // A deadline in the past is due at once.
  arm_timer();
}

void LocalApic::set_tsc_offset(u64 offset) {
  s_.tsc_offset = offset;
  catch_up_timer();
  arm_timer();
}

}  // namespace callgate
