// KVM's hypercalls: VMCALL and VMMCALL with a number in RAX and arguments in RBX, RCX, RDX and RSI; the answer is in RAX.
// Ref: Linux, Documentation/virt/kvm/x86/hypercalls.rst; the numbers are of include/uapi/linux/kvm_para.h.
#include "paravirt/kvm.h"

namespace callgate::paravirt {

namespace {

enum Number : u64 { kVapicPollIrq = 1, kKickCpu = 5, kSendIpi = 10, kSchedYield = 11 };
constexpr i64 kEnosys = 1000, kEperm = 1, kEinval = 22;
// SDM 3A, Interrupt Command Register.
constexpr u64 kIcrLogical = 1u << 11, kIcrShorthand = 3u << 18;

}  // namespace

bool Kvm::hypercall(Cpu& c) {
  const bool wide = c.bits64();
  const auto argument = [&](Gpr r) { return wide ? c.s.gpr[r] : u64{c.gpr<u32>(r)}; };
  const u64 number = argument(RAX), a0 = argument(RBX), a1 = argument(RCX), a2 = argument(RDX), a3 = argument(RSI);
  i64 answer = 0;
  if (c.cpl() != 0) {
    answer = -kEperm;
  } else {
    switch (number) {
      case kVapicPollIrq: break;
      case kKickCpu: kick(a1); break;
      case kSendIpi: answer = send_ipi({a0, a1}, wide ? 64 : 32, a2, a3); break;
      case kSchedYield:
        counted_.yields++;
        host_.end_turn(c);
        break;
      default: answer = -kEnosys;
    }
  }
  if (wide) c.s.gpr[RAX] = static_cast<u64>(answer);
  else c.set_gpr<u32>(RAX, static_cast<u32>(answer));
  return true;
}

/// Ends the processor's HLT, or the next one that it begins. Whom there is not can't be kicked.
void Kvm::kick(u64 apic_id) {
  for (unsigned n = 0; n < cpu_.size(); n++) {
    if (host_.apic_at(n).id() != static_cast<u32>(apic_id)) continue;
    Cpu& target = host_.cpu_at(n);
    counted_.kicks++;
    if (target.s.activity == Activity::Halted) target.s.activity = Activity::Running;
    else if (target.s.activity == Activity::Running) cpu_[n]->kicked = true;
  }
}

/// Bit n of the bitmap is the processor with APIC id `first` + n. How many took the interrupt.
i64 Kvm::send_ipi(const u64 (&bitmap)[2], unsigned cluster, u64 first, u64 icr) {
  if (icr & (kIcrLogical | kIcrShorthand)) return -kEinval;
  ApicMessage message;
  message.mode = static_cast<DeliveryMode>(icr >> 8 & 7);
  message.vector = static_cast<u8>(icr);
  if (message.mode == DeliveryMode::ExtInt) return 0;
  counted_.ipi_calls++;
  i64 taken = 0;
  for (unsigned n = 0; n < cpu_.size(); n++) {
    LocalApic& apic = host_.apic_at(n);
    const u64 place = apic.id() - u64{static_cast<u32>(first)};
    if (apic.id() < static_cast<u32>(first) || place >= 2 * cluster || !(bitmap[place / cluster] >> place % cluster & 1)) continue;
    message.destination = apic.id();
    taken += apic.receive(message);
  }
  counted_.ipi_destinations += static_cast<u64>(taken);
  return taken;
}

}  // namespace callgate::paravirt
