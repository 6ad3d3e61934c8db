// What a processor asks of the board it sits on. machine/ implements it; tests have a small one of their own.
#pragma once

#include "base/types.h"

namespace callgate {

/// The board as seen from one processor's pins.
class CpuPlatform {
 public:
  virtual ~CpuPlatform() = default;
  /// Port I/O of 1, 2 or 4 bytes; permission is the CPU's business and checked already.
  virtual u32 io_read(u16 port, unsigned size) = 0;
  virtual void io_write(u16 port, unsigned size, u32 value) = 0;
  /// Model-specific registers of the local APIC (IA32_APIC_BASE, 0x800 to 0x8FF, IA32_TSC_DEADLINE). False: #GP(0).
  virtual bool apic_msr_read(u32 index, u64& value) = 0;
  virtual bool apic_msr_write(u32 index, u64 value) = 0;
  /// CR8: bits 7..4 of the local APIC's task priority.
  virtual u8 task_priority() = 0;
  virtual void set_task_priority(u8 value) = 0;
  /// The interrupt pin, and the acknowledge cycle that gives the vector (only while the pin is up).
  virtual bool interrupt_pending() = 0;
  virtual u8 acknowledge_interrupt() = 0;
  /// Guest nanoseconds now: the TSC (before IA32_TSC_ADJUST) at 1 GHz.
  virtual u64 now() = 0;
  /// True when now() goes up by one with each instruction that the processor retires while an engine runs it.
  virtual bool time_is_count() const { return false; }
  /// The TSC was written or adjusted: deadlines in TSC ticks move.
  virtual void tsc_adjusted(u64 adjust) = 0;
  /// FERR#: an unmasked x87 exception waits with CR0.NE = 0 (IRQ 13).
  virtual void set_ferr(bool level) = 0;
  /// Triple fault: the processor shut down. Returns after telling the board.
  virtual void shutdown() = 0;
};

}  // namespace callgate
