#include "devices/apic_bus.h"

#include "base/bits.h"
#include "devices/local_apic.h"

namespace callgate {

ApicMessage ApicMessage::from_msi(u64 address, u32 data) {
  ApicMessage m;
  const u32 destination = static_cast<u32>(bits(address, 19, 12));
  m.destination = destination == 0xFF ? kApicBroadcast : destination;
  // The destination mode bit counts only with the redirection hint set; then the lowest priority one of the
  // matching processors is asked for, which the delivery mode says again.
  m.logical = bit(address, 2);
  m.mode = static_cast<DeliveryMode>(bits(data, 10, 8));
  m.vector = static_cast<u8>(data);
  m.level_triggered = bit(data, 15);
  return m;
}

bool ApicBus::deliver(const ApicMessage& message) {
  if (message.mode == DeliveryMode::LowestPriority) {
    LocalApic* best = nullptr;
    for (LocalApic* apic : apics_)
      if (apic->matches(message) && apic->accepts_interrupts() && (!best || apic->ppr() < best->ppr())) best = apic;
    return best && best->receive(message);
  }
  bool taken = false;
  for (LocalApic* apic : apics_)
    if (apic->matches(message)) taken |= apic->receive(message);
  return taken;
}

bool ApicBus::deliver_to_others(const ApicMessage& message, const LocalApic* except) {
  if (message.mode == DeliveryMode::LowestPriority) {
    LocalApic* best = nullptr;
    for (LocalApic* apic : apics_)
      if (apic != except && apic->accepts_interrupts() && (!best || apic->ppr() < best->ppr())) best = apic;
    return best && best->receive(message);
  }
  bool taken = false;
  for (LocalApic* apic : apics_)
    if (apic != except) taken |= apic->receive(message);
  return taken;
}

void ApicBus::broadcast_eoi(u8 vector) {
  for (EoiListener* listener : listeners_) listener->end_of_interrupt(vector);
}

void ApicBus::retry() {
  for (EoiListener* listener : listeners_) listener->retry();
}

}  // namespace callgate
