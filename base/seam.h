// The hardware seam: the few interfaces through which devices and processors meet.
// machine/ wires the two sides together; neither includes the other.
#pragma once

#include <functional>
#include <span>

#include "base/types.h"

namespace callgate {

/// A device's registers. The device gets offsets from where it was mapped, never addresses.
class BusTarget {
 public:
  virtual ~BusTarget() = default;
  /// Reads `size` (1, 2, 4 or 8) bytes at `offset`; bytes that don't exist read as ones.
  virtual u64 read(u64 offset, unsigned size) = 0;
  /// Writes the low `size` (1, 2, 4 or 8) bytes of `value` at `offset`.
  virtual void write(u64 offset, unsigned size, u64 value) = 0;
};

/// One interrupt wire. Level semantics: an edge-triggered input sees the change of level.
class IrqLine {
 public:
  virtual ~IrqLine() = default;
  virtual void set(bool level) = 0;
  void pulse() {
    set(true);
    set(false);
  }
};

/// Never: a deadline that does not come.
constexpr u64 kNever = ~u64{0};

/// A one-shot alarm in guest time. The owner saves its deadline and arms it again on restore.
/// Alarms of the same deadline fire in the order of their `order` (set by the board, unique).
struct Timer {
  std::function<void()> fire;  ///< called with Clock::now() == the deadline, or later when armed in the past
  u64 deadline = kNever;       ///< guest nanoseconds; kNever while not armed. Changed by Clock only.
  u32 order = 0;
};

/// Guest time: a function of retired instructions alone. No device may read any other clock.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Guest nanoseconds since power-on.
  virtual u64 now() const = 0;
  /// Sets `timer` to fire at `deadline` (at once, at the next boundary, when it is past). Replaces an earlier deadline.
  virtual void arm(Timer& timer, u64 deadline) = 0;
  virtual void cancel(Timer& timer) = 0;
};

/// Guest physical memory as a bus master sees it. Out-of-range reads give ones; out-of-range writes are dropped.
class DmaMemory {
 public:
  virtual ~DmaMemory() = default;
  virtual void read(u64 physical, std::span<u8> out) = 0;
  virtual void write(u64 physical, std::span<const u8> data) = 0;
};

/// Where a device's bytes leave the machine (a serial line, the debug console).
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual void write(std::span<const u8> bytes) = 0;
};

/// What an interrupt controller offers to a processor.
class InterruptSource {
 public:
  virtual ~InterruptSource() = default;
  /// True while a maskable interrupt waits that the controller's own priority rules let through.
  virtual bool pending() const = 0;
  /// The acknowledge cycle: returns the vector and changes the controller's state. Only called when pending().
  virtual u8 acknowledge() = 0;
};

/// What can happen to the machine at a device's word.
enum class PowerEvent { Off, Reset, DebugExit };

/// Where a device tells the board of power-off, reset and debug exit.
class PowerControl {
 public:
  virtual ~PowerControl() = default;
  /// `code` is the guest's exit code for DebugExit, else 0. Takes effect after the current instruction.
  virtual void request(PowerEvent event, u32 code) = 0;
};

}  // namespace callgate
