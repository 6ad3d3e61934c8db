#include "devices/acpi_pm.h"

#include "base/bits.h"

namespace callgate {
namespace {

// ACPI 6.5, PM1 Status, Enable and Control Registers.
constexpr u16 kTimerEvent = 1u << 0, kGlobalEvent = 1u << 5, kPowerButton = 1u << 8, kRtcEvent = 1u << 10,
              kWake = 1u << 15;
constexpr u16 kEvents = kTimerEvent | kGlobalEvent | kPowerButton | kRtcEvent;
constexpr u16 kStatusBits = kEvents | kWake;
constexpr u16 kSciEnable = 1u << 0, kSleepEnable = 1u << 13;
constexpr u16 kControlWritable = 0x1C02;  // SLP_TYP, BM_RLD

// The timer is 32 bits wide (FADT TMR_VAL_EXT): its event is every change of bit 31.
constexpr unsigned kTimerTopBit = 31;
constexpr u64 kNanoseconds = 1'000'000'000;

}  // namespace

AcpiPm::AcpiPm(Clock& clock, IrqLine& sci, PowerControl& power, Log& log)
    : clock_(clock), sci_(sci), power_(power), log_(log) {
  timer_.fire = [this] { update(); };
  reset();
}

AcpiPm::~AcpiPm() { clock_.cancel(timer_); }

void AcpiPm::reset() {
  s_ = State{};
  s_.timer_halves = ticks() >> kTimerTopBit;
  update();
}

u64 AcpiPm::ticks() const { return static_cast<u64>(u128{clock_.now()} * kAcpiPmTimerHz / kNanoseconds); }

void AcpiPm::catch_up() {
  const u64 halves = ticks() >> kTimerTopBit;
  // Another processor of the same slice may be a little behind: time seen once is not seen again.
  if (halves <= s_.timer_halves) return;
  s_.status |= kTimerEvent;
  s_.timer_halves = halves;
}

/// Brings the timer's status, the SCI and the alarm in line with the state.
void AcpiPm::update() {
  catch_up();
  sci_.set((s_.status & s_.enable & kEvents) || (s_.gpe_status & s_.gpe_enable));
  if ((s_.enable & kTimerEvent) && !(s_.status & kTimerEvent)) {
    const u128 tick = u128{s_.timer_halves + 1} << kTimerTopBit;
    clock_.arm(timer_, static_cast<u64>((tick * kNanoseconds + kAcpiPmTimerHz - 1) / kAcpiPmTimerHz));
  } else {
    clock_.cancel(timer_);
  }
}

void AcpiPm::press_power_button() {
  s_.status |= kPowerButton;
  update();
}

void AcpiPm::raise_gpe(unsigned number) {
  s_.gpe_status |= static_cast<u16>(1u << (number & 15));
  update();
}

u8 AcpiPm::read_byte(u64 offset) const {
  const auto part = [offset](u64 value, u64 base) { return static_cast<u8>(value >> (8 * (offset - base))); };
  if (offset < kAcpiPm1Event + 2u) return part(s_.status, kAcpiPm1Event);
  if (offset < kAcpiPm1Event + 4u) return part(s_.enable, kAcpiPm1Event + 2);
  if (offset < kAcpiPm1Control + 2u) return part(s_.control | kSciEnable, kAcpiPm1Control);
  if (offset >= kAcpiPmTimer && offset < kAcpiPmTimer + 4u) return part(ticks(), kAcpiPmTimer);
  if (offset >= kAcpiGpe0 && offset < kAcpiGpe0 + 2u) return part(s_.gpe_status, kAcpiGpe0);
  if (offset >= kAcpiGpe0 + 2u && offset < kAcpiGpe0 + 4u) return part(s_.gpe_enable, kAcpiGpe0 + 2);
  return 0;
}

u64 AcpiPm::read(u64 offset, unsigned size) {
  catch_up();
  u64 value = 0;
  for (unsigned i = 0; i < size; ++i) value |= u64{read_byte(offset + i)} << (8 * i);
  return value;
}

void AcpiPm::write_control(u16 value) {
  s_.control = value & kControlWritable;
  if (!(value & kSleepEnable)) return;
  const unsigned type = static_cast<unsigned>(bits(value, 12, 10));
  if (type == kAcpiSleepTypeS5)
    power_.request(PowerEvent::Off, 0);
  else
    log_.line(LogChannel::Devices, "acpi: sleep type {} does not exist", type);
}

void AcpiPm::write(u64 offset, unsigned size, u64 value) {
  catch_up();
  for (unsigned i = 0; i < size; ++i) {
    const u64 at = offset + i;
    const unsigned shift = 8 * (at & 1);
    const u16 byte = static_cast<u16>((value >> (8 * i) & 0xFF) << shift);
    const u16 keep = static_cast<u16>(~(0xFFu << shift));
    switch (at & ~u64{1}) {
      case kAcpiPm1Event:
        s_.status &= static_cast<u16>(~(byte & kStatusBits));  // One clears.
        break;
      case kAcpiPm1Event + 2:
        s_.enable = static_cast<u16>((s_.enable & keep) | (byte & kEvents));
        break;
      case kAcpiPm1Control:
        // SLP_EN is in the high byte, together with SLP_TYP: act once, when the last byte of this access came.
        s_.control = static_cast<u16>((s_.control & keep) | byte);
        if ((at & 1) || i + 1 == size) write_control(s_.control);
        break;
      case kAcpiGpe0:
        s_.gpe_status &= static_cast<u16>(~byte);
        break;
      case kAcpiGpe0 + 2:
        s_.gpe_enable = static_cast<u16>((s_.gpe_enable & keep) | byte);
        break;
      default:
        break;
    }
  }
  update();
}

void AcpiPm::sync(StateIo& io) {
  io.section("acpi_pm");
  io.fields(s_.status, s_.enable, s_.control, s_.gpe_status, s_.gpe_enable, s_.timer_halves);
  if (!io.loading()) return;
  if ((s_.status & ~kStatusBits) || (s_.enable & ~kEvents) || (s_.control & ~kControlWritable)) {
    io.damaged("acpi_pm: reserved bits set");
    s_ = State{};
  }
  // One ahead is possible where processors take turns; more would be an alarm that never comes.
  const u64 halves = ticks() >> kTimerTopBit;
  if (s_.timer_halves > halves + 1) {
    io.damaged("acpi_pm: the timer was looked at in the future");
    s_.timer_halves = halves;
  }
  update();
}

}  // namespace callgate
