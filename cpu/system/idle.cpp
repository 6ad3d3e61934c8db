// Waiting for an interrupt.
#include "cpu/system/helpers.h"
#include "cpu/system/msr.h"

namespace callgate::helpers {

namespace {

/// The model's CPUID leaves MONITOR out, because a guest's idle loop is best off with HLT here; software that wants it
/// all the same sets IA32_MISC_ENABLE[18], as the manual has it: then the instructions exist and CPUID shows them.
void require_monitor(const Cpu& c) {
  if (!(c.s.msr.misc_enable & kMiscEnableMonitor))
    raise_plain(Vector::UD, "MONITOR or MWAIT while IA32_MISC_ENABLE[18] is clear");
  if (c.cpl() != 0) raise_plain(Vector::UD, "MONITOR or MWAIT at CPL {0}", c.cpl());
}

}  // namespace

void hlt(Cpu& c, const Insn&) {
  if (c.hypervisor != nullptr && c.hypervisor->takes_wakeup(c)) return;
  c.s.activity = Activity::Halted;
  c.request_attention();
}

void monitor(Cpu& c, const Insn& i) {
  require_monitor(c);
  if (c.gpr<u32>(RCX) != 0) raise(Vector::GP, 0, "MONITOR with extensions {0:#x}", c.gpr<u32>(RCX));
  // A load of one byte at DS:rAX, with its faults.
  const u64 address = c.s.gpr[RAX] << i.ea_shift >> i.ea_shift;
  c.load<u8>(static_cast<SegReg>(i.seg), address);
}

/// Halts like HLT. Only a single processor can: with others, a store of theirs must end the wait, and instead of
/// watching for it we use the manual's freedom to leave MWAIT at any time. ECX[0] (wake although IF = 0) isn't
/// enumerated in CPUID leaf 5: #GP.
void mwait(Cpu& c, const Insn& i) {
  require_monitor(c);
  if (c.gpr<u32>(RCX) != 0) raise(Vector::GP, 0, "MWAIT with extensions {0:#x}", c.gpr<u32>(RCX));
  if (c.model.cpu_count == 1) hlt(c, i);
}

}  // namespace callgate::helpers
