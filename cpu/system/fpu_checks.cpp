// Who may use the x87, MMX, SSE and AVX units now, and how their exceptions come out.
// Ref: SDM 2A, Exception Classification; SDM 3A 2.5, Control Registers; SDM 1 8.7, Handling x87 FPU Exceptions.
#include "cpu/system/fpu_checks.h"

#include "cpu/system/msr.h"
#include "cpu/value_builder.h"
#include "cpu/x87/state.h"

namespace callgate {

void check_pending_x87(Cpu& c) {
  if (!x87_exception_pending(c.s.x87)) [[likely]]
    return;
  // With CR0.NE clear the board has seen FERR# already; its interrupt comes or is masked, and the processor goes on as
  // if IGNNE# were asserted.
  if (c.s.cr0 & kCr0Ne) raise_plain(Vector::MF, "a pending x87 exception (status {0:#x})", x87_status_word(c.s.x87));
}

void update_ferr(Cpu& c, bool was_pending) {
  const bool pending = x87_exception_pending(c.s.x87);
  if (pending == was_pending || (c.s.cr0 & kCr0Ne)) return;
  c.platform.set_ferr(pending);
  c.request_attention();
}

void require_x87(Cpu& c) {
  if (c.s.cr0 & (kCr0Em | kCr0Ts)) [[unlikely]]
    raise_plain(Vector::NM, "an x87 instruction with CR0.EM or CR0.TS (CR0 = {0:#x})", c.s.cr0);
}

void require_mmx(Cpu& c) {
  if (c.s.cr0 & (kCr0Em | kCr0Ts)) [[unlikely]] {
    if (c.s.cr0 & kCr0Em) raise_plain(Vector::UD, "an MMX instruction with CR0.EM");
    raise_plain(Vector::NM, "an MMX instruction with CR0.TS");
  }
  check_pending_x87(c);
}

void enter_mmx(Cpu& c) {
  c.s.x87.top = 0;
  c.s.x87.empty = 0;
}

void require_sse(Cpu& c) {
  if (c.s.cr0 & kCr0Em) [[unlikely]]
    raise_plain(Vector::UD, "an SSE instruction with CR0.EM");
  if (!(c.s.cr4 & kCr4Osfxsr)) [[unlikely]]
    raise_plain(Vector::UD, "an SSE instruction without CR4.OSFXSR");
  if (c.s.cr0 & kCr0Ts) [[unlikely]]
    raise_plain(Vector::NM, "an SSE instruction with CR0.TS");
}

void require_avx(Cpu& c) {
  if (!(c.s.cr4 & kCr4Osxsave)) raise_plain(Vector::UD, "an AVX instruction without CR4.OSXSAVE");
  constexpr u64 kBoth = kXcr0Sse | kXcr0Avx;
  if ((c.s.xcr0 & kBoth) != kBoth) raise_plain(Vector::UD, "an AVX instruction with XCR0 = {0:#x}", c.s.xcr0);
  if (c.s.cr0 & kCr0Ts) raise_plain(Vector::NM, "an AVX instruction with CR0.TS");
}

// MXCSR: flags in 5..0, DAZ 6, masks 12..7, RC 14..13, FTZ 15. SDM 1, MXCSR Control and Status Register.
fp::Env sse_environment(const Cpu& c) {
  fp::Env env;
  env.round = static_cast<fp::Round>(c.s.mxcsr >> 13 & 3);
  env.masks = c.s.mxcsr >> 7 & 0x3F;
  env.daz = c.s.mxcsr >> 6 & 1;
  env.ftz = c.s.mxcsr >> 15 & 1;
  return env;
}

void commit_sse_flags(Cpu& c, const fp::Env& env) {
  const u8 reported = fp::reported_flags(env);
  if (reported == 0) return;
  c.s.mxcsr |= reported;
  if (!(reported & ~env.masks & 0x3F)) [[likely]]
    return;
  if (!(c.s.cr4 & kCr4Osxmmexcpt)) raise_plain(Vector::UD, "an unmasked SSE exception without CR4.OSXMMEXCPT");
  raise_plain(Vector::XM, "an unmasked SSE exception (flags {0:#x}, MXCSR {1:#x})", reported, c.s.mxcsr);
}

}  // namespace callgate
