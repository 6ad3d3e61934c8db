// One paravirtual interface: what a guest finds under one CPUID signature. Each is a pair of files of its own and knows none
// of the others. What it may ask of the machine is Host (host.h).
//
// A new one is: a class derived from this in paravirt/NAME.{h,cpp}, one line in the table of paravirt.cpp (its bit is in
// paravirt/set.h), its tests beside it, and its paragraph in docs/paravirt.md. All of its state goes into sync(), what is a
// processor's own in an array by Cpu::index.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/state_io.h"
#include "cpu/cpu.h"
#include "devices/local_apic.h"

namespace callgate::paravirt {

/// How often something was used. `name` is as --stats has it.
struct Count {
  std::string_view name;
  u64 value;
};

class Interface {
 public:
  virtual ~Interface() = default;

  /// The twelve characters in EBX, ECX and EDX of the block's first leaf; shorter ones are padded with zeros.
  virtual std::string_view signature() const = 0;
  /// How many leaves the block has behind its first one.
  virtual u32 leaves() const { return 0; }
  /// Leaf `base + offset` of the block that begins at `base`; offset is 1 to leaves().
  virtual CpuidLeaf cpuid(Cpu&, u32 /*offset*/, u32 /*subleaf*/) { return {}; }

  // As in cpu/hypervisor.h; the interfaces are asked in the order of their blocks until one answers.
  virtual MsrAnswer read_msr(Cpu&, u32 /*index*/, u64& /*value*/) { return MsrAnswer::Unknown; }
  virtual MsrAnswer write_msr(Cpu&, u32 /*index*/, u64 /*value*/) { return MsrAnswer::Unknown; }
  virtual bool hypercall(Cpu&) { return false; }
  virtual bool port_call(Cpu&, u16 /*port*/, unsigned /*size*/) { return false; }

  /// True when a guest that uses the interface gets its time from it, and needs no chip to measure time by.
  virtual bool tells_time() const { return false; }

  /// Functions of the guest's that are executed as one instruction, if the interface has such.
  virtual HookedCode* hooked_code() { return nullptr; }

  /// The machine's power-on or reset: all of the state as at first.
  virtual void reset() {}
  /// Lists every field once: save, restore and hash.
  virtual void sync(StateIo&) {}

  /// `c`'s TSC was written or adjusted.
  virtual void tsc_changed(Cpu&) {}
  /// `c` got an INIT.
  virtual void initialized(Cpu&) {}

  /// The guest keeps the machine to go back to, or goes back to it: sync() saves or loads it between these two. What is not to go back is
  /// put aside, and put in place again. By processor, `moved` is how much larger its count of instructions is than it was there.
  virtual void going_back() {}
  virtual void went_back(std::span<const u64> /*moved*/) {}

  /// `c` has an interrupt at its local APIC, whether it takes it now or not.
  virtual void interrupt_waits(Cpu&) {}
  /// Who offers EOIs in memory to processor `index`; nullptr: nobody.
  virtual LazyEoi* lazy_eoi(unsigned /*index*/) { return nullptr; }

  /// What was used how often, for --stats. Not part of the state: no guest sees it, and no hash.
  virtual void counts(std::vector<Count>&) const {}

  /// Gives alarms their place among those of the same moment: from `next` on.
  virtual void order_timers(u32& /*next*/) {}

  // --- what comes from outside, by the machine's journal -------------------------------------------------------
  /// True while what is typed at the console goes here instead of to COM1.
  virtual bool console_attached() const { return false; }
  virtual std::size_t console_room() const { return 0; }
  virtual void console_input(std::span<const u8>) {}
  virtual std::size_t test_room() const { return 0; }
  virtual void test_input(std::span<const u8>) {}

  // --- time, as the machine passes it -------------------------------------------------------------------------
  /// `c` is about to run, or stops running for now. Only told when there are several processors.
  virtual void slice_begins(Cpu&) {}
  virtual void slice_ends(Cpu&) {}
  /// True when the halted `c` will be woken by something other than an interrupt: it is no dead end.
  virtual bool will_wake(const Cpu&) const { return false; }
  /// True when HLT must not halt `c` now, since it was woken already.
  virtual bool takes_wakeup(Cpu&) { return false; }
};

}  // namespace callgate::paravirt
