// FXSAVE, XSAVE and relatives: the layouts of saved floating-point state, what is checked before any of it is loaded, EMMS,
// and MXCSR. Refuses to know: which of the state components a model has (XCR0 says it).
// Refs: SDM 1, 10.5 FXSAVE and FXRSTOR; SDM 1 ch. 13, Managing State Using the XSAVE Feature Set.
#include "cpu/semantics/fpu_state.h"

#include <cstddef>
#include <cstring>

#include "cpu/system/fpu_checks.h"
#include "cpu/system/msr.h"
#include "cpu/value_builder.h"
#include "cpu/x87/state.h"

namespace callgate::helpers {

namespace {

constexpr u32 kMxcsrInitial = 0x1F80;
constexpr u32 kMxcsrMask = 0xFFFF;  // every bit that SSE2 defines, DAZ included
constexpr u16 kX87ControlInitial = 0x37F;

/// The 512 bytes of FXSAVE, which are XSAVE's legacy region too. SDM 1, Layout of the Legacy Region of an XSAVE Area.
struct LegacyArea {
  u16 control;
  u16 status;
  u8 not_empty;  ///< the abridged tag word: bit i for Ri
  u8 reserved0;
  u16 opcode;
  u64 instruction_pointer;  ///< 64 bits with REX.W, else 32 and the selector
  u64 data_pointer;
  u32 mxcsr;
  u32 mxcsr_mask;
  struct {
    u64 significand;
    u16 sign_exponent;
    u16 reserved[3];
  } st[8];
  V128 xmm[16];
  u8 reserved1[48];
  u8 available[48];
};
static_assert(sizeof(LegacyArea) == 512 && offsetof(LegacyArea, mxcsr) == 24 && offsetof(LegacyArea, st) == 32 &&
              offsetof(LegacyArea, xmm) == 160);

/// The 64 bytes after it. SDM 1, XSAVE Header.
struct Header {
  u64 xstate_bv;
  u64 xcomp_bv;
  u64 reserved[6];
};
constexpr u64 kCompacted = u64{1} << 63;  ///< in XCOMP_BV: components lie side by side, those that XCOMP_BV names
constexpr u64 kXstateX87 = kXcr0X87, kXstateSse = kXcr0Sse, kXstateAvx = kXcr0Avx;
constexpr unsigned kHeaderOffset = 512;
/// The upper halves of the YMM registers: CPUID leaf 0Dh, sub-leaf 2. In the compacted format too, as there is no component
/// between the header and them.
constexpr unsigned kAvxOffset = kXsaveAvxOffset;

/// XMM8 to XMM15 exist in 64-bit mode only: elsewhere they are neither saved nor loaded.
unsigned vector_registers(const Cpu& c) { return c.bits64() ? 16 : 8; }
SegReg segment(const Insn& i) { return static_cast<SegReg>(i.seg); }

u64 saved_pointer(const Insn& i, u64 offset, u16 selector) {
  return i.rex_w ? offset : (offset & 0xFFFFFFFF) | u64{selector} << 32;
}
void load_pointer(const Insn& i, u64 saved, u64& offset, u16& selector) {
  offset = i.rex_w ? saved : saved & 0xFFFFFFFF;
  selector = 0;  // the model has deprecated FCS and FDS: they are always saved as 0 (CPUID 7.EBX[13])
}

void save_x87(const Cpu& c, const Insn& i, LegacyArea& area) {
  const X87State& x = c.s.x87;
  area.control = x.control;
  area.status = x87_status_word(x);
  area.not_empty = static_cast<u8>(~x.empty);
  area.reserved0 = 0;
  area.opcode = x.opcode;
  area.instruction_pointer = saved_pointer(i, x.instruction_pointer, x.instruction_selector);
  area.data_pointer = saved_pointer(i, x.data_pointer, x.data_selector);
  for (unsigned n = 0; n < 8; n++) {
    const fp::F80& r = x.r[(x.top + n) & 7];
    area.st[n] = {r.significand, r.sign_exponent, {}};
  }
}

void load_x87(Cpu& c, const Insn& i, const LegacyArea& area) {
  X87State& x = c.s.x87;
  const bool was_pending = x87_exception_pending(x);
  x.control = x87_control_word(area.control);
  set_x87_status_word(x, area.status);
  x.empty = static_cast<u8>(~area.not_empty);
  x.opcode = area.opcode & 0x7FF;
  load_pointer(i, area.instruction_pointer, x.instruction_pointer, x.instruction_selector);
  load_pointer(i, area.data_pointer, x.data_pointer, x.data_selector);
  for (unsigned n = 0; n < 8; n++) x.r[(x.top + n) & 7] = {area.st[n].significand, area.st[n].sign_exponent};
  update_ferr(c, was_pending);
}

void check_mxcsr(u32 value) {
  if (value & ~kMxcsrMask) raise(Vector::GP, 0, "MXCSR := {0:#x} sets reserved bits", value);
}

/// The mask of components that XSAVE or XRSTOR is asked for.
u64 requested_components(Cpu& c) { return c.s.xcr0 & (u64{c.gpr<u32>(RDX)} << 32 | c.gpr<u32>(RAX)); }

void require_xsave(const Cpu& c) {
  if (!(c.s.cr4 & kCr4Osxsave)) raise_plain(Vector::UD, "XSAVE or XRSTOR without CR4.OSXSAVE");
  if (c.s.cr0 & kCr0Ts) raise_plain(Vector::NM, "XSAVE or XRSTOR with CR0.TS");
}

enum class SaveForm : u8 {
  Standard,   ///< XSAVE: every requested component is written to its place, in use or not
  Optimized,  ///< XSAVEOPT: only those in use; MXCSR goes with the request all the same
  Compacted,  ///< XSAVEC: only those in use, MXCSR with SSE's; the header says which places there are
};

// Of the header only XSTATE_BV's bits of requested components change, but XSAVEC writes the format too. What was restored
// from the same area is written again: there is no modified optimization to tell. SDM 1, 13.7, 13.9, 13.10.
void save_components(Cpu& c, const Insn& i, SaveForm form) {
  require_xsave(c);
  const SegReg seg = segment(i);
  const u64 at = effective_address(c, i);
  require_aligned(c, seg, at, 64, Access::Write);
  const u64 requested = requested_components(c);
  const u64 in_use = components_in_use(c) & requested;
  const u64 written = form == SaveForm::Standard ? requested : in_use;
  const unsigned count = vector_registers(c);
  const unsigned size = kHeaderOffset + sizeof(Header) + (requested & kXstateAvx ? 16 * 16 : 0);
  c.probe_write(seg, at, size);

  LegacyArea area;
  if (written & kXstateX87) {
    save_x87(c, i, area);
    c.store_bytes(seg, at, &area, offsetof(LegacyArea, mxcsr));
    c.store_bytes(seg, at + offsetof(LegacyArea, st), &area.st, sizeof area.st);
  }
  if (form == SaveForm::Compacted ? written & kXstateSse : requested & (kXstateSse | kXstateAvx)) {
    c.store<u32>(seg, at + offsetof(LegacyArea, mxcsr), c.s.mxcsr);
    c.store<u32>(seg, at + offsetof(LegacyArea, mxcsr_mask), kMxcsrMask);
  }
  for (unsigned n = 0; n < count; n++) {
    if (written & kXstateSse) c.store<V128>(seg, at + offsetof(LegacyArea, xmm) + 16 * n, c.s.vec[n].lo);
    if (written & kXstateAvx) c.store<V128>(seg, at + kAvxOffset + 16 * n, c.s.vec[n].hi);
  }
  const u64 xstate_bv = at + kHeaderOffset;
  if (form == SaveForm::Compacted) {
    c.store<u64>(seg, xstate_bv, in_use);
    c.store<u64>(seg, xstate_bv + offsetof(Header, xcomp_bv), requested | kCompacted);
  } else {
    c.store<u64>(seg, xstate_bv, (c.load<u64>(seg, xstate_bv) & ~requested) | in_use);
  }
}

/// What XRSTOR refuses in a header. SDM 1, 13.8.1 and 13.8.2.
void check_header(const Cpu& c, const Header& h) {
  const bool compacted = h.xcomp_bv & kCompacted;
  const u64 components = h.xcomp_bv & ~kCompacted;
  u64 reserved = h.reserved[0];
  for (unsigned n = 1; n < 6; n++) reserved |= compacted ? h.reserved[n] : 0;
  if (reserved != 0 || (!compacted && components != 0) || (components & ~c.s.xcr0))
    raise(Vector::GP, 0, "XRSTOR of a header with XCOMP_BV = {0:#x}, reserved bits {1:#x}", h.xcomp_bv, reserved);
  if (h.xstate_bv & ~(compacted ? components : c.s.xcr0))
    raise(Vector::GP, 0, "XRSTOR with XSTATE_BV = {0:#x} beyond XCR0 = {1:#x} or XCOMP_BV", h.xstate_bv, c.s.xcr0);
}

}  // namespace

// The manual lets a processor say "in use" of all; ours says what is true, the same on every engine.
u64 components_in_use(const Cpu& c) {
  u64 in_use = 0;
  const X87State& x = c.s.x87;
  bool registers = false;
  for (const fp::F80& r : x.r) registers |= !(r == fp::F80{});
  if (registers || x.control != kX87ControlInitial || x87_status_word(x) != 0 || x.empty != 0xFF || x.opcode != 0 ||
      x.instruction_pointer != 0 || x.data_pointer != 0 || x.instruction_selector != 0 || x.data_selector != 0)
    in_use |= kXstateX87;
  for (unsigned n = 0; n < vector_registers(c); n++) {
    if (c.s.vec[n].lo.q[0] | c.s.vec[n].lo.q[1]) in_use |= kXstateSse;
    if (c.s.vec[n].hi.q[0] | c.s.vec[n].hi.q[1]) in_use |= kXstateAvx;
  }
  if (c.s.mxcsr != kMxcsrInitial) in_use |= kXstateSse;
  return in_use;
}

void emms(Cpu& c, const Insn&) {
  c.s.x87.top = 0;
  c.s.x87.empty = 0xFF;
}

void ldmxcsr(Cpu& c, const Insn& i) {
  const u32 value = c.load<u32>(segment(i), effective_address(c, i));
  check_mxcsr(value);
  c.s.mxcsr = value;
}

void stmxcsr(Cpu& c, const Insn& i) { c.store<u32>(segment(i), effective_address(c, i), c.s.mxcsr); }

// The bytes after the last register that exists in this mode are not written.
void fxsave(Cpu& c, const Insn& i) {
  const u64 at = effective_address(c, i);
  require_aligned(c, segment(i), at, 16, Access::Write);
  c.probe_write(segment(i), at, sizeof(LegacyArea));
  LegacyArea area;
  save_x87(c, i, area);
  area.mxcsr = c.s.mxcsr;
  area.mxcsr_mask = kMxcsrMask;
  const unsigned count = vector_registers(c);
  for (unsigned n = 0; n < count; n++) area.xmm[n] = c.s.vec[n].lo;
  c.store_bytes(segment(i), at, &area, offsetof(LegacyArea, xmm) + 16 * count);
}

void fxrstor(Cpu& c, const Insn& i) {
  const u64 at = effective_address(c, i);
  require_aligned(c, segment(i), at, 16, Access::Read);
  LegacyArea area;
  c.load_bytes(segment(i), at, &area, sizeof area);
  check_mxcsr(area.mxcsr);
  load_x87(c, i, area);
  c.s.mxcsr = area.mxcsr;
  for (unsigned n = 0; n < vector_registers(c); n++) c.s.vec[n].lo = area.xmm[n];
}

void xsave(Cpu& c, const Insn& i) { save_components(c, i, SaveForm::Standard); }
void xsaveopt(Cpu& c, const Insn& i) { save_components(c, i, SaveForm::Optimized); }
void xsavec(Cpu& c, const Insn& i) { save_components(c, i, SaveForm::Compacted); }

// A requested component that XSTATE_BV doesn't have gets its initial state. MXCSR is loaded from a standard area whenever SSE
// or AVX is requested; to the compacted format it is a part of SSE.
void xrstor(Cpu& c, const Insn& i) {
  require_xsave(c);
  const SegReg seg = segment(i);
  const u64 at = effective_address(c, i);
  require_aligned(c, seg, at, 64, Access::Read);
  const u64 requested = requested_components(c);
  const unsigned count = vector_registers(c);

  struct {
    LegacyArea legacy;
    Header header;
    V128 upper[16];
  } area{};
  c.load_bytes(seg, at, &area, kAvxOffset);
  const Header& h = area.header;
  check_header(c, h);
  const bool standard = !(h.xcomp_bv & kCompacted);
  if (requested & kXstateAvx & (standard ? ~u64{0} : h.xstate_bv))  // from the compacted format only what is there
    c.load_bytes(seg, at + kAvxOffset, area.upper, sizeof area.upper);
  const bool load_mxcsr = standard ? requested & (kXstateSse | kXstateAvx) : requested & h.xstate_bv & kXstateSse;
  if (load_mxcsr) check_mxcsr(area.legacy.mxcsr);

  if (requested & kXstateX87) {
    if (h.xstate_bv & kXstateX87) {
      load_x87(c, i, area.legacy);
    } else {
      const bool was_pending = x87_exception_pending(c.s.x87);
      c.s.x87 = X87State{};
      update_ferr(c, was_pending);
    }
  }
  if (load_mxcsr) c.s.mxcsr = area.legacy.mxcsr;
  else if (requested & kXstateSse) c.s.mxcsr = kMxcsrInitial;
  for (unsigned n = 0; n < count; n++) {
    if (requested & kXstateSse) c.s.vec[n].lo = h.xstate_bv & kXstateSse ? area.legacy.xmm[n] : V128{};
    if (requested & kXstateAvx) c.s.vec[n].hi = h.xstate_bv & kXstateAvx ? area.upper[n] : V128{};
  }
}

}  // namespace callgate::helpers
