// Guest time: what it is, an alarm that interrupts, and waiting without spinning.
#include "paravirt/port_call.h"

namespace callgate::paravirt {

using namespace abi;

namespace {

constexpr u64 kNsPerSecond = 1'000'000'000;
constexpr u64 kLatest = u64{1} << 62;  ///< alarms beyond it don't come

u64 now_of(const PortCall& call) { return call.c.platform.now(); }

/// In RBX, and where the first argument points to, for callers whose RBX is too narrow.
Answer give_time(PortCall& call, u64 value) {
  const u64 to = call.arg[0];
  if (to != 0 && !call.memory().store(to, value)) return {kFault};
  return {kOk, value};
}

}  // namespace

bool asleep(const Cpu& c, const PortCpu& p) {
  return p.sleeping && c.s.activity == Activity::Halted && c.s.retired == p.slept_at;
}

bool sleep_until(PortCall& call, u64 deadline) {
  PortCpu& p = call.own();
  Clock& clock = call.host.guest_clock();
  clock.cancel(p.wake);
  p.sleeping = false;
  if (p.kicked) {
    p.kicked = false;
    return false;
  }
  p.sleeping = true;
  p.slept_at = call.c.s.retired + 1;  // this instruction retires yet
  if (deadline < kLatest) clock.arm(p.wake, deadline);
  call.c.s.activity = Activity::Halted;
  call.c.request_attention();
  return true;
}

// An interrupt may have come first: then the processor runs, or halts for a reason of its own.
void wake(Cpu& c, PortCpu& p) {
  if (asleep(c, p)) c.s.activity = Activity::Running;
  p.sleeping = false;
}

namespace calls {

// NOW(where to store it, or 0). RDTSC may be kept from ring 3, and this is no way around.
Answer now(PortCall& call) {
  if (call.c.cpl() != 0 && (call.c.s.cr4 & kCr4Tsd)) return {kPerm};
  return give_time(call, now_of(call));
}

// WALL_CLOCK(where to store it, or 0): nanoseconds since 1970 UTC.
Answer wall_clock(PortCall& call) {
  if (call.c.cpl() != 0 && (call.c.s.cr4 & kCr4Tsd)) return {kPerm};
  return give_time(call, static_cast<u64>(call.host.epoch()) * kNsPerSecond + now_of(call));
}

// DEADLINE(time or 0 for none, vector)
Answer deadline(PortCall& call) {
  const u64 at = call.arg[0], vector = call.arg[1];
  PortCpu& p = call.own();
  if (at == 0) {
    call.host.guest_clock().cancel(p.timer);
    return {};
  }
  if (at >= kLatest) return {kInvalid, 0};
  if (vector < 16 || vector > 255) return {kInvalid, 1};
  p.timer_vector = static_cast<u8>(vector);
  call.host.guest_clock().arm(p.timer, at);
  call.c.request_attention();
  return {};
}

// SKIP(until): kAgain until it is that late.
Answer skip(PortCall& call) {
  const u64 until = call.arg[0], now = now_of(call);
  if (until >= kLatest) return {kInvalid, 0};
  if (now >= until) return {kOk, now};
  sleep_until(call, until);
  return {kAgain, now};
}

}  // namespace calls

}  // namespace callgate::paravirt
