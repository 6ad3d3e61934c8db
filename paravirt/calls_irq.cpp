// Interrupts between processors, and waiting for them.
#include "paravirt/port_call.h"

namespace callgate::paravirt {

using namespace abi;

bool send_interrupt(Host& host, unsigned index, u8 vector) {
  LocalApic& apic = host.apic_at(index);
  ApicMessage message;
  message.destination = apic.id();
  message.vector = vector;
  return apic.accepts_interrupts() && apic.receive(message);
}

namespace calls {

// EOI()
Answer eoi(PortCall& call) {
  LocalApic& apic = call.host.apic_at(call.c.index);
  if (!apic.enabled()) return {kBadMode};
  constexpr u64 kEoiOffset = 0xB0;       // SDM 3A, Local APIC Register Address Map
  constexpr u32 kEoiMsr = 0x80B;         // SDM 3A, Local APIC Register Address Map Supported by x2APIC
  if (apic.x2apic()) apic.write_msr(kEoiMsr, 0);
  else apic.write(kEoiOffset, 4, 0);
  call.c.request_attention();
  return {};
}

// IPI(vector, processors, flags)
Answer ipi(PortCall& call) {
  const u64 vector = call.arg[0], cpus = call.arg[1], flags = call.arg[2];
  if (!call.host.apic_at(call.c.index).enabled()) return {kBadMode};
  if (flags & ~kIpiNmi) return {kInvalid, 2};
  const bool nmi = flags & kIpiNmi;
  if (!nmi && (vector < 16 || vector > 255)) return {kInvalid, 0};
  if (cpus & ~call.all_cpus()) return {kInvalid, 1};
  for (unsigned n = 0; n < call.host.cpus(); n++) {
    if (!(cpus >> n & 1)) continue;
    LocalApic& apic = call.host.apic_at(n);
    ApicMessage message;
    message.destination = apic.id();
    message.mode = nmi ? DeliveryMode::Nmi : DeliveryMode::Fixed;
    message.vector = nmi ? 0 : static_cast<u8>(vector);
    if (apic.enabled()) apic.receive(message);
  }
  return {};
}

// KICK(processors): those that sleep go on, the next sleep of the others ends at once.
Answer kick(PortCall& call) {
  const u64 cpus = call.arg[0];
  if (cpus & ~call.all_cpus()) return {kInvalid, 0};
  for (unsigned n = 0; n < call.host.cpus(); n++) {
    if (!(cpus >> n & 1)) continue;
    Cpu& target = call.host.cpu_at(n);
    PortCpu& p = *call.state.cpu[n];
    if (asleep(target, p)) {
      call.host.guest_clock().cancel(p.wake);
      wake(target, p);
    } else {
      p.kicked = true;
    }
  }
  return {};
}

// HALT_UNTIL(time or all ones for ever, flags)
Answer halt_until(PortCall& call) {
  const u64 until = call.wide ? call.arg[0] : call.arg[0] == 0xFFFFFFFF ? kNever : call.arg[0];
  if (call.arg[1] & ~kHaltEnable) return {kInvalid, 1};
  if (call.arg[1] & kHaltEnable) call.c.set_flags(kIF, kIF);
  if (until > call.c.platform.now()) sleep_until(call, until);
  return {};
}

}  // namespace calls
}  // namespace callgate::paravirt
