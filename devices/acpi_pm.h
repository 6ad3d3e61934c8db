// ACPI fixed hardware: PM1a event and control registers, the PM timer, one GPE0 block. The machine is always in ACPI
// mode (no SMI_CMD). Knows its clock, its SCI line and the power switch; refuses to know the tables that describe it.
// Ref: ACPI Specification 6.5, 4.8 ACPI Register Model.
#pragma once

#include "base/log.h"
#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

/// Where each register is in the block of 64 ports, for the FADT.
constexpr u16 kAcpiPm1Event = 0x00;    // 4 bytes: status, enable
constexpr u16 kAcpiPm1Control = 0x04;  // 2 bytes
constexpr u16 kAcpiPmTimer = 0x08;     // 4 bytes
constexpr u16 kAcpiGpe0 = 0x20;        // 4 bytes: 16 status bits, 16 enable bits
constexpr u16 kAcpiPmBlockSize = 0x40;

/// SLP_TYP of the soft-off state, for the \_S5 package. No other sleep state exists. The PIIX4's value, so that the
/// customary outw(0x604, 0x2000) of small kernels works.
constexpr u8 kAcpiSleepTypeS5 = 0;

constexpr u64 kAcpiPmTimerHz = 3'579'545;  // ACPI 6.5, 4.8.2.1 Power Management Timer

class AcpiPm final : public BusTarget {
 public:
  AcpiPm(Clock& clock, IrqLine& sci, PowerControl& power, Log& log);
  ~AcpiPm() override;
  AcpiPm(const AcpiPm&) = delete;
  AcpiPm& operator=(const AcpiPm&) = delete;

  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  /// The user's power button: an SCI if the guest enabled it.
  void press_power_button();
  /// An event of GPE0, number 0 to 15.
  void raise_gpe(unsigned number);

  /// Where the alarm stands among alarms of the same deadline (Timer::order).
  void set_timer_order(u32 order) { timer_.order = order; }

  void reset();
  void sync(StateIo& io);

 private:
  struct State {
    u16 status = 0, enable = 0, control = 0;
    u16 gpe_status = 0, gpe_enable = 0;
    u64 timer_halves = 0;  // times that the PM timer's top bit had changed when last looked at
  };

  u64 ticks() const;
  u8 read_byte(u64 offset) const;
  void write_control(u16 value);
  void catch_up();
  void update();

  Clock& clock_;
  IrqLine& sci_;
  PowerControl& power_;
  Log& log_;
  Timer timer_;
  State s_;
};

}  // namespace callgate
