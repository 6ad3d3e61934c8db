// What software asks the processor about itself: CPUID, time, extended control registers.
#include "cpu/semantics/fpu_state.h"
#include "cpu/system/helpers.h"
#include "cpu/system/msr.h"

namespace callgate {

u64 time_stamp_counter(Cpu& c) { return c.platform.now() + c.s.msr.tsc_adjust; }

namespace helpers {

namespace {

void set_edx_eax(Cpu& c, u64 value) {
  c.set_gpr<u32>(RAX, static_cast<u32>(value));
  c.set_gpr<u32>(RDX, static_cast<u32>(value >> 32));
}

void require_time_stamp(const Cpu& c) {
  if ((c.s.cr4 & kCr4Tsd) && c.cpl() != 0) raise(Vector::GP, 0, "RDTSC at CPL {0} with CR4.TSD", c.cpl());
}

void require_osxsave(const Cpu& c) {
  if (!(c.s.cr4 & kCr4Osxsave)) raise_plain(Vector::UD, "XGETBV or XSETBV without CR4.OSXSAVE");
}

}  // namespace

void cpuid(Cpu& c, const Insn&) {
  const u32 leaf = c.gpr<u32>(RAX);
  CpuidLeaf r = callgate::cpuid(c.model, c.index, leaf, c.gpr<u32>(RCX), c.s.cr4 & kCr4Osxsave, c.s.xcr0);
  if (leaf == 1) {
    if (!apic_enabled(c)) r.edx &= ~kCpuid1EdxApic;
    if (c.s.msr.misc_enable & kMiscEnableMonitor) r.ecx |= kCpuid1EcxMonitor;
    if (c.hypervisor != nullptr) r.ecx |= kCpuid1EcxHypervisor;
  }
  if (c.hypervisor != nullptr && leaf >= kHypervisorLeaves && leaf <= kLastHypervisorLeaf)
    r = c.hypervisor->cpuid(c, leaf, c.gpr<u32>(RCX));
  c.set_gpr<u32>(RAX, r.eax);
  c.set_gpr<u32>(RBX, r.ebx);
  c.set_gpr<u32>(RCX, r.ecx);
  c.set_gpr<u32>(RDX, r.edx);
}

void rdtsc(Cpu& c, const Insn&) {
  require_time_stamp(c);
  set_edx_eax(c, time_stamp_counter(c));
}

void rdtscp(Cpu& c, const Insn&) {
  require_time_stamp(c);
  set_edx_eax(c, time_stamp_counter(c));
  c.set_gpr<u32>(RCX, static_cast<u32>(c.s.msr.tsc_aux));
}

void vmcall(Cpu& c, const Insn&) {
  // No VMX here: without a hypervisor above, the instruction does not exist.
  if (c.hypervisor == nullptr || !c.hypervisor->hypercall(c)) raise_plain(Vector::UD, "VMCALL that no hypervisor takes");
}

void rdpmc(Cpu& c, const Insn&) {
  if (!(c.s.cr4 & kCr4Pce) && c.cpl() != 0) raise(Vector::GP, 0, "RDPMC at CPL {0} without CR4.PCE", c.cpl());
  raise(Vector::GP, 0, "RDPMC of counter {0:#x}: the model has no performance counters", c.gpr<u32>(RCX));
}

void xgetbv(Cpu& c, const Insn&) {
  require_osxsave(c);
  // "XCR1" is the components of XCR0 that are in use. SDM 1, 13.2.
  const u32 number = c.gpr<u32>(RCX);
  if (number > 1) raise(Vector::GP, 0, "XGETBV of XCR{0}", number);
  set_edx_eax(c, number == 0 ? c.s.xcr0 : c.s.xcr0 & components_in_use(c));
}

void xsetbv(Cpu& c, const Insn&) {
  require_osxsave(c);
  if (c.cpl() != 0) raise(Vector::GP, 0, "XSETBV at CPL {0}", c.cpl());
  if (c.gpr<u32>(RCX) != 0) raise(Vector::GP, 0, "XSETBV of XCR{0}", c.gpr<u32>(RCX));
  const u64 value = u64{c.gpr<u32>(RDX)} << 32 | c.gpr<u32>(RAX);
  if (!(value & kXcr0X87)) raise(Vector::GP, 0, "XCR0 := {0:#x} without x87", value);
  if ((value & kXcr0Avx) && !(value & kXcr0Sse)) raise(Vector::GP, 0, "XCR0 := {0:#x} has AVX without SSE", value);
  if (value & ~supported_xcr0(c.model)) raise(Vector::GP, 0, "XCR0 := {0:#x} has components that CPUID lacks", value);
  c.s.xcr0 = value;
  c.refresh();
}

}  // namespace helpers
}  // namespace callgate
