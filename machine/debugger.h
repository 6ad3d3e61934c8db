// What a debugger may do to a machine without the guest being able to notice: stop before an instruction, after an access,
// after one step; look at memory and at what lies behind the registers. Hit by hit it only reports: protocols, threads and
// going backwards are the business of those above. Nothing here is state: hashes are the same with and without it.
//
//   Debugger& debugger = machine->debugger();
//   debugger.add_breakpoint({.address = 0xffffffff81000000});
//   debugger.resume();                       // from where the machine stands, a breakpoint there notwithstanding
//   Stop stop = machine->run();              // StopReason::Debug
//   debugger.hit().kind == DebugHit::Breakpoint
//
// Breakpoints are compared with where the processor is, never written into guest memory: they work before the code is there,
// in ROM, at any moment of a change of modes. With emitted code they cost nothing but at their own address. Accesses to a
// page with a watchpoint take the slow path; all others don't.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "cpu/execution_watch.h"

namespace callgate {

class Board;
class BreakPort;
namespace jit {
class Translator;
}

/// An address of either kind.
struct DebugAddress {
  u64 address = 0;
  bool physical = false;  ///< guest-physical instead of linear
  auto operator<=>(const DebugAddress&) const = default;
};

/// Stops before the instruction at an address.
struct Breakpoint {
  DebugAddress at;
  std::optional<u64> cr3;                        ///< only in the address space with this root (PCID bits don't matter)
  std::function<bool(unsigned cpu)> condition;  ///< asked with the machine standing at the breakpoint; none: always
};

enum class WatchOn : u8 { Write = 1, Read = 2, Access = 3 };

/// Stops after an instruction that accessed any of the bytes.
struct Watchpoint {
  DebugAddress at;
  u64 size = 1;
  WatchOn on = WatchOn::Write;
  std::optional<u64> cr3;
  bool operator==(const Watchpoint&) const = default;
};

/// Why the machine stopped for the debugger.
struct DebugHit {
  enum Kind { None, Breakpoint, Watchpoint, Step, GuestBreak, Interrupt } kind = None;
  unsigned cpu = 0;
  DebugAddress at;  ///< Breakpoint: where it was set; Watchpoint: the first watched byte that was accessed
  WatchOn on = WatchOn::Write;  ///< the watchpoint's
};

class Debugger final : public ExecutionWatch {
 public:
  explicit Debugger(Board& board);
  ~Debugger() override;
  void use(jit::Translator* translator);

  // --- stops; any number of each -------------------------------------------------------------------------------
  /// Another breakpoint at the same address is replaced.
  void add_breakpoint(Breakpoint breakpoint);
  /// False: there was none.
  bool remove_breakpoint(DebugAddress at);
  const std::map<DebugAddress, Breakpoint>& breakpoints() const { return breakpoints_; }
  void add_watchpoint(const Watchpoint& watchpoint);
  bool remove_watchpoint(const Watchpoint& watchpoint);
  const std::vector<Watchpoint>& watchpoints() const { return watchpoints_; }
  /// Stops when an interrupt's handler was entered from this place: before its first instruction.
  struct InterruptedAt {
    u64 linear = 0, rsp = 0;
    bool operator==(const InterruptedAt&) const = default;
  };
  void stop_on_interrupt(std::optional<InterruptedAt> place);
  /// Forgets all of them, and what resume() and step() said.
  void clear();
  /// While off, nothing stops the machine; what is set stays set.
  void enable(bool on);
  bool enabled() const { return enabled_; }

  // --- going on --------------------------------------------------------------------------------------------------
  /// The next run goes on from here: a breakpoint where the processor that stopped last stands counts as done.
  void resume();
  /// The next run ends when `cpu` has executed one instruction more, or entered the handler of a fault instead. When an
  /// interrupt comes first: with `into_interrupts` the run ends at its handler; without it the handler runs, and the step
  /// is made when it has returned.
  void step(unsigned cpu, bool into_interrupts);
  /// Why the last run ended; None when it was not for the debugger.
  const DebugHit& hit() const { return hit_; }
  /// The processor that stopped, or else the one that ran last.
  unsigned current_cpu() const { return current_cpu_; }

