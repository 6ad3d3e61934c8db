#include "devices/system_control_b.h"

namespace callgate {

namespace {
// PIIX3, NMISC. Bits 6 and 7 report bus and parity errors, which do not happen here.
constexpr u8 kGate2 = 0x01;
constexpr u8 kWritable = 0x0F;
constexpr u8 kRefreshToggle = 0x10;
constexpr u8 kOutput2 = 0x20;
// IBM AT: memory is refreshed every 15.085 us (18 pulses of the timer's clock); the bit toggles with each refresh.
constexpr PitTick kRefreshTicks = 18;
}  // namespace

u8 SystemControlB::read8(u64 offset) {
  if (offset != 0) return 0xFF;
  u8 value = writable_;
  if (pit_tick_at(clock_.now()) / kRefreshTicks & 1) value |= kRefreshToggle;
  if (pit_.output2()) value |= kOutput2;
  return value;
}

void SystemControlB::write8(u64 offset, u8 value) {
  if (offset != 0) return;
  writable_ = value & kWritable;
  pit_.set_gate2(value & kGate2);
}

void SystemControlB::reset() {
  writable_ = 0;
  pit_.set_gate2(false);
}

void SystemControlB::sync(StateIo& io) {
  io.section("system_control_b");
  io.field(writable_);
  if (io.loading()) writable_ &= kWritable;
}

}  // namespace callgate
