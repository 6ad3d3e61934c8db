// The hypervisor that a guest sees: the interfaces it was given, each with a block of CPUID leaves. Knows what none of them is
// about; hands every question to the one that it is for.
#pragma once

#include <memory>
#include <vector>

#include "cpu/hypervisor.h"
#include "paravirt/host.h"
#include "paravirt/interface.h"
#include "paravirt/set.h"

namespace callgate::paravirt {

/// The distance of two blocks of leaves. Guests look for signatures at every 0x100 from 0x40000000 to 0x40010000.
constexpr u32 kBlockLeaves = 0x100;

class Paravirt final : public Hypervisor {
 public:
  /// The interfaces of `set`, all of which are available(). `host` outlives it.
  Paravirt(Set set, Host& host);

  CpuidLeaf cpuid(Cpu& c, u32 leaf, u32 subleaf) override;
  MsrAnswer read_msr(Cpu& c, u32 index, u64& value) override;
  MsrAnswer write_msr(Cpu& c, u32 index, u64 value) override;
  bool hypercall(Cpu& c) override;
  bool port_call(Cpu& c, u16 port, unsigned size) override;
  bool takes_wakeup(Cpu& c) override;
  void yield(Cpu& c) override;

  void reset();
  void order_timers(u32& next);
  /// The interface that console input goes to; nullptr: COM1 has it.
  Interface* console() const;
  /// The one that takes a test's input; nullptr: none.
  Interface* test() const;
  void sync(StateIo& io);
  void slice_begins(Cpu& c);
  void slice_ends(Cpu& c);
  bool will_wake(const Cpu& c) const;
  bool tells_time() const;
  void tsc_changed(Cpu& c);
  void initialized(Cpu& c);
  void going_back();
  void went_back(std::span<const u64> moved);
  void interrupt_waits(Cpu& c);
  /// How often what was used, of every interface.
  std::vector<Count> counts() const;

 private:
  /// What one local APIC asks: the interfaces that know EOIs in memory, of which a guest uses one.
  struct Eois final : LazyEoi {
    void offer() override;
    bool collect() override;
    std::vector<LazyEoi*> from;
  };

  Host& host_;
  std::vector<std::unique_ptr<Interface>> interfaces_;  ///< by block
  std::vector<std::unique_ptr<Eois>> eois_;             ///< by processor
};

}  // namespace callgate::paravirt
