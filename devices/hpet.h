// High precision event timer: a 64-bit counter of 10 ns ticks and three comparators, all able to be periodic.
// Knows its clock and wires; in legacy replacement mode it takes the 8254's and the RTC's interrupt wires over.
// Ref: IA-PC HPET Specification 1.0a.
#pragma once

#include <array>

#include "base/log.h"
#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

constexpr u64 kHpetDefaultAddress = 0xFED0'0000;
constexpr u64 kHpetTickNs = 10;
/// The low half of the capabilities register, which the ACPI table repeats: revision 1, three timers, 64 bits, legacy
/// replacement, vendor 8086h.
constexpr u32 kHpetId = 0x8086'A201;

class Hpet final : public BusTarget {
 public:
  static constexpr unsigned kTimers = 3;

  /// `io_apic` are the I/O APIC's inputs 20 to 23, to which any timer can be routed. `irq0` and `irq8` are the ISA
  /// wires of the 8254 and the RTC, which have to drive pit_input() and rtc_input() instead.
  Hpet(Clock& clock, const std::array<IrqLine*, 4>& io_apic, IrqLine& irq0, IrqLine& irq8, Log& log);
  ~Hpet() override;
  Hpet(const Hpet&) = delete;
  Hpet& operator=(const Hpet&) = delete;

  IrqLine& pit_input() { return legacy_input_[0]; }
  IrqLine& rtc_input() { return legacy_input_[1]; }

  /// 1 KiB of registers; aligned double and quad words are the architectural accesses.
  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  /// Where the alarms stand among alarms of the same deadline (Timer::order): `first` and the two after it.
  void set_timer_order(u32 first);

  void reset();
  void sync(StateIo& io);

 private:
  struct Comparator {
    u64 config = 0;      // the writable bits
    u64 comparator = 0;  // the next match
    u64 period = 0;      // what a periodic match adds
    u64 checked = 0;     // counter value up to which matches were looked for
    bool high = false;   // an edge-triggered timer holds its wire up from one match to the next
  };
  struct State {
    u64 config = 0;                      // general configuration
    u64 status = 0;                      // general interrupt status
    u64 counter = 0, counter_since = 0;  // the counter was `counter` at `counter_since`; while stopped it still is
    std::array<Comparator, kTimers> timer{};
    bool legacy_level[2] = {};  // what the 8254 and the RTC drive
  };

  class LegacyInput final : public IrqLine {
   public:
    LegacyInput(Hpet& owner, unsigned n) : owner_(owner), n_(n) {}
    void set(bool level) override;

   private:
    Hpet& owner_;
    unsigned n_;
  };

  bool running() const { return s_.config & 1; }
  bool legacy() const { return s_.config & 2; }
  u64 counter() const;
  u64 width_mask(unsigned n) const;
  u64 distance(unsigned n) const;
  bool legacy_wire(unsigned n) const { return legacy() && n < 2; }

  u64 read_register(u64 reg) const;
  void write_register(u64 reg, u64 value, u64 written);
  void write_config(u64 value);
  void write_counter(u64 value);
  void write_timer_config(unsigned n, u64 value);

  bool catch_up();
  void match(unsigned n);
  void arm();
  void drive();

  Clock& clock_;
  std::array<IrqLine*, 4> io_apic_;
  IrqLine& irq0_;
  IrqLine& irq8_;
  Log& log_;
  LegacyInput legacy_input_[2]{{*this, 0}, {*this, 1}};
  std::array<Timer, kTimers> alarm_;
  State s_;
  u8 driven_ = 0;  // wires that are up: I/O APIC inputs 20 to 23, irq0, irq8
};

}  // namespace callgate
