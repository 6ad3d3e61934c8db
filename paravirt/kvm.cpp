// Ref: Linux, Documentation/virt/kvm/x86/{cpuid,msr,hypercalls}.rst and arch/x86/include/uapi/asm/kvm_para.h; what the documents
// leave open is as KVM does it.
#include "paravirt/kvm.h"

#include <utility>

#include "paravirt/guest_ram.h"

namespace callgate::paravirt {

namespace {

// Bits of leaf 0x40000001 EAX.
constexpr u32 kNopIoDelay = 1u << 1, kClockSource2 = 1u << 3, kStealTime = 1u << 5, kPvEoi = 1u << 6, kPvUnhalt = 1u << 7,
              kPvTlbFlush = 1u << 9, kPvSendIpi = 1u << 11, kPvSchedYield = 1u << 13, kClockStable = 1u << 24;
constexpr u32 kFeatures = kNopIoDelay | kClockSource2 | kStealTime | kPvEoi | kPvUnhalt | kPvTlbFlush | kPvSendIpi | kPvSchedYield |
                          kClockStable;

constexpr u32 kMsrWallClock = 0x4b564d00, kMsrSystemTime = 0x4b564d01, kMsrStealTime = 0x4b564d03, kMsrPvEoi = 0x4b564d04;
/// The block of KVM's registers. The others of it are of features that are not offered: #GP.
constexpr u32 kFirstMsr = 0x4b564d00, kLastMsr = 0x4b564dff;
constexpr u64 kEnabled = 1, kStealReserved = 0x3E;

}  // namespace

Kvm::Kvm(Host& host) : host_(host) {
  for (unsigned n = 0; n < host.cpus(); n++) cpu_.push_back(std::make_unique<Vcpu>(host.cpu_at(n).memory, n));
}

CpuidLeaf Kvm::cpuid(Cpu&, u32, u32) { return {kFeatures, 0, 0, 0}; }

MsrAnswer Kvm::read_msr(Cpu& c, u32 index, u64& value) {
  switch (index) {
    case kMsrWallClock: value = wall_clock_; return MsrAnswer::Done;
    case kMsrSystemTime: value = of(c).system_time; return MsrAnswer::Done;
    case kMsrStealTime: value = of(c).steal_time; return MsrAnswer::Done;
    case kMsrPvEoi: value = of(c).eoi; return MsrAnswer::Done;
    default: return index >= kFirstMsr && index <= kLastMsr ? MsrAnswer::Refused : MsrAnswer::Unknown;
  }
}

// An address that is not RAM is taken, and nothing is written there; only PV EOI refuses it, as in KVM.
MsrAnswer Kvm::write_msr(Cpu& c, u32 index, u64 value) {
  Vcpu& v = of(c);
  switch (index) {
    case kMsrWallClock:
      wall_clock_ = value;
      write_wall_clock(c, value);
      return MsrAnswer::Done;
    case kMsrSystemTime:
      v.system_time = value;
      write_clock(c, v);
      return MsrAnswer::Done;
    case kMsrStealTime:
      if (value & kStealReserved) return MsrAnswer::Refused;
      v.steal_time = value;
      write_steal_time(c, v);
      return MsrAnswer::Done;
    case kMsrPvEoi:
      if (value & 2) return MsrAnswer::Refused;
      if ((value & kEnabled) && !is_ram(c.memory, value & ~kEnabled, 4)) return MsrAnswer::Refused;
      host_.apic_at(v.n).settle_eoi();  // what was offered at the old place
      v.eoi = value;
      return MsrAnswer::Done;
    default: return index >= kFirstMsr && index <= kLastMsr ? MsrAnswer::Refused : MsrAnswer::Unknown;
  }
}

/// HLT after a kick: the kick is what it would have waited for.
bool Kvm::takes_wakeup(Cpu& c) {
  Vcpu& v = of(c);
  return std::exchange(v.kicked, false);
}

/// INIT: nothing is left of what the processor had set up.
void Kvm::initialized(Cpu& c) {
  Vcpu& v = of(c);
  v.system_time = v.steal_time = v.eoi = 0;
  v.offered = v.kicked = false;
}

void Kvm::reset() {
  wall_clock_ = 0;
  for (unsigned n = 0; n < cpu_.size(); n++) initialized(host_.cpu_at(n));
}

void Kvm::counts(std::vector<Count>& all) const {
  u64 eois = 0;
  for (const auto& v : cpu_) eois += v->made;
  all.insert(all.end(), {{"kvm_eois_in_memory", eois},
                         {"kvm_kicks", counted_.kicks},
                         {"kvm_ipi_calls", counted_.ipi_calls},
                         {"kvm_ipi_destinations", counted_.ipi_destinations},
                         {"kvm_flushes_deferred", counted_.flushes_deferred},
                         {"kvm_yields", counted_.yields}});
}

void Kvm::sync(StateIo& io) {
  io.field(wall_clock_);
  for (auto& v : cpu_) io.fields(v->system_time, v->steal_time, v->eoi, v->offered, v->kicked);
}

}  // namespace callgate::paravirt
