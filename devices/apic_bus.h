// The APIC bus: carries interrupt messages from IPIs, the I/O APIC and MSIs to the local APICs, and EOIs back.
// Knows who matches a destination; knows nothing of priorities inside a local APIC or of what a processor does.
// Ref: SDM 3A, "Advanced Programmable Interrupt Controller", sections on message destination and MSI.
#pragma once

#include <vector>

#include "base/seam.h"

namespace callgate {

class LocalApic;

/// The ICR's, the redirection entry's and the MSI's delivery mode field (SDM 3A, Interrupt Command Register).
enum class DeliveryMode : u8 {
  Fixed = 0,
  LowestPriority = 1,
  Smi = 2,
  Reserved = 3,
  Nmi = 4,
  Init = 5,
  Startup = 6,
  ExtInt = 7
};

/// The destination that means every local APIC. Sources with 8-bit destinations send 0xFF as this.
constexpr u32 kApicBroadcast = 0xFFFF'FFFF;

/// One message on the bus.
struct ApicMessage {
  u32 destination = 0;  ///< an APIC id (physical) or a message destination address (logical), or kApicBroadcast
  bool logical = false;
  DeliveryMode mode = DeliveryMode::Fixed;
  u8 vector = 0;
  bool level_triggered = false;

  /// The message of a write to FEEx_xxxxh (SDM 3A, Message Signalled Interrupts).
  static ApicMessage from_msi(u64 address, u32 data);
};

/// What a local APIC asks of its processor. Implemented by the board.
class CpuSignals {
 public:
  virtual ~CpuSignals() = default;
  virtual void nmi() = 0;
  /// The INIT signal. The local APIC has already put itself into its state after INIT.
  virtual void init() = 0;
  /// A start-up IPI; only a processor that waits for one acts on it. Execution starts at vector * 4096.
  virtual void startup(u8 vector) = 0;
  /// LocalApic::pending() changed to `asserted`.
  virtual void interrupt_line(bool asserted) = 0;
};

/// Hears the EOI of level-triggered vectors (an I/O APIC).
class EoiListener {
 public:
  virtual ~EoiListener() = default;
  virtual void end_of_interrupt(u8 vector) = 0;
  /// A local APIC became ready to take what was refused before.
  virtual void retry() = 0;
};

/// Connects the local APICs, in the order of their processors. Keeps no state of its own.
class ApicBus {
 public:
  void attach(LocalApic& apic) { apics_.push_back(&apic); }
  void attach(EoiListener& listener) { listeners_.push_back(&listener); }

  /// Sends to all that match the destination (or to the one of lowest priority). True if one took it.
  bool deliver(const ApicMessage& message);
  /// Sends to all but `except`, whatever the message's destination. True if one took it.
  bool deliver_to_others(const ApicMessage& message, const LocalApic* except);
  void broadcast_eoi(u8 vector);
  void retry();

 private:
  std::vector<LocalApic*> apics_;
  std::vector<EoiListener*> listeners_;
};

}  // namespace callgate
