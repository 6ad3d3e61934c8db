// Between two instructions: which of the waiting events is taken. Knows nothing of how it enters.
// Ref: SDM 3A, Table 6-2 "Priority Among Concurrent Events".
#include "cpu/system/debug.h"
#include "cpu/system/segments.h"

namespace callgate {

namespace {

/// What is to be done at this boundary, highest priority first.
enum class Due : u8 { Nothing, Init, StartUp, DebugTrap, Nmi, Interrupt };

Due next_due(Cpu& c) {
  const CpuState& s = c.s;
  if (s.init_pending) return Due::Init;
  if (s.activity == Activity::WaitForSipi) return s.sipi_pending ? Due::StartUp : Due::Nothing;
  if (s.activity == Activity::Shutdown) return Due::Nothing;
  if (s.mov_ss_shadow) return Due::Nothing;
  if (s.pending_db != 0) return Due::DebugTrap;
  if (s.nmi_pending && !s.nmi_blocked) return Due::Nmi;
  if (s.flags.test(kIF) && !s.sti_shadow && c.platform.interrupt_pending()) return Due::Interrupt;
  return Due::Nothing;
}

/// SDM 3A 8.4.2: a start-up IPI makes the processor run at vector * 4 KiB in real-address mode.
void start_up(Cpu& c) {
  c.s.sipi_pending = false;
  c.s.activity = Activity::Running;
  Segment& cs = c.s.seg[CS];
  cs.selector = static_cast<u16>(c.s.sipi_vector << 8);
  cs.base = u64{c.s.sipi_vector} << 12;
  c.s.rip = c.next_rip() = 0;
  c.refresh();
}

void enter(Cpu& c, u8 vector, EventKind kind) {
  c.s.activity = Activity::Running;
  try {
    c.deliver_event(vector, kind, false, 0, c.s.rip);
    c.s.rip = c.next_rip();
  } catch (const Fault& fault) {
    c.deliver_fault(fault);
  }
}

void service(Cpu& c, Due due) {
  switch (due) {
    case Due::Nothing: break;
    case Due::Init: {
      // The start-up IPI may have come already: the sender ran its whole sequence in one quantum.
      const bool sipi = c.s.sipi_pending;
      const u8 vector = c.s.sipi_vector;
      c.reset(true);
      c.s.init_pending = false;
      c.s.sipi_pending = sipi;
      c.s.sipi_vector = vector;
      c.s.activity = c.index == 0 ? Activity::Running : Activity::WaitForSipi;
      break;
    }
    case Due::StartUp: start_up(c); break;
    case Due::DebugTrap: {
      const u32 bits = c.s.pending_db;
      c.s.pending_db = 0;
      take_debug_trap(c, bits);
      enter(c, static_cast<u8>(Vector::DB), EventKind::Exception);
      break;
    }
    case Due::Nmi:
      c.s.nmi_pending = false;
      c.s.nmi_blocked = true;
      enter(c, static_cast<u8>(Vector::NMI), EventKind::External);
      break;
    case Due::Interrupt: {
      const u8 vector = c.platform.acknowledge_interrupt();
      c.log.line(LogChannel::Interrupts, "interrupt {:#x} at {:#x}:{:#x} (count {})", vector, c.s.seg[CS].selector,
                 c.s.rip, c.s.retired);
      enter(c, vector, EventKind::External);
      break;
    }
  }
}

}  // namespace

bool Cpu::event_ready() { return next_due(*this) != Due::Nothing; }

bool Cpu::event_waits() {
  return s.init_pending || s.pending_db != 0 || s.nmi_pending || platform.interrupt_pending();
}

bool Cpu::service_events() {
  // A start-up IPI is for a processor that waits for one; any other ignores it.
  if (s.activity != Activity::WaitForSipi && !s.init_pending) s.sipi_pending = false;
  // Several can enter before the first handler's first instruction (a trap, then an NMI). The bound is for a guest
  // whose handlers let the same interrupt in again at once, for ever.
  constexpr unsigned kMostAtOnce = 4;
  bool any = false;
  for (unsigned n = 0; n < kMostAtOnce; n++) {
    const Due due = next_due(*this);
    if (due == Due::Nothing) break;
    service(*this, due);
    any = true;
  }
  return any;
}

}  // namespace callgate
