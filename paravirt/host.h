// What the paravirtual interfaces may ask of the machine that they are part of. machine/ implements it; tests have a small one.
#pragma once

#include "base/seam.h"
#include "cpu/cpu.h"
#include "devices/local_apic.h"

namespace callgate::paravirt {

class Host {
 public:
  virtual ~Host() = default;
  virtual unsigned cpus() const = 0;
  virtual Cpu& cpu_at(unsigned index) = 0;
  virtual LocalApic& apic_at(unsigned index) = 0;
  /// Guest time, and alarms. A processor's own time is its platform's now().
  virtual Clock& guest_clock() = 0;
  /// The CMOS clock at power-on, in seconds since 1970 UTC: what wall clocks count from.
  virtual i64 epoch() const = 0;
  virtual PowerControl& power_control() = 0;
  /// Where COM1's output goes, and port 0xE9's.
  virtual ByteSink& console() = 0;
  virtual ByteSink& debug_console() = 0;
  /// `c` gives up the rest of its turn: the other processors have theirs before it goes on. Nothing with only one.
  virtual void end_turn(Cpu& c) = 0;
  /// The debugger, if there is one, stops the machine behind the current instruction of `c`.
  virtual void debug_break(Cpu& c) = 0;
  /// The places that a guest can go back to are numbered from 0 to below abi::kMostSnapshots. Each of these is done behind the current
  /// instruction of `c`. Keeping: the machine as it is then. Going back, which needs has_snapshot(): `value` is in RBX then, of the
  /// processor that the place is of.
  virtual void keep_snapshot(Cpu& c, unsigned slot) = 0;
  virtual void forget_snapshot(Cpu& c, unsigned slot) = 0;
  virtual bool has_snapshot(unsigned slot) const = 0;
  virtual void go_back(Cpu& c, unsigned slot, u32 value) = 0;
};

}  // namespace callgate::paravirt
