#include "devices/rtc_cmos.h"

#include <algorithm>

#include "base/verify.h"
#include "devices/civil_time.h"
#include "devices/timer_state.h"

namespace callgate {

namespace {

// MC146818A, Figure 12: Address Map.
enum Cell : u8 {
  kSeconds,
  kSecondsAlarm,
  kMinutes,
  kMinutesAlarm,
  kHours,
  kHoursAlarm,
  kWeekday,
  kDay,
  kMonth,
  kYear,
  kControlA,
  kControlB,
  kFlagsC,
  kValidD,
  kFirstRam
};

constexpr u8 kAUpdating = 0x80;
constexpr u8 kADividerHeld = 0x60;
constexpr u8 kARate = 0x0F;
constexpr u8 kBSet = 0x80;
constexpr u8 kBPeriodic = 0x40;
constexpr u8 kBAlarm = 0x20;
constexpr u8 kBUpdate = 0x10;
constexpr u8 kBSquareWave = 0x08;
constexpr u8 kBBinary = 0x04;
constexpr u8 kB24Hours = 0x02;
constexpr u8 kInterrupts = kBPeriodic | kBAlarm | kBUpdate;  // the same bits are the flags in C
constexpr u8 kCRequest = 0x80;
constexpr u8 kDValid = 0x80;
constexpr u8 kAfternoon = 0x80;
constexpr u8 kAlarmAny = 0xC0;

constexpr i64 kNsPerSecond = 1'000'000'000;
constexpr i64 kPulsesPerSecond = 32768;
constexpr i64 kUpdateWarning = 244'000;  // MC146818A: UIP is set 244 us before an update
constexpr i64 kSecondsPerDay = 86400;

bool is_time_cell(u8 index) {
  return index == kSeconds || index == kMinutes || index == kHours || (index >= kWeekday && index <= kYear) ||
         index == cmos::kCentury;
}

// The first guest ns at which `pulses` have passed since `origin`.
i64 time_of_pulse(i64 origin, i64 pulses) {
  const i64 whole = floor_div(pulses, kPulsesPerSecond);
  const i64 rest = pulses - whole * kPulsesPerSecond;
  return origin + whole * kNsPerSecond + (rest * kNsPerSecond + kPulsesPerSecond - 1) / kPulsesPerSecond;
}

}  // namespace

RtcCmos::RtcCmos(Clock& clock, IrqLine& irq, i64 start_seconds) : clock_(clock), irq_(irq) {
  timer_.fire = [this] {
    note_events();
    update_irq();
  };
  State& s = state_;
  // Years 0 to 9999 are all that the registers can tell.
  s.base = std::clamp<i64>(start_seconds, days_from_civil(0, 1, 1) * kSecondsPerDay,
                           days_from_civil(10000, 1, 1) * kSecondsPerDay - 1);
  s.cells[kControlA] = 0x26;  // 32768 Hz, periodic rate 1024 Hz: as firmware leaves it
  s.cells[kControlB] = kB24Hours;
  s.cells[kValidD] = kDValid;
}

void RtcCmos::set_cell(u8 index, u8 value) {
  VERIFY(index >= kFirstRam && index != cmos::kCentury, "this cell belongs to the clock");
  state_.cells[index] = value;
}

void RtcCmos::describe_memory(u64 below_4g, u64 above_4g) {
  const auto store = [this](u8 index, unsigned bytes, u64 value) {
    for (unsigned i = 0; i < bytes; ++i) set_cell(static_cast<u8>(index + i), static_cast<u8>(value >> (8 * i)));
  };
  constexpr u64 kMiB = 1 << 20;
  const auto above = [below_4g](u64 start) { return below_4g > start ? below_4g - start : 0; };
  const u64 extended_kib = std::min<u64>(above(kMiB) >> 10, 0xFFFF);
  store(cmos::kBaseMemory, 2, std::min<u64>(below_4g >> 10, 640));
  store(cmos::kExtendedMemory, 2, extended_kib);
  store(cmos::kExtendedMemoryAgain, 2, extended_kib);
  store(cmos::kMemoryAbove16M, 2, std::min<u64>(above(16 * kMiB) >> 16, 0xFFFF));
  store(cmos::kMemoryAbove4G, 3, std::min<u64>(above_4g >> 16, 0xFFFFFF));
}

// The clock's arithmetic ------------------------------------------------------------------------------------------

bool RtcCmos::divider_held() const { return (state_.cells[kControlA] & kADividerHeld) == kADividerHeld; }
bool RtcCmos::running() const { return !divider_held() && !(state_.cells[kControlB] & kBSet); }

i64 RtcCmos::seconds_since_origin() const { return floor_div(since_origin(), kNsPerSecond); }

i64 RtcCmos::pulses_since_origin() const {
  const i64 seconds = seconds_since_origin();
  const i64 rest = since_origin() - seconds * kNsPerSecond;
  return seconds * kPulsesPerSecond + rest * kPulsesPerSecond / kNsPerSecond;
}

// The periodic interrupt's period in pulses, 0 for none. MC146818A, Table 5.
i64 RtcCmos::periodic_pulses() const {
  const unsigned rate = state_.cells[kControlA] & kARate;
  if (rate == 0) return 0;
  return i64{1} << (rate < 3 ? rate + 6 : rate - 1);
}

u8 RtcCmos::encode(unsigned value) const {
  if (state_.cells[kControlB] & kBBinary) return static_cast<u8>(value);
  return static_cast<u8>(value / 10 % 10 << 4 | value % 10);
}

unsigned RtcCmos::decode(u8 value) const {
  if (state_.cells[kControlB] & kBBinary) return value;
  return (value >> 4) * 10u + (value & 15);
}

u8 RtcCmos::encode_hour(unsigned hour) const {
  if (state_.cells[kControlB] & kB24Hours) return encode(hour);
  const u8 twelve = encode(hour % 12 == 0 ? 12 : hour % 12);
  return hour >= 12 ? twelve | kAfternoon : twelve;
}

unsigned RtcCmos::decode_hour(u8 value) const {
  if (state_.cells[kControlB] & kB24Hours) return decode(value);
  return decode(value & 0x7F) % 12 + (value & kAfternoon ? 12 : 0);
}

// Brings the time cells up to date.
void RtcCmos::show_time() {
  if (!running()) return;
  State& s = state_;
  const i64 time = s.base + seconds_since_origin();
  const i64 days = floor_div(time, kSecondsPerDay);
  const unsigned second = static_cast<unsigned>(time - days * kSecondsPerDay);
  const CivilDate date = civil_from_days(days);
  s.cells[kSeconds] = encode(second % 60);
  s.cells[kMinutes] = encode(second / 60 % 60);
  s.cells[kHours] = encode_hour(second / 3600);
  s.cells[kWeekday] = encode((weekday_from_days(days) + s.weekday_shift) % 7 + 1);
  s.cells[kDay] = encode(date.day);
  s.cells[kMonth] = encode(date.month);
  s.cells[kYear] = encode(static_cast<unsigned>(floor_mod(date.year, 100)));
  s.cells[cmos::kCentury] = encode(static_cast<unsigned>(floor_mod(floor_div(date.year, 100), 100)));
}

// Makes the cells' reading the clock's. Values out of range count for what they weigh: a 31st of April is the 1st of
// May.
void RtcCmos::take_time() {
  State& s = state_;
  const i64 year = decode(s.cells[cmos::kCentury]) * i64{100} + decode(s.cells[kYear]);
  const unsigned month = std::clamp(decode(s.cells[kMonth]), 1u, 12u);
  const i64 days = days_from_civil(year, month, decode(s.cells[kDay]));
  const i64 time = days * kSecondsPerDay + decode_hour(s.cells[kHours]) * i64{3600} +
                   decode(s.cells[kMinutes]) * i64{60} + decode(s.cells[kSeconds]);
  s.base = time - seconds_since_origin();
  const unsigned calendar = weekday_from_days(floor_div(time, kSecondsPerDay));
  s.weekday_shift = static_cast<u8>((decode(s.cells[kWeekday]) + 6 + 7 - calendar) % 7);
}

// The first second after `after` that the alarm cells match; none when they hold no valid time.
std::optional<i64> RtcCmos::next_alarm(i64 after) const {
  const auto matches = [](u8 alarm, u8 cell) { return (alarm & kAlarmAny) == kAlarmAny || alarm == cell; };
  const u8* cells = state_.cells;
  const i64 start = after + 1;
  const i64 days = floor_div(start, kSecondsPerDay);
  const i64 of_day = start - days * kSecondsPerDay;
  i64 minute_from = of_day / 60 % 60;
  i64 second_from = of_day % 60;
  // A day's hours, and the first one again for what lies before `start` in it.
  for (i64 hour = of_day / 3600, i = 0; i <= 24; ++hour, ++i) {
    if (matches(cells[kHoursAlarm], encode_hour(static_cast<unsigned>(hour % 24)))) {
      for (i64 minute = minute_from; minute < 60; ++minute) {
        if (matches(cells[kMinutesAlarm], encode(static_cast<unsigned>(minute)))) {
          for (i64 second = second_from; second < 60; ++second)
            if (matches(cells[kSecondsAlarm], encode(static_cast<unsigned>(second))))
              return days * kSecondsPerDay + hour * 3600 + minute * 60 + second;
        }
        second_from = 0;
      }
    }
    minute_from = second_from = 0;
  }
  return std::nullopt;
}

// Interrupts ------------------------------------------------------------------------------------------------------

// Sets the flags of what has happened since they were last looked after.
void RtcCmos::note_events() {
  State& s = state_;
  if (divider_held()) return;
  const i64 pulses = pulses_since_origin();
  if (const i64 period = periodic_pulses(); period != 0 && floor_div(pulses, period) > floor_div(s.seen_pulses, period))
    s.cells[kFlagsC] |= kBPeriodic;
  s.seen_pulses = pulses;
  const i64 seconds = seconds_since_origin();
  if (running() && seconds > s.seen_seconds) {
    s.cells[kFlagsC] |= kBUpdate;
    const auto alarm = next_alarm(s.base + s.seen_seconds);
    if (alarm && *alarm <= s.base + seconds) s.cells[kFlagsC] |= kBAlarm;
  }
  s.seen_seconds = seconds;
}

// Drives the line, and waits for the next event that would raise it.
void RtcCmos::update_irq() {
  const State& s = state_;
  const u8 enabled = s.cells[kControlB] & kInterrupts;
  irq_.set(enabled & s.cells[kFlagsC]);
  const u8 awaited = enabled & ~s.cells[kFlagsC];
  i64 next = -1;
  const auto consider = [&next](i64 time) { next = next < 0 ? time : std::min(next, time); };
  if (!divider_held() && !(enabled & s.cells[kFlagsC])) {
    if (const i64 period = periodic_pulses(); (awaited & kBPeriodic) && period != 0)
      consider(time_of_pulse(s.origin, (floor_div(s.seen_pulses, period) + 1) * period));
    if (running() && (awaited & kBUpdate)) consider(s.origin + (s.seen_seconds + 1) * kNsPerSecond);
    if (running() && (awaited & kBAlarm)) {
      if (const auto alarm = next_alarm(s.base + s.seen_seconds)) consider(s.origin + (*alarm - s.base) * kNsPerSecond);
    }
  }
  if (next < 0)
    clock_.cancel(timer_);
  else
    clock_.arm(timer_, static_cast<u64>(next));
}

// Registers -------------------------------------------------------------------------------------------------------

u8 RtcCmos::read_flags() {
  note_events();
  State& s = state_;
  u8 flags = s.cells[kFlagsC];
  if (flags & s.cells[kControlB] & kInterrupts) flags |= kCRequest;
  s.cells[kFlagsC] = 0;
  update_irq();
  return flags;
}

u8 RtcCmos::read_cell(u8 index) {
  if (index == kFlagsC) return read_flags();
  if (index == kControlA) {
    const i64 of_second = floor_mod(since_origin(), kNsPerSecond);
    const bool updating = running() && of_second >= kNsPerSecond - kUpdateWarning;
    return state_.cells[kControlA] | (updating ? kAUpdating : u8{0});
  }
  if (is_time_cell(index)) show_time();
  return state_.cells[index];
}

void RtcCmos::write_control_a(u8 value) {
  State& s = state_;
  note_events();
  show_time();
  const bool was_held = divider_held();
  s.cells[kControlA] = value & ~kAUpdating;
  if (was_held && !divider_held()) {
    // "When the divider is changed from reset to an operating time base, the first update cycle is one-half second
    // later."
    s.origin = static_cast<i64>(clock_.now()) - kNsPerSecond / 2;
    s.seen_seconds = 0;
    s.seen_pulses = pulses_since_origin();
    if (running()) take_time();
  }
}

void RtcCmos::write_control_b(u8 value) {
  State& s = state_;
  note_events();
  show_time();
  const bool was_running = running();
  if (value & kBSet) value &= ~kBUpdate;  // "the SET bit going high clears the UIE bit"
  s.cells[kControlB] = value;
  if (!was_running && running()) take_time();
}

void RtcCmos::write_cell(u8 index, u8 value) {
  State& s = state_;
  switch (index) {
    case kControlA:
      write_control_a(value);
      break;
    case kControlB:
      write_control_b(value);
      break;
    case kFlagsC:
    case kValidD:  // read-only
      return;
    default:
      if (is_time_cell(index)) {
        note_events();
        show_time();
        s.cells[index] = value;
        if (running()) take_time();
      } else if (index < kControlA) {
        note_events();
        s.cells[index] = value;
      } else {
        s.cells[index] = value;
        return;
      }
  }
  update_irq();
}

u8 RtcCmos::read8(u64 offset) {
  switch (offset) {
    case 1:
      return read_cell(state_.index);
    case 3:
      return read_cell(state_.extended_index);
    default:
      return 0xFF;  // the indices are write-only
  }
}

void RtcCmos::write8(u64 offset, u8 value) {
  switch (offset) {
    case 0:
      state_.index = value & 0x7F;  // bit 7 masks NMI, of which the board has no source
      break;
    case 1:
      write_cell(state_.index, value);
      break;
    case 2:
      state_.extended_index = value | 0x80;
      break;
    case 3:
      write_cell(state_.extended_index, value);
      break;
    default:
      break;
  }
}

void RtcCmos::reset() {
  note_events();
  state_.cells[kControlB] &= static_cast<u8>(~(kInterrupts | kBSquareWave));
  state_.cells[kFlagsC] = 0;
  state_.index = 0;
  state_.extended_index = 0x80;
  update_irq();
}

void RtcCmos::sync(StateIo& io) {
  io.section("rtc_cmos");
  State& s = state_;
  io.fields(s.cells, s.index, s.extended_index, s.weekday_shift, s.origin, s.base, s.seen_pulses, s.seen_seconds);
  io.limit(s.weekday_shift, u8{6}, "RTC: a week has seven days");
  if (io.loading()) {
    // Bounds that keep all sums far from overflow: 2^62 ns of guest time, some ten thousand years of calendar.
    const auto within = [](i64 v, i64 bound) { return v >= -bound && v <= bound; };
    const bool sane = within(s.origin, i64{1} << 62) && within(s.base, i64{1} << 42) &&
                      within(s.seen_seconds, i64{1} << 33) && within(s.seen_pulses, i64{1} << 48);
    if (!sane) {
      io.damaged("RTC: its time makes no sense");
      s.origin = s.base = s.seen_seconds = s.seen_pulses = 0;
    }
    s.index &= 0x7F;
    s.extended_index |= 0x80;
  }
  sync_timer(io, clock_, timer_);
}

}  // namespace callgate
