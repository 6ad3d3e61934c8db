#include "paravirt/hyperv.h"

#include <array>
#include <bit>

#include "paravirt/guest_ram.h"

namespace callgate::paravirt {

namespace {

// Registers. TLFS, Appendix F.
constexpr u32 kGuestOsId = 0x40000000, kHypercall = 0x40000001, kVpIndex = 0x40000002, kTimeRefCount = 0x40000020,
              kReferenceTsc = 0x40000021, kTscFrequency = 0x40000022, kApicFrequency = 0x40000023, kEoi = 0x40000070,
              kIcr = 0x40000071, kTpr = 0x40000072, kVpAssistPage = 0x40000073, kGuestIdle = 0x400000F0,
              kTscInvariantControl = 0x40000118;

// Leaf 0x40000003, EAX: what a partition may use. TLFS, HV_PARTITION_PRIVILEGE_MASK.
constexpr u32 kAccessTimeRefCount = 1u << 1, kAccessApic = 1u << 4, kAccessHypercall = 1u << 5, kAccessVpIndex = 1u << 6,
              kAccessReferenceTsc = 1u << 9, kAccessGuestIdle = 1u << 10, kAccessFrequencies = 1u << 11,
              kAccessTscInvariant = 1u << 15;
constexpr u32 kPrivileges = kAccessTimeRefCount | kAccessApic | kAccessHypercall | kAccessVpIndex | kAccessReferenceTsc |
                            kAccessGuestIdle | kAccessFrequencies | kAccessTscInvariant;
// EDX: features.
constexpr u32 kGuestIdleAvailable = 1u << 5, kFrequenciesAvailable = 1u << 8;
// Leaf 0x40000004, EAX: recommendations.
constexpr u32 kRemoteTlbFlush = 1u << 2, kApicRegisters = 1u << 3, kRelaxedTiming = 1u << 5, kNoAutoEoi = 1u << 9,
              kClusterIpi = 1u << 10, kExProcessorMasks = 1u << 11;
constexpr u32 kRecommended = kRemoteTlbFlush | kApicRegisters | kRelaxedTiming | kNoAutoEoi | kClusterIpi | kExProcessorMasks;
/// How often to try a lock before HvNotifyLongSpinWait: a processor here spins in its own turn, while nobody else has one.
constexpr u32 kSpinsBeforeCall = 64;

constexpr u64 kEnable = 1, kLocked = 2, kAddress = ~u64{0xFFF};

/// VMCALL; RET.
constexpr std::array<u8, 4> kHypercallCode = {0x0F, 0x01, 0xC1, 0xC3};

// The reference clock counts 100 ns from power-on. Rounded up, so that (ticks * scale) >> 64 is ticks / 100 exactly.
constexpr u64 kNsPerTick = 100;
constexpr u64 kTscScale = ~u64{0} / kNsPerTick + 1;
static_assert(kTscHz == 1'000'000'000);

/// TLFS, HV_REFERENCE_TSC_PAGE: time = (TSC * scale >> 64) + offset, while the sequence isn't 0.
struct TscPage {
  u32 sequence, reserved;
  u64 scale;
  u64 offset;
};

u64 scaled(u64 ticks) { return static_cast<u64>(static_cast<u128>(ticks) * kTscScale >> 64); }

// Local APIC registers by offset and, in x2APIC mode, by MSR. SDM 3A, Local APIC Register Address Map.
constexpr u64 kApicTpr = 0x80, kApicEoi = 0xB0, kApicIcrLow = 0x300, kApicIcrHigh = 0x310;
constexpr u32 x2apic(u64 offset) { return kMsrX2ApicFirst + static_cast<u32>(offset >> 4); }
constexpr unsigned kXapicDestination = 56;

}  // namespace

Hyperv::Hyperv(Host& host) : host_(host) {
  for (unsigned n = 0; n < host.cpus(); n++) cpu_.push_back(std::make_unique<Vp>(host.cpu_at(n).memory));
}

CpuidLeaf Hyperv::cpuid(Cpu&, u32 offset, u32) {
  constexpr u32 kInterface = 0x31237648;  // "Hv#1"
  switch (offset) {
    case 1: return {kInterface, 0, 0, 0};
    case 3: return {kPrivileges, 0, 0, kGuestIdleAvailable | kFrequenciesAvailable};
    case 4: return {kRecommended, kSpinsBeforeCall, 0, 0};
    case 5: return {host_.cpus(), host_.cpus(), 0, 0};
    default: return {};  // 2, the version: none. 6, the hardware that the hypervisor uses: none
  }
}

MsrAnswer Hyperv::read_msr(Cpu& c, u32 index, u64& value) {
  switch (index) {
    case kGuestOsId: value = guest_os_; return MsrAnswer::Done;
    case kHypercall: value = hypercall_; return MsrAnswer::Done;
    case kVpIndex: value = c.index; return MsrAnswer::Done;
    case kTimeRefCount: value = scaled(c.platform.now()); return MsrAnswer::Done;
    case kReferenceTsc: value = reference_tsc_; return MsrAnswer::Done;
    case kTscFrequency:
    case kApicFrequency: value = kTscHz; return MsrAnswer::Done;
    case kVpAssistPage: value = of(c).assist; return MsrAnswer::Done;
    case kTscInvariantControl: value = invariant_control_; return MsrAnswer::Done;
    case kGuestIdle:
      value = 0;
      go_idle(c);
      return MsrAnswer::Done;
    case kIcr:
    case kTpr: return read_apic(c, index, value);
    case kEoi: return MsrAnswer::Refused;
    default: return MsrAnswer::Unknown;
  }
}

MsrAnswer Hyperv::write_msr(Cpu& c, u32 index, u64 value) {
  switch (index) {
    case kGuestOsId:
      guest_os_ = value;
      if (value == 0) hypercall_ &= ~kEnable;
      return MsrAnswer::Done;
    case kHypercall: return write_hypercall(c, value);
    case kReferenceTsc:
      if ((value & kEnable) && !is_ram(c.memory, value & kAddress, kPageSize)) return MsrAnswer::Refused;
      reference_tsc_ = value;
      write_tsc_page(c);
      return MsrAnswer::Done;
    case kVpAssistPage:
      if ((value & kEnable) && !is_ram(c.memory, value & kAddress, kPageSize)) return MsrAnswer::Refused;
      host_.apic_at(c.index).settle_eoi();  // what was offered at the old place
      of(c).assist = value;
      if (value & kEnable) write_ram(c.memory, value & kAddress, u32{0});
      return MsrAnswer::Done;
    case kTscInvariantControl:
      if (value & ~kEnable) return MsrAnswer::Refused;
      invariant_control_ = value;
      return MsrAnswer::Done;
    case kEoi:
    case kIcr:
    case kTpr: return write_apic(c, index, value);
    case kVpIndex:
    case kTimeRefCount:
    case kTscFrequency:
    case kApicFrequency:
    case kGuestIdle: return MsrAnswer::Refused;
    default: return MsrAnswer::Unknown;
  }
}

// DEVIATION: the page is no overlay. The code is written to the guest's memory, and stays there when the page is disabled or
// moved; a call from there is #UD then.
MsrAnswer Hyperv::write_hypercall(Cpu& c, u64 value) {
  if (hypercall_ & kLocked) return MsrAnswer::Done;  // to no effect, until a reset
  if (guest_os_ == 0) value &= ~kEnable;
  if (value & kEnable) {
    if (!is_ram(c.memory, value & kAddress, kPageSize)) return MsrAnswer::Refused;
    write_ram(c.memory, value & kAddress, kHypercallCode);
  }
  hypercall_ = value;
  return MsrAnswer::Done;
}

// One line for all processors: where their TSCs differ, there is none, and the guest asks the register. The sequence tells
// a reader on another processor that what it read has changed.
void Hyperv::write_tsc_page(Cpu& by) {
  if (!(reference_tsc_ & kEnable)) return;
  const u64 adjust = host_.cpu_at(0).s.msr.tsc_adjust, now = by.platform.now();
  bool one_line = true;
  for (unsigned n = 1; n < cpu_.size(); n++) one_line &= host_.cpu_at(n).s.msr.tsc_adjust == adjust;
  TscPage page{0, 0, kTscScale, scaled(now) - scaled(now + adjust)};
  if (one_line) {
    tsc_sequence_ = tsc_sequence_ >= 0xFFFFFFFE ? 1 : tsc_sequence_ + 1;
    page.sequence = tsc_sequence_;
  }
  write_ram(by.memory, reference_tsc_ & kAddress, page);
}

void Hyperv::tsc_changed(Cpu& c) { write_tsc_page(c); }

// The registers are the local APIC's, in whichever mode it is.
MsrAnswer Hyperv::read_apic(Cpu& c, u32 index, u64& value) {
  LocalApic& apic = host_.apic_at(c.index);
  if (!apic.enabled()) return MsrAnswer::Refused;
  if (!apic.x2apic()) {
    value = index == kTpr ? apic.read(kApicTpr, 4) : apic.read(kApicIcrHigh, 4) << 32 | apic.read(kApicIcrLow, 4);
    return MsrAnswer::Done;
  }
  if (!apic.read_msr(x2apic(index == kTpr ? kApicTpr : kApicIcrLow), value)) return MsrAnswer::Refused;
  if (index == kIcr) value = (value & 0xFFFFFFFF) | value >> 32 << kXapicDestination;
  return MsrAnswer::Done;
}

MsrAnswer Hyperv::write_apic(Cpu& c, u32 index, u64 value) {
  LocalApic& apic = host_.apic_at(c.index);
  if (!apic.enabled()) return MsrAnswer::Refused;
  bool taken = true;
  if (!apic.x2apic()) {
    if (index == kIcr) apic.write(kApicIcrHigh, 4, value >> 32);
    apic.write(index == kEoi ? kApicEoi : index == kTpr ? kApicTpr : kApicIcrLow, 4, index == kEoi ? 0 : value & 0xFFFFFFFF);
  } else if (index == kEoi) {
    taken = apic.write_msr(x2apic(kApicEoi), 0);
  } else if (index == kTpr) {
    taken = apic.write_msr(x2apic(kApicTpr), value);
  } else {
    taken = apic.write_msr(x2apic(kApicIcrLow), (value & 0xFFFFFFFF) | value >> kXapicDestination << 32);
  }
  c.request_attention();
  return taken ? MsrAnswer::Done : MsrAnswer::Refused;
}

/// GUEST_IDLE: until an interrupt comes, whether it may be taken or not (IF). TLFS, Virtual Processor Idle Sleep State.
void Hyperv::go_idle(Cpu& c) {
  counted_.idles++;
  if (c.event_waits()) return;
  Vp& v = of(c);
  v.idle = true;
  v.idle_at = c.s.retired + 1;  // this instruction retires yet
  c.s.activity = Activity::Halted;
  c.request_attention();
}

bool Hyperv::idle(const Cpu& c) const {
  const Vp& v = *cpu_[c.index];
  return v.idle && c.s.activity == Activity::Halted && c.s.retired == v.idle_at;
}

void Hyperv::interrupt_waits(Cpu& c) {
  if (idle(c)) c.s.activity = Activity::Running;
  of(c).idle = false;
}

// Counts go on when a machine goes back: who idled then idles now.
void Hyperv::went_back(std::span<const u64> moved) {
  for (unsigned n = 0; n < cpu_.size(); n++)
    if (cpu_[n]->idle) cpu_[n]->idle_at += moved[n];
}

std::optional<u64> Hyperv::Vp::place() const {
  return assist & kEnable ? std::optional(assist & kAddress) : std::nullopt;
}

/// INIT: the processor's own registers.
void Hyperv::initialized(Cpu& c) {
  Vp& v = of(c);
  v.assist = v.idle_at = 0;
  v.offered = v.idle = false;
}

void Hyperv::reset() {
  guest_os_ = hypercall_ = reference_tsc_ = invariant_control_ = 0;
  tsc_sequence_ = 0;
  for (unsigned n = 0; n < cpu_.size(); n++) initialized(host_.cpu_at(n));
}

void Hyperv::sync(StateIo& io) {
  io.fields(guest_os_, hypercall_, reference_tsc_, invariant_control_, tsc_sequence_);
  for (auto& v : cpu_) io.fields(v->assist, v->offered, v->idle, v->idle_at);
}

void Hyperv::counts(std::vector<Count>& all) const {
  u64 eois = 0;
  for (const auto& v : cpu_) eois += v->made;
  all.insert(all.end(), {{"hyperv_calls", counted_.calls},
                         {"hyperv_calls_refused", counted_.refused},
                         {"hyperv_flushes", counted_.flushes},
                         {"hyperv_flush_destinations", counted_.flush_destinations},
                         {"hyperv_ipi_calls", counted_.ipi_calls},
                         {"hyperv_ipi_destinations", counted_.ipi_destinations},
                         {"hyperv_eois_in_memory", eois},
                         {"hyperv_idles", counted_.idles},
                         {"hyperv_spin_waits", counted_.spin_waits}});
}

}  // namespace callgate::paravirt
