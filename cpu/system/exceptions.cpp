// Exceptions: from a fault that an instruction raised to its handler, the double fault or shutdown; and the memory of
// the last faults, so that a triple fault can be told in words. Ref: SDM 3A 6.15, "Interrupt 8: Double Fault
// Exception".
#include "cpu/system/exceptions.h"

#include <fmt/format.h>

#include "cpu/system/debug.h"

namespace callgate {

namespace {

/// SDM 3A, Table 6-4: Interrupt and Exception Classes.
enum class FaultClass : u8 { Benign, Contributory, PageFault, DoubleFault };

FaultClass class_of(Vector v) {
  switch (v) {
    case Vector::DE:
    case Vector::TS:
    case Vector::NP:
    case Vector::SS:
    case Vector::GP: return FaultClass::Contributory;
    case Vector::PF: return FaultClass::PageFault;
    case Vector::DF: return FaultClass::DoubleFault;
    default: return FaultClass::Benign;
  }
}

/// SDM 3A, Table 6-5: what a second fault during the delivery of a first one becomes.
enum class Second : u8 { Serial, DoubleFault, Shutdown };

Second combine(Vector first, Vector second) {
  const FaultClass a = class_of(first), b = class_of(second);
  if (b == FaultClass::Benign || a == FaultClass::Benign) return Second::Serial;
  if (a == FaultClass::DoubleFault) return Second::Shutdown;
  if (a == FaultClass::Contributory && b == FaultClass::PageFault) return Second::Serial;
  return Second::DoubleFault;
}

void shut_down(Cpu& c) {
  c.s.activity = Activity::Shutdown;
  c.log.line(LogChannel::Faults, "triple fault: the processor shuts down");
  c.request_attention();
  c.platform.shutdown();
}

}  // namespace

std::string describe(const FaultRecord& r) {
  const Fault& f = r.fault;
  std::string what = name_of(f.vector);
  if (f.has_error_code) what += fmt::format("({:#x})", f.error_code);
  if (f.vector == Vector::PF) what += fmt::format(" for {:#x}", f.address);
  return fmt::format("{} at {:#x}:{:#x} (count {}): {}", what, r.cs, r.rip, r.retired, f.sentence());
}

void Cpu::record_fault(const Fault& fault) {
  const FaultRecord record{fault, s.rip, s.seg[CS].selector, s.retired};
  faults_[fault_count_++ % std::size(faults_)] = record;
  if (log.on(LogChannel::Faults)) [[unlikely]]
    log.line(LogChannel::Faults, "{}", describe(record));
}

std::vector<FaultRecord> Cpu::recent_faults() const {
  constexpr u64 kKept = std::size(decltype(faults_){});
  std::vector<FaultRecord> records;
  for (u64 n = fault_count_ > kKept ? fault_count_ - kKept : 0; n < fault_count_; n++)
    records.push_back(faults_[n % kKept]);
  return records;
}

void Cpu::deliver_fault(const Fault& original) {
  Fault fault = original;
  // The instruction will run again, and hit its watchpoints again; what a MOV SS before it had hit is lost, as on
  // processors. Otherwise a #DB could enter on top of the fault's own handler.
  s.pending_db = 0;
  for (;;) {
    record_fault(fault);
    if (fault.vector == Vector::PF) s.cr2 = fault.address;
    // The image of a fault has RF set, so that a code breakpoint on the instruction isn't hit again after the handler;
    // a breakpoint's own #DB leaves that to the debugger. SDM 3B 17.3.1.1.
    if (fault.vector != Vector::DB && fault.vector != Vector::DF) s.flags.assign(kRF, true);
    try {
      deliver_event(static_cast<u8>(fault.vector), EventKind::Exception, fault.has_error_code, fault.error_code, s.rip);
      s.rip = next_rip();
      // The first instruction of the handler has the same count as the one that faulted, and an engine may not note it.
      trail_[s.retired % kTrail] = {};
      return;
    } catch (const Fault& second) {
      switch (combine(fault.vector, second.vector)) {
        case Second::Serial: fault = second; break;
        case Second::DoubleFault: {
          record_fault(second);
          if (second.vector == Vector::PF) s.cr2 = second.address;
          const u64 first = static_cast<u64>(fault.vector);
          fault = Fault{Vector::DF, true, 0, 0,
                        Reason{"{1:v}({2:#x}) while {0:v} was delivered",
                               {first, static_cast<u64>(second.vector), second.error_code}}};
          break;
        }
        case Second::Shutdown:
          record_fault(second);
          if (second.vector == Vector::PF) s.cr2 = second.address;
          shut_down(*this);
          return;
      }
    }
  }
}

}  // namespace callgate
