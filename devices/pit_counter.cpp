#include "devices/pit_counter.h"

#include <algorithm>

namespace callgate {

namespace {

constexpr u32 kBinaryRange = 0x10000;
constexpr u32 kBcdRange = 10000;

constexpr u16 to_bcd(u32 v) {
  return static_cast<u16>(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

}  // namespace

u32 PitCounter::parse(u16 value) const {
  if (!state_.bcd) return value == 0 ? kBinaryRange : value;
  // Digits above nine are the guest's mistake; they count for what they weigh.
  const u32 v = (value >> 12) * 1000u + (value >> 8 & 15) * 100u + (value >> 4 & 15) * 10u + (value & 15);
  return v == 0 ? kBcdRange : v;
}

// Brings a count that waited for the end of a period (mode 2) or half-period (mode 3) into force.
void PitCounter::settle(PitTick now) {
  State& s = state_;
  if (!s.waiting || now < s.switch_tick) return;
  const bool to_low = s.mode == 3 && s.switch_tick - s.start != s.count;
  s.count = s.reload;
  s.start = to_low ? s.switch_tick - high_half(s.count) : s.switch_tick;
  s.waiting = false;
}

// The counting element takes the count with the next pulse.
void PitCounter::load(u32 count, PitTick now) {
  State& s = state_;
  s.count = count;
  s.start = now + 1;
  s.counting = true;
  s.waiting = false;
  s.null_count = false;
}

void PitCounter::control(u8 access, u8 mode, bool bcd, PitTick) {
  State& s = state_;
  const bool gate = s.gate;
  s = State{};
  s.gate = gate;
  s.access = access;
  s.mode = mode > 5 ? mode & 3 : mode;  // 6 and 7 are 2 and 3
  s.bcd = bcd;
}

void PitCounter::write(u8 value, PitTick now) {
  State& s = state_;
  settle(now);
  u16 written = 0;
  switch (s.access) {
    case 1:
      written = value;
      break;
    case 2:
      written = static_cast<u16>(value << 8);
      break;
    default:
      if (!s.write_high) {
        s.low_byte = value;
        s.write_high = true;
        if (s.mode == 0) s.counting = false;  // "writing the first byte disables counting; OUT is set low immediately"
        return;
      }
      written = static_cast<u16>(value << 8 | s.low_byte);
      s.write_high = false;
  }
  s.reload = parse(written);
  s.null_count = true;
  switch (s.mode) {
    case 1:
    case 5:  // waits for a trigger
      break;
    case 2:
    case 3:
      if (!s.counting || s.paused || now < s.start) {
        load(s.reload, now);
        s.paused = !s.gate;
      } else {
        s.start += (now - s.start) / s.count * s.count;
        const u32 high = high_half(s.count);
        const bool in_high_half = s.mode == 3 && now - s.start < high && s.count > 1;
        s.switch_tick = s.start + (in_high_half ? high : s.count);
        s.waiting = true;
        s.null_count = false;  // status() reports `waiting` itself
      }
      break;
    default:  // 0 and 4
      load(s.reload, now);
      s.paused = !s.gate;
      s.elapsed = 0;
  }
}

void PitCounter::set_gate(bool level, PitTick now) {
  State& s = state_;
  if (level == s.gate) return;
  settle(now);
  const bool was_low = s.mode == 1 && !output(now);
  s.gate = level;
  switch (s.mode) {
    case 1:
    case 5:
      if (level && s.reload != 0) {
        load(s.reload, now);
        s.stays_low = was_low;
      }
      break;
    case 2:
    case 3:
      if (!s.counting) break;
      if (level) load(s.reload, now);
      s.paused = !level;
      break;
    default:  // 0 and 4
      if (!s.counting) break;
      if (level)
        s.start = now - s.elapsed;
      else
        s.elapsed = std::max<PitTick>(now - s.start, 0);
      s.paused = !level;
  }
}

bool PitCounter::output(PitTick now) {
  settle(now);
  const State& s = state_;
  if (!s.counting) return s.mode != 0;
  const PitTick at = elapsed(now);
  switch (s.mode) {
    case 0:
      return at >= s.count;
    case 1:
      return at >= s.count || (at < 0 && !s.stays_low);
    case 2:
      return s.paused || at < 0 || s.count == 1 || at % s.count != s.count - 1;
    case 3:
      return s.paused || at < 0 || s.count == 1 || at % s.count < high_half(s.count);
    default:
      return s.paused || at != s.count;
  }
}

PitTick PitCounter::next_change(PitTick now) {
  settle(now);
  const State& s = state_;
  if (!s.counting || s.paused) return kNoTick;
  const PitTick at = std::max<PitTick>(now - s.start, 0);
  const PitTick end = s.start + s.count;
  switch (s.mode) {
    case 0:
      return now < end ? end : kNoTick;
    case 1:
      return now < s.start ? s.start : now < end ? end : kNoTick;
    case 2:
    case 3: {
      // A count of one is illegal in these modes: OUT stays high. A waiting count may yet end that.
      if (s.count == 1) return s.waiting ? s.switch_tick : kNoTick;
      const PitTick period = s.start + at / s.count * s.count;
      if (s.mode == 3 && at % s.count < high_half(s.count)) return period + high_half(s.count);
      return period + s.count;
    }
    default:
      return now <= end ? end + 1 : kNoTick;
  }
}

// What the counting element shows.
u16 PitCounter::element(PitTick now) {
  settle(now);
  const State& s = state_;
  const PitTick at = std::max<PitTick>(elapsed(now), 0);
  const u32 range = s.bcd ? kBcdRange : kBinaryRange;
  u32 value = s.count;
  if (s.counting && s.mode == 2) {
    if (!s.paused) value = static_cast<u32>(s.count - at % s.count);
  } else if (s.counting && s.mode == 3) {
    // Counts by two, through each half; an odd count is made even when it is loaded.
    const u32 phase = s.paused ? 0 : static_cast<u32>(at % s.count);
    const u32 high = high_half(s.count);
    value = (s.count & ~1u) - 2 * (phase < high ? phase : phase - high);
  } else if (s.counting) {
    value = static_cast<u32>((s.count + range - at % range) % range);  // goes on counting below zero
  }
  return s.bcd ? to_bcd(value % kBcdRange) : static_cast<u16>(value);
}

void PitCounter::latch_count(PitTick now) {
  if (state_.latched)
    return;  // "if a counter is latched and then, some time later, latched again before it is read,
             // the second latch command is ignored"
  state_.latch = element(now);
  state_.latched = true;
}

void PitCounter::latch_status(PitTick now) {
  State& s = state_;
  if (s.status_latched) return;
  const bool null = s.null_count || s.waiting || (s.counting && !s.paused && now < s.start);
  s.status = static_cast<u8>(output(now) << 7 | null << 6 | s.access << 4 | s.mode << 1 | int{s.bcd});
  s.status_latched = true;
}

u8 PitCounter::read(PitTick now) {
  State& s = state_;
  if (s.status_latched) {
    s.status_latched = false;
    return s.status;
  }
  const u16 value = s.latched ? s.latch : element(now);
  bool high = s.access == 2;
  bool last = true;
  if (s.access == 3) {
    high = s.read_high;
    last = s.read_high;
    s.read_high = !s.read_high;
  }
  if (last) s.latched = false;
  return static_cast<u8>(high ? value >> 8 : value);
}

void PitCounter::sync(StateIo& io) {
  State& s = state_;
  io.fields(s.mode, s.access, s.low_byte, s.status, s.latch, s.reload, s.count, s.start, s.elapsed, s.switch_tick);
  io.fields(s.bcd, s.gate, s.counting, s.paused, s.waiting, s.null_count, s.stays_low, s.write_high, s.read_high,
            s.latched, s.status_latched);
  if (!io.loading()) return;
  // 2^53 pulses are 239 years; their nanoseconds still fit into 64 bits.
  const auto in_range = [](PitTick t) { return t > -(PitTick{1} << 53) && t < PitTick{1} << 53; };
  const bool period_ok = s.count >= 1 && s.count <= kBinaryRange && s.reload <= kBinaryRange;
  const bool modes_ok = s.mode <= 5 && s.access >= 1 && s.access <= 3;
  const bool reload_ok = s.reload != 0 || !(s.counting || s.waiting);
  if (!period_ok || !modes_ok || !reload_ok || !in_range(s.start) || !in_range(s.elapsed) || !in_range(s.switch_tick)) {
    io.damaged("8254: a counter's state makes no sense");
    s = State{};
  }
}

}  // namespace callgate
