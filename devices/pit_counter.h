// One counter of the 8254: its six modes as arithmetic on the number of the current clock pulse. Nothing ticks: a
// counter that nobody asks costs nothing. Knows neither guest time nor interrupt lines.
// Ref: Intel "8254 Programmable Interval Timer" (231164).
#pragma once

#include "base/state_io.h"
#include "base/types.h"

namespace callgate {

/// Numbers of CLK pulses since power-on; signed, for a start may be reckoned from before it.
using PitTick = i64;
constexpr PitTick kNoTick = PitTick{1} << 62;

class PitCounter {
 public:
  struct State {
    u8 mode = 3;              ///< 0 to 5
    u8 access = 3;            ///< 1 = low byte, 2 = high byte, 3 = low then high
    u8 low_byte = 0;          ///< the first of two bytes written
    u8 status = 0;            ///< latched by read-back
    u16 latch = 0;            ///< latched by the latch command or read-back
    u32 reload = 0;           ///< the count register, in pulses; 0 = not written since the control word
    u32 count = 1;            ///< what the counting element was loaded with, in pulses
    PitTick start = 0;        ///< the pulse that loaded (or would have loaded) `count`
    PitTick elapsed = 0;      ///< while paused: pulses counted so far
    PitTick switch_tick = 0;  ///< while a new count waits in modes 2 and 3: the pulse that loads it
    bool bcd = false;
    bool gate = true;
    bool counting = false;    ///< loaded (modes 0, 2, 3, 4) or triggered (modes 1, 5)
    bool paused = false;      ///< stopped by the gate
    bool waiting = false;     ///< modes 2 and 3: `reload` replaces `count` at switch_tick
    bool null_count = true;   ///< the count register was not loaded into the counting element yet
    bool stays_low = false;   ///< mode 1: retriggered while OUT was low
    bool write_high = false;  ///< the next write is the second byte
    bool read_high = false;   ///< the next read is the second byte
    bool latched = false;
    bool status_latched = false;
  };

  void control(u8 access, u8 mode, bool bcd, PitTick now);
  void write(u8 value, PitTick now);
  u8 read(PitTick now);
  void latch_count(PitTick now);
  void latch_status(PitTick now);
  void set_gate(bool level, PitTick now);
  bool gate() const { return state_.gate; }

  /// The level of OUT.
  bool output(PitTick now);
  /// True in the modes whose OUT is high but for a low of one pulse (2, 4 and 5).
  bool strobes() const { return state_.mode == 2 || state_.mode >= 4; }
  /// The next pulse after `now` at which OUT changes, a strobe counting as one change at its end; kNoTick if none
  /// comes.
  PitTick next_change(PitTick now);

  void sync(StateIo& io);
  const State& state() const { return state_; }

 private:
  void settle(PitTick now);
  void load(u32 count, PitTick now);
  u32 parse(u16 value) const;
  u16 element(PitTick now);
  PitTick elapsed(PitTick now) const { return state_.paused ? state_.elapsed : now - state_.start; }
  static u32 high_half(u32 count) { return (count + 1) / 2; }

  State state_;
};

}  // namespace callgate
