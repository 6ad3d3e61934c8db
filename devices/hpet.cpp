#include "devices/hpet.h"

#include "base/bits.h"

namespace callgate {
namespace {

// HPET 1.0a, 2.3 Memory Map and Register Definitions.
constexpr u64 kCapabilities = 0x000, kConfig = 0x010, kStatus = 0x020, kCounter = 0x0F0, kFirstTimer = 0x100,
              kTimerStride = 0x20, kTimerConfig = 0x00, kTimerComparator = 0x08;
constexpr u64 kFemtosecondsPerTick = kHpetTickNs * 1'000'000;

// HPET 1.0a, 2.3.8 Timer N Configuration and Capabilities Register.
constexpr u64 kLevel = 1u << 1, kEnable = 1u << 2, kPeriodic = 1u << 3, kValueSet = 1u << 6, kMode32 = 1u << 8;
constexpr u64 kCanBePeriodic = 1u << 4, kIs64Bit = 1u << 5;
constexpr u64 kTimerWritable = kLevel | kEnable | kPeriodic | kValueSet | kMode32 | 0x3E00;
constexpr unsigned kFirstRoute = 20;
constexpr u64 kRoutes = u64{0x00F0'0000} << 32;  // I/O APIC inputs 20 to 23

unsigned route_of(u64 config) { return static_cast<unsigned>(bits(config, 13, 9)); }

}  // namespace

Hpet::Hpet(Clock& clock, const std::array<IrqLine*, 4>& io_apic, IrqLine& irq0, IrqLine& irq8, Log& log)
    : clock_(clock), io_apic_(io_apic), irq0_(irq0), irq8_(irq8), log_(log) {
  for (Timer& alarm : alarm_)
    alarm.fire = [this] {
      catch_up();
      arm();
      drive();
    };
  reset();
}

Hpet::~Hpet() {
  for (Timer& alarm : alarm_) clock_.cancel(alarm);
}

void Hpet::set_timer_order(u32 first) {
  for (unsigned n = 0; n < kTimers; ++n) alarm_[n].order = first + n;
}

void Hpet::reset() {
  State fresh;
  fresh.legacy_level[0] = s_.legacy_level[0];
  fresh.legacy_level[1] = s_.legacy_level[1];
  for (Comparator& t : fresh.timer) t.comparator = ~u64{0};
  s_ = fresh;
  arm();
  drive();
}

void Hpet::LegacyInput::set(bool level) {
  owner_.s_.legacy_level[n_] = level;
  owner_.drive();
}

u64 Hpet::counter() const {
  if (!running()) return s_.counter;
  const u64 now = clock_.now();
  return s_.counter + (now > s_.counter_since ? (now - s_.counter_since) / kHpetTickNs : 0);
}

u64 Hpet::width_mask(unsigned n) const { return s_.timer[n].config & kMode32 ? 0xFFFF'FFFF : ~u64{0}; }

/// Ticks from what was looked at to the next match; 0 means a whole turn of the counter.
u64 Hpet::distance(unsigned n) const {
  const Comparator& t = s_.timer[n];
  return (t.comparator - t.checked) & width_mask(n);
}

/// Handles every match up to now with the settings of now; to be called before a setting changes. True if there was
/// one: then the alarms and wires have to follow.
bool Hpet::catch_up() {
  if (!running()) return false;
  bool matched = false;
  const u64 now = counter();
  for (unsigned n = 0; n < kTimers; ++n) {
    Comparator& t = s_.timer[n];
    const u64 passed = now - t.checked;
    if (static_cast<i64>(passed) <= 0) continue;  // Another processor of the same slice is a little behind.
    const u64 mask = width_mask(n);
    const u64 wait = distance(n);
    const bool whole_turn = wait == 0;
    t.checked = now;
    if (whole_turn ? mask == ~u64{0} || passed <= mask : passed < wait) continue;
    if ((t.config & kPeriodic) && t.period != 0) {
      const u64 after = whole_turn ? passed - mask - 1 : passed - wait;
      t.comparator = (t.comparator + (after / t.period + 1) * t.period) & mask;
    }
    match(n);
    matched = true;
  }
  return matched;
}

/// Several matches that went by at once are one interrupt.
void Hpet::match(unsigned n) {
  Comparator& t = s_.timer[n];
  if (t.config & kLevel) {
    s_.status |= u64{1} << n;
  } else if (t.config & kEnable) {
    t.high = false;
    drive();
    t.high = true;
  }
}

void Hpet::arm() {
  for (unsigned n = 0; n < kTimers; ++n) {
    const Comparator& t = s_.timer[n];
    // Without the enable bit a match changes the status of a level-triggered timer only: found when it is read.
    if (!running() || !(t.config & kEnable)) {
      clock_.cancel(alarm_[n]);
      continue;
    }
    u64 wait = distance(n);
    if (wait == 0) wait = width_mask(n) == ~u64{0} ? kNever : u64{1} << 32;
    const u128 ticks = u128{t.checked - s_.counter} + wait;
    const u128 when = ticks * kHpetTickNs + s_.counter_since;
    if (wait == kNever || when >= kNever)
      clock_.cancel(alarm_[n]);
    else
      clock_.arm(alarm_[n], static_cast<u64>(when));
  }
}

/// Brings the wires in line with the state.
void Hpet::drive() {
  u8 wanted = 0;
  for (unsigned n = 0; n < kTimers; ++n) {
    const Comparator& t = s_.timer[n];
    const bool up = running() && (t.config & kEnable) && (t.config & kLevel ? bit(s_.status, n) : t.high);
    if (!up) continue;
    if (legacy_wire(n))
      wanted |= static_cast<u8>(0x10 << n);
    else if (const unsigned route = route_of(t.config); route >= kFirstRoute && route < kFirstRoute + 4)
      wanted |= static_cast<u8>(1u << (route - kFirstRoute));
  }
  if (!legacy()) wanted |= static_cast<u8>(s_.legacy_level[0] << 4 | s_.legacy_level[1] << 5);
  const u8 changed = wanted ^ driven_;
  driven_ = wanted;
  for (unsigned i = 0; i < 4; ++i)
    if (bit(changed, i) && io_apic_[i]) io_apic_[i]->set(bit(wanted, i));
  if (bit(changed, 4)) irq0_.set(bit(wanted, 4));
  if (bit(changed, 5)) irq8_.set(bit(wanted, 5));
}

u64 Hpet::read_register(u64 reg) const {
  switch (reg) {
    case kCapabilities:
      return kFemtosecondsPerTick << 32 | kHpetId;
    case kConfig:
      return s_.config;
    case kStatus:
      return s_.status;
    case kCounter:
      return counter();
    default:
      break;
  }
  if (reg < kFirstTimer || reg >= kFirstTimer + kTimers * kTimerStride) return 0;
  const unsigned n = static_cast<unsigned>((reg - kFirstTimer) / kTimerStride);
  switch (reg % kTimerStride) {
    case kTimerConfig:
      return s_.timer[n].config | kCanBePeriodic | kIs64Bit | kRoutes;
    case kTimerComparator:
      return s_.timer[n].comparator;
    default:
      return 0;  // No FSB (message) interrupts.
  }
}

u64 Hpet::read(u64 offset, unsigned size) {
  if (catch_up()) {
    arm();
    drive();
  }
  if (offset >= 0x400) return low_mask(size * 8);
  return (read_register(offset & ~u64{7}) >> (8 * (offset & 7))) & low_mask(size * 8);
}

void Hpet::write(u64 offset, unsigned size, u64 value) {
  if (size < 4 || offset % size != 0 || offset >= 0x400) {
    log_.line(LogChannel::Devices, "hpet: write of {} bytes at {:#x} ignored", size, offset);
    return;
  }
  catch_up();
  const u64 reg = offset & ~u64{7};
  const unsigned shift = 8 * (offset & 7);
  const u64 written = low_mask(size * 8) << shift;
  write_register(reg, (value << shift) & written, written);
  arm();
  drive();
}

/// `written` has the bits that this access covers; the others keep their value.
void Hpet::write_register(u64 reg, u64 value, u64 written) {
  const auto merge = [&](u64 old) { return (old & ~written) | value; };
  switch (reg) {
    case kConfig:
      return write_config(merge(s_.config));
    case kStatus:
      s_.status &= ~value;
      return;
    case kCounter:
      return write_counter(merge(counter()));
    default:
      break;
  }
  if (reg < kFirstTimer || reg >= kFirstTimer + kTimers * kTimerStride) return;
  const unsigned n = static_cast<unsigned>((reg - kFirstTimer) / kTimerStride);
  Comparator& t = s_.timer[n];
  if (reg % kTimerStride == kTimerConfig) return write_timer_config(n, merge(t.config));
  if (reg % kTimerStride != kTimerComparator) return;

  // A periodic timer's write sets the period; the next match too only after VAL_SET, which this write clears.
  const u64 mask = width_mask(n);
  const bool periodic = t.config & kPeriodic;
  if (periodic) t.period = merge(t.period) & mask;
  if (!periodic || (t.config & kValueSet)) {
    t.comparator = merge(t.comparator) & mask;
    t.checked = counter() - 1;  // Equal to the counter right now is a match.
  }
  t.config &= ~kValueSet;
  catch_up();
}

void Hpet::write_config(u64 value) {
  const bool was_running = running();
  const u64 count = counter();
  s_.config = value & 3;
  if (was_running == running()) return;
  s_.counter = count;
  s_.counter_since = clock_.now();
  for (Comparator& t : s_.timer) t.checked = count;
}

void Hpet::write_counter(u64 value) {
  s_.counter = value;
  s_.counter_since = clock_.now();
  for (Comparator& t : s_.timer) t.checked = value;
}

void Hpet::write_timer_config(unsigned n, u64 value) {
  Comparator& t = s_.timer[n];
  const u64 before = t.config;
  t.config = value & kTimerWritable;
  if (t.config & kMode32) {
    t.comparator &= 0xFFFF'FFFF;
    t.period &= 0xFFFF'FFFF;
  }
  // An edge that was driven before is over once the timer is another one.
  if ((before ^ t.config) & (kLevel | kEnable | 0x3E00)) t.high = false;
  if (!(t.config & kLevel)) s_.status &= ~(u64{1} << n);
}

void Hpet::sync(StateIo& io) {
  io.section("hpet");
  io.fields(s_.config, s_.status, s_.counter, s_.counter_since);
  for (Comparator& t : s_.timer) io.fields(t.config, t.comparator, t.period, t.checked, t.high);
  io.fields(s_.legacy_level[0], s_.legacy_level[1]);
  if (!io.loading()) return;
  io.limit(s_.config, u64{3}, "hpet: reserved bits set in the configuration");
  io.limit(s_.status, u64{7}, "hpet: more timers than three");
  for (Comparator& t : s_.timer)
    if (t.config & ~kTimerWritable) {
      io.damaged("hpet: reserved bits set in a timer's configuration");
      t = Comparator{};
    }
  arm();
  drive();
}

}  // namespace callgate
