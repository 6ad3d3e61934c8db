// Hyper-V's interface, as far as it saves a guest work: interrupts and TLB flushes by hypercall, EOI by memory, frequencies and
// the reference clock, waiting without spinning. Knows nothing of the other interfaces, and has neither synthetic interrupts,
// nor timers, nor VMBus.
//   hyperv.cpp         leaves, registers, state
//   hyperv_calls.cpp   hypercalls
// Ref: Microsoft, "Hypervisor Top-Level Functional Specification" (TLFS) 6.0b.
#pragma once

#include <memory>

#include "paravirt/host.h"
#include "paravirt/interface.h"
#include "paravirt/memory_eoi.h"

namespace callgate::paravirt {

class Hyperv final : public Interface {
 public:
  explicit Hyperv(Host& host);

  std::string_view signature() const override { return "Microsoft Hv"; }
  u32 leaves() const override { return 6; }
  CpuidLeaf cpuid(Cpu& c, u32 offset, u32 subleaf) override;
  MsrAnswer read_msr(Cpu& c, u32 index, u64& value) override;
  MsrAnswer write_msr(Cpu& c, u32 index, u64 value) override;
  bool hypercall(Cpu& c) override;
  void interrupt_waits(Cpu& c) override;
  bool will_wake(const Cpu& c) const override { return idle(c); }
  void tsc_changed(Cpu& c) override;
  void went_back(std::span<const u64> moved) override;
  void initialized(Cpu& c) override;
  LazyEoi* lazy_eoi(unsigned index) override { return cpu_[index].get(); }
  void counts(std::vector<Count>& all) const override;
  void reset() override;
  void sync(StateIo& io) override;

 private:
  /// A virtual processor's part.
  struct Vp final : MemoryEoi {
    explicit Vp(PhysicalMap& memory) : MemoryEoi(memory) {}
    std::optional<u64> place() const override;

    u64 assist = 0;     ///< the register VP_ASSIST_PAGE
    bool idle = false;  ///< by GUEST_IDLE; void when it has run since
    u64 idle_at = 0;    ///< the count at which it went idle
  };
  /// A hypercall, taken apart.
  struct Call;
  /// What a call answers: TLFS, Hypercall Status Codes.
  enum class Status : u16;

  Vp& of(const Cpu& c) { return *cpu_[c.index]; }
  bool enabled() const { return hypercall_ & 1; }
  bool idle(const Cpu& c) const;
  void go_idle(Cpu& c);
  void write_tsc_page(Cpu& by);
  MsrAnswer write_hypercall(Cpu& c, u64 value);
  MsrAnswer read_apic(Cpu& c, u32 index, u64& value);
  MsrAnswer write_apic(Cpu& c, u32 index, u64 value);
  // hyperv_calls.cpp
  Status execute(Call& call);
  Status flush(Call& call, bool list, bool extended);
  Status send_ipi(Call& call, bool extended);

  Host& host_;
  u64 guest_os_ = 0, hypercall_ = 0, reference_tsc_ = 0, invariant_control_ = 0;  // the registers
  u32 tsc_sequence_ = 0;  ///< of the reference TSC page: its last valid one
  std::vector<std::unique_ptr<Vp>> cpu_;
  /// Figures for counts(), not state.
  struct {
    u64 calls = 0, refused = 0, flushes = 0, flush_destinations = 0, ipi_calls = 0, ipi_destinations = 0, idles = 0, spin_waits = 0;
  } counted_;
};

}  // namespace callgate::paravirt