  // --- looking and changing --------------------------------------------------------------------------------------
  /// Reads what is plain memory, from the start: the number of bytes that were read. Nothing changes, not even accessed bits.
  std::size_t read_linear(unsigned cpu, u64 address, std::span<u8> out) const;
  std::size_t read_physical(u64 address, std::span<u8> out) const;
  /// Writes what is RAM, from the start: the number of bytes that were written. Page permissions don't matter.
  std::size_t write_linear(unsigned cpu, u64 address, std::span<const u8> data);
  std::size_t write_physical(u64 address, std::span<const u8> data);
  /// How many writes changed something so far.
  u64 edits() const { return edits_; }
  /// The physical address behind a linear one.
  std::optional<u64> translate(unsigned cpu, u64 linear) const;
  /// How it is translated, entry by entry, for a person; and how many bytes from there on have no translation (0: it has).
  std::string describe_translation(unsigned cpu, u64 linear) const;
  u64 unmapped_bytes(unsigned cpu, u64 linear) const;
  u64 cr8(unsigned cpu) const;
  u64 apic_base(unsigned cpu) const;
  /// The linear address of the next instruction.
  u64 code_address(unsigned cpu) const;
  /// The instruction at a linear address as the processor's current mode reads it, and its length.
  std::pair<std::string, unsigned> disassemble(unsigned cpu, u64 linear) const;

  // --- for Machine -------------------------------------------------------------------------------------------------
  /// After a slice: true when the machine stops for the debugger.
  bool take_stop();
  bool stop_pending() const { return pending_.kind != DebugHit::None; }
  void note_running(unsigned cpu) { current_cpu_ = cpu; }

  // --- ExecutionWatch ----------------------------------------------------------------------------------------------
  bool stops_before(Cpu& c) override;
  unsigned next_stop(u64 linear_page, u64 physical_page, unsigned offset) const override;
  void accessed(Cpu& c, u64 linear, unsigned size, AccessKind kind) override;
  bool watches(u64 linear_page, u64 physical_page, AccessKind kind) const override;

 private:
  friend class BreakPort;
  /// What a step is at.
  enum class Stepping : u8 { No, Armed, InInterrupt };
  /// A place in one processor's run.
  struct Place {
    unsigned cpu = 0;
    u64 retired = ~u64{0};
    u64 linear = 0;
  };

  const Breakpoint* breakpoint_at(Cpu& c, u64 linear) const;
  bool hits(const Watchpoint& w, Cpu& c, u64 address, u64 size, AccessKind kind, bool physical);
  void stop_for(const DebugHit& hit);
  void guest_break();
  void arm();
  void watch_memory();
  bool touches(u64 linear, u64 physical, u64 size) const;
  void stop_changed(DebugAddress at);
  void end_step();

  Board& board_;
  jit::Translator* translator_ = nullptr;
  std::unique_ptr<BreakPort> break_port_;
  std::map<DebugAddress, Breakpoint> breakpoints_;
  std::vector<Watchpoint> watchpoints_;
  bool enabled_ = true;
  bool watching_memory_ = false;
  u64 edits_ = 0;

  Stepping stepping_ = Stepping::No;
  unsigned step_cpu_ = 0;
  bool into_interrupts_ = false;
  u64 interrupts_before_ = 0;
  u64 step_from_ = 0, step_stack_ = 0;  ///< where the step began: linear address, RSP
  std::optional<Place> passed_;         ///< a breakpoint here counts as done
  DebugHit pending_, hit_;
  u64 pending_retired_ = 0;  ///< by the processor, when a read hit: it counts only if the instruction ends
  bool pending_read_ = false;
  unsigned current_cpu_ = 0;
};

}  // namespace callgate
