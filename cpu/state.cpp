#include "cpu/state.h"

namespace callgate {

namespace {

void sync(StateIo& io, Segment& seg) { io.fields(seg.base, seg.limit, seg.rights, seg.selector); }
void sync(StateIo& io, TableRegister& table) { io.fields(table.base, table.limit); }

void sync(StateIo& io, Msrs& m) {
  io.fields(m.efer, m.star, m.lstar, m.cstar, m.sfmask, m.kernel_gs_base, m.tsc_aux);
  io.fields(m.sysenter_cs, m.sysenter_esp, m.sysenter_eip, m.tsc_adjust, m.pat, m.mtrr_def_type);
  io.fields(m.mtrr_fixed, m.mtrr_variable, m.misc_enable, m.debugctl, m.spec_ctrl, m.xss);
}

void sync(StateIo& io, X87State& x) {
  for (auto& r : x.r) io.fields(r.significand, r.sign_exponent);
  io.fields(x.control, x.status, x.top, x.empty, x.opcode, x.instruction_pointer, x.data_pointer);
  io.fields(x.instruction_selector, x.data_selector);
  io.limit(x.top, u8{7}, "x87: the top of the stack is out of range");
}

}  // namespace

void CpuState::sync(StateIo& io) {
  io.section("cpu");
  for (unsigned i = 0; i < 16; i++) io.field(gpr[i]);
  io.fields(rip, retired);
  // Two years at a nanosecond each: far from where the processors' sum would overflow.
  io.limit(retired, u64{1} << 56, "cpu: more instructions than there can be");
  u32 rflags = flags.value();
  io.field(rflags);
  if (io.loading()) {
    flags.set_value(rflags);
    gpr[kGprZero] = 0;
    gpr[kGprRip] = rip;
  }
  for (auto& s : seg) callgate::sync(io, s);
  callgate::sync(io, ldtr);
  callgate::sync(io, tr);
  callgate::sync(io, gdtr);
  callgate::sync(io, idtr);
  io.fields(cr0, cr2, cr3, cr4, xcr0, pdpte, dr, dr6, dr7, cpl);
  io.limit(cpl, u8{3}, "cpu: the privilege level is out of range");
  io.field(activity);
  io.limit(activity, Activity::Shutdown, "cpu: an unknown activity");
  io.fields(sti_shadow, mov_ss_shadow, nmi_blocked, nmi_pending, init_pending, sipi_pending, sipi_vector, pending_db);
  callgate::sync(io, msr);
  callgate::sync(io, x87);
  io.field(mxcsr);
  for (auto& v : vec) io.fields(v.lo.q, v.hi.q);
  io.field(random);
}

}  // namespace callgate
