// KVM's interface, as Linux and the BSDs speak it: clocks that the guest reads from its own memory, kicks and interrupts by
// hypercall, a byte that tells who isn't running, EOI by memory. Knows nothing of the other interfaces.
//   kvm.cpp         leaves, MSRs, state
//   kvm_calls.cpp   hypercalls
//   kvm_memory.cpp  what is written to the guest's memory
#pragma once

#include <memory>

#include "paravirt/host.h"
#include "paravirt/interface.h"
#include "paravirt/memory_eoi.h"

namespace callgate::paravirt {

class Kvm final : public Interface {
 public:
  explicit Kvm(Host& host);

  std::string_view signature() const override { return "KVMKVMKVM"; }
  u32 leaves() const override { return 1; }
  CpuidLeaf cpuid(Cpu& c, u32 offset, u32 subleaf) override;
  MsrAnswer read_msr(Cpu& c, u32 index, u64& value) override;
  MsrAnswer write_msr(Cpu& c, u32 index, u64 value) override;
  bool hypercall(Cpu& c) override;
  bool tells_time() const override { return true; }
  bool takes_wakeup(Cpu& c) override;
  void slice_begins(Cpu& c) override;
  void slice_ends(Cpu& c) override;
  void tsc_changed(Cpu& c) override;
  void initialized(Cpu& c) override;
  LazyEoi* lazy_eoi(unsigned index) override { return cpu_[index].get(); }
  void counts(std::vector<Count>& all) const override;
  void reset() override;
  void sync(StateIo& io) override;

 private:
  /// One processor's part. Also what its local APIC asks about EOIs by memory.
  struct Vcpu final : MemoryEoi {
    Vcpu(PhysicalMap& memory, unsigned number) : MemoryEoi(memory), n(number) {}
    std::optional<u64> place() const override;

    const unsigned n;
    // The MSRs as written.
    u64 system_time = 0, steal_time = 0, eoi = 0;
    bool kicked = false;  ///< its next HLT does not halt
  };

  Vcpu& of(const Cpu& c) { return *cpu_[c.index]; }

  // kvm_memory.cpp
  void write_wall_clock(Cpu& c, u64 address);
  void write_clocks(Cpu& by);
  void write_clock(Cpu& by, Vcpu& v);
  void write_steal_time(Cpu& c, const Vcpu& v);
  // kvm_calls.cpp
  void kick(u64 apic_id);
  i64 send_ipi(const u64 (&bitmap)[2], unsigned cluster, u64 first, u64 icr);

  Host& host_;
  /// Figures for counts(), not state.
  struct {
    u64 kicks = 0, ipi_calls = 0, ipi_destinations = 0, flushes_deferred = 0, yields = 0;
  } counted_;
  u64 wall_clock_ = 0;  ///< the MSR, one for all processors
  std::vector<std::unique_ptr<Vcpu>> cpu_;
};

}  // namespace callgate::paravirt
