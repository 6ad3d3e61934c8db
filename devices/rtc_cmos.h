// The PC's real-time clock with its battery-backed cells. The date is computed from guest nanoseconds and the start
// that the constructor gives, never from a host clock; an alarm is armed only for an interrupt that is enabled. Ref:
// Motorola "MC146818A Real-Time Clock plus RAM"; Intel "82371SB PIIX3", RTC ports 70h-73h.
#pragma once

#include <optional>

#include "base/seam.h"
#include "base/state_io.h"
#include "devices/byte_registers.h"

namespace callgate {

/// Indices of cells that PC firmware leaves for operating systems (IBM AT "CMOS RAM address map" and its heirs).
namespace cmos {
constexpr u8 kFloppyTypes = 0x10;
constexpr u8 kEquipment = 0x14;
constexpr u8 kBaseMemory = 0x15;      ///< KiB below 640 KiB, two cells
constexpr u8 kExtendedMemory = 0x17;  ///< KiB above 1 MiB, two cells; again at 0x30
constexpr u8 kExtendedMemoryAgain = 0x30;
constexpr u8 kCentury = 0x32;           ///< the FADT's CENTURY
constexpr u8 kMemoryAbove16M = 0x34;    ///< in 64 KiB, two cells
constexpr u8 kMemoryAbove4G = 0x5B;     ///< in 64 KiB, three cells
constexpr u8 kCpuCountMinusOne = 0x5F;  ///< QEMU's and Bochs's firmware interface
}  // namespace cmos

class RtcCmos final : public ByteRegisters {
 public:
  struct State {
    u8 cells[256] = {};        ///< registers and RAM; the time of day among them while the clock stands
    u8 index = 0;              ///< port 0x70
    u8 extended_index = 0x80;  ///< port 0x72
    u8 weekday_shift = 0;      ///< added to the calendar's day of the week: the guest may set any
    i64 origin = 0;            ///< guest ns of a moment when a second began
    i64 base = 0;          ///< the clock's reading at `origin`, in seconds since 1970-01-01 as the registers tell it
    i64 seen_pulses = 0;   ///< pulses (1/32768 s since origin) that the flags have taken note of
    i64 seen_seconds = 0;  ///< seconds since origin that the flags have taken note of
  };

  /// `start_seconds`: what the clock shows at guest time zero, in seconds since 1970-01-01 00:00.
  RtcCmos(Clock& clock, IrqLine& irq, i64 start_seconds);
  ~RtcCmos() override { clock_.cancel(timer_); }

  /// Sets a cell that is not a clock register: from 0x0E up, the century excepted.
  void set_cell(u8 index, u8 value);
  u8 cell(u8 index) const { return state_.cells[index]; }
  /// Fills the cells that tell the memory's size: bytes of RAM below and above 4 GiB.
  void describe_memory(u64 below_4g, u64 above_4g);

  Timer& timer() { return timer_; }
  /// The RESET pin: interrupts off; the date and the cells stay.
  void reset();
  void sync(StateIo& io);

 private:
  // Ports 0x70 to 0x73: index, data, and the same for the upper 128 cells.
  u8 read8(u64 offset) override;
  void write8(u64 offset, u8 value) override;

  u8 read_cell(u8 index);
  void write_cell(u8 index, u8 value);
  void write_control_a(u8 value);
  void write_control_b(u8 value);
  u8 read_flags();

  bool divider_held() const;
  bool running() const;
  u8 encode(unsigned value) const;
  unsigned decode(u8 value) const;
  u8 encode_hour(unsigned hour) const;
  unsigned decode_hour(u8 value) const;

  i64 since_origin() const { return static_cast<i64>(clock_.now()) - state_.origin; }
  i64 seconds_since_origin() const;
  i64 pulses_since_origin() const;
  i64 periodic_pulses() const;
  void show_time();
  void take_time();
  std::optional<i64> next_alarm(i64 after) const;
  void note_events();
  void update_irq();

  Clock& clock_;
  IrqLine& irq_;
  Timer timer_;
  State state_;
};

}  // namespace callgate
