// The PC's interval timer: three counters at 1.193182 MHz, computed from guest nanoseconds without drift.
// Never reads host time. Counter 0 drives an interrupt line; counter 2's gate and output belong to port 0x61.
// Ref: Intel "8254 Programmable Interval Timer" (231164).
#pragma once

#include <array>

#include "base/seam.h"
#include "devices/byte_registers.h"
#include "devices/pit_counter.h"

namespace callgate {

constexpr u64 kPitHz = 1193182;

/// The number of CLK pulses up to and including guest time `ns`.
constexpr PitTick pit_tick_at(u64 ns) { return static_cast<PitTick>(u128{ns} * kPitHz / 1'000'000'000); }
/// The first nanosecond at which `pit_tick_at` gives `tick` (which is not negative).
constexpr u64 pit_tick_time(PitTick tick) {
  return static_cast<u64>((static_cast<u128>(tick) * 1'000'000'000 + kPitHz - 1) / kPitHz);
}

class Pit8254 final : public ByteRegisters {
 public:
  /// `irq` is counter 0's OUT, which a PC wires to interrupt input 0.
  Pit8254(Clock& clock, IrqLine& irq);
  ~Pit8254() override { clock_.cancel(timer_); }

  /// Counter 2's gate, from port 0x61. (The gates of 0 and 1 are tied high.)
  void set_gate2(bool level) { counters_[2].set_gate(level, tick()); }
  bool gate2() const { return counters_[2].gate(); }
  /// Counter 2's OUT, for the speaker and port 0x61. Looking changes nothing: a copy is asked.
  bool output2() const {
    PitCounter seen = counters_[2];
    return seen.output(tick());
  }

  Timer& timer() { return timer_; }
  void reset();
  void sync(StateIo& io);

 private:
  u8 read8(u64 offset) override;
  void write8(u64 offset, u8 value) override;
  PitTick tick() const { return pit_tick_at(clock_.now()); }
  void read_back(u8 command);
  void drive_irq();
  void on_timer();

  Clock& clock_;
  IrqLine& irq_;
  Timer timer_;
  std::array<PitCounter, 3> counters_;
  bool irq_level_ = true;  ///< OUT is high in the modes that a PC's counter 0 runs in
};

}  // namespace callgate
