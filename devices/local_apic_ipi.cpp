// Local APIC: the interrupt command register, and which messages are for us.
#include "devices/local_apic.h"

namespace callgate {

bool LocalApic::matches(const ApicMessage& message) const {
  if (!enabled()) return false;
  if (message.destination == kApicBroadcast && !message.logical) return true;
  if (x2apic()) {
    if (message.destination == kApicBroadcast) return true;
    if (!message.logical) return message.destination == config_.id;
    const u32 ldr = ldr_register();
    return message.destination >> 16 == ldr >> 16 && (message.destination & ldr & 0xFFFF);
  }
  if (message.destination > 0xFF && message.destination != kApicBroadcast) return false;
  const u32 mda = message.destination & 0xFF;
  if (!message.logical) return mda == (config_.id & 0xFF);
  const u32 ldr = s_.ldr >> 24;
  switch (s_.dfr >> 28) {
    case 0xF:  // Flat.
      return mda & ldr;
    case 0x0:  // Cluster: cluster 15 means all.
      return (mda >> 4 == 0xF || mda >> 4 == ldr >> 4) && (mda & ldr & 0xF);
    default:
      return false;
  }
}

/// A fixed, edge-triggered interrupt to ourselves.
void LocalApic::self_ipi(u8 vector) {
  if (vector < 16) return error(kEsrSendIllegalVector);
  if (accepts_interrupts()) accept(vector, false);
}

/// Sends what the ICR says (SDM 3A, Interrupt Command Register, "Valid Combinations").
void LocalApic::send_ipi() {
  ApicMessage m;
  const u32 low = static_cast<u32>(s_.icr);
  const u32 high = static_cast<u32>(s_.icr >> 32);
  m.vector = static_cast<u8>(low);
  m.mode = static_cast<DeliveryMode>(bits(low, 10, 8));
  m.logical = bit(low, 11);
  m.destination = x2apic() ? high : high >> 24 == 0xFF ? kApicBroadcast : high >> 24;
  const u32 shorthand = static_cast<u32>(bits(low, 19, 18));

  switch (m.mode) {
    case DeliveryMode::Fixed:
    case DeliveryMode::LowestPriority:
      if (m.vector < 16) return error(kEsrSendIllegalVector);
      break;
    case DeliveryMode::Init:
      // INIT level de-assert only synchronised arbitration ids on the Pentium; it reaches nobody.
      if (bit(low, 15) && !bit(low, 14)) return;
      break;
    case DeliveryMode::Nmi:
    case DeliveryMode::Startup:
      break;
    default:
      log_.line(LogChannel::Interrupts, "lapic {}: IPI of delivery mode {} not sent", config_.id,
                static_cast<unsigned>(m.mode));
      return;
  }

  switch (shorthand) {
    case 0:
      bus_.deliver(m);
      return;
    case 3:
      bus_.deliver_to_others(m, this);
      return;
    default:
      break;
  }
  if (m.mode != DeliveryMode::Fixed) {
    log_.line(LogChannel::Interrupts, "lapic {}: only a fixed IPI may be sent to oneself (ICR {:#x})", config_.id, low);
    return;
  }
  if (shorthand == 2) bus_.deliver_to_others(m, this);
  self_ipi(m.vector);
}

}  // namespace callgate
