// Instructions that load LDTR and TR or ask about descriptors: LLDT, LTR, SLDT, STR, LAR, LSL, VERR, VERW, ARPL.
#include "cpu/system/segments.h"
#include "cpu/system/transfer_helpers.h"

namespace callgate::helpers {

namespace {

void check_umip(Cpu& c, const char* reason) {
  if (c.s.cr4 & kCr4Umip && c.cpl() > 0) raise(Vector::GP, 0, reason, c.cpl());
}

constexpr u32 types(std::initializer_list<unsigned> list) {
  u32 mask = 0;
  for (const unsigned t : list) mask |= 1u << t;
  return mask;
}
// SDM 2, LAR and LSL: the system descriptors that they accept, outside and in long mode.
constexpr u32 kLarLegacy = types({1, 2, 3, 4, 5, 9, 11, 12}), kLarLong = types({2, 9, 11, 12});
constexpr u32 kLslLegacy = types({1, 2, 3, 9, 11}), kLslLong = types({2, 9, 11});

/// The descriptor of `selector` if LAR, LSL, VERR or VERW may see it at all; `system` are the system types allowed.
std::optional<Descriptor> visible_descriptor(Cpu& c, u16 selector, u32 system) {
  if (is_null(selector)) return std::nullopt;
  const auto d = find_descriptor(c, selector);
  if (!d) return std::nullopt;
  if (d->is_system() && !(system >> d->type() & 1)) return std::nullopt;
  if (!d->conforming() && (c.cpl() > d->dpl() || (selector & 3u) > d->dpl())) return std::nullopt;
  return d;
}

}  // namespace

void sldt(Cpu& c, const Insn& i) {
  check_umip(c, "SLDT at CPL {0} with CR4.UMIP");
  write_selector(c, i, c.s.ldtr.selector);
}

void str(Cpu& c, const Insn& i) {
  check_umip(c, "STR at CPL {0} with CR4.UMIP");
  write_selector(c, i, c.s.tr.selector);
}

void lldt(Cpu& c, const Insn& i) { load_ldtr(c, read_selector(c, i), Vector::GP); }

void ltr(Cpu& c, const Insn& i) {
  const u16 selector = read_selector(c, i);
  const u32 error = selector_error(selector);
  if (is_null(selector)) raise(Vector::GP, 0, "LTR with the null selector");
  if (selector & 4) raise(Vector::GP, error, "LTR: selector {0:#x} is not in the GDT", selector);
  const Descriptor d = fetch_descriptor(c, selector, Vector::GP);
  const bool available =
      d.is_system() && (d.type() == kTssAvailable || (d.type() == kTss16Available && !c.long_mode()));
  if (!available) raise(Vector::GP, error, "LTR: {0:#x} is no available TSS (type {1:#x})", selector, d.high >> 8 & 31);
  u64 base = d.base();
  if (c.long_mode()) {
    base |= u64{fetch_upper_half(c, d)} << 32;
    if (!is_canonical(base))
      raise(Vector::GP, error, "LTR: TSS {0:#x} has the non-canonical base {1:#x}", selector, base);
  }
  if (!d.present()) raise(Vector::NP, error, "LTR: TSS {0:#x} is not present", selector);
  c.store_linear<u8>(d.address + 5, static_cast<u8>(d.high >> 8 | 2), true);  // busy
  c.s.tr = d.segment();
  c.s.tr.rights |= 2;
  c.s.tr.base = base;
}

void lar(Cpu& c, const Insn& i) {
  const auto d = visible_descriptor(c, read_selector(c, i), c.long_mode() ? kLarLong : kLarLegacy);
  // Bits 19 to 16 (of the limit) are undefined in the manual; processors give them.
  if (d) write_register(c, i.reg, i.width, d->high & 0x00FFFF00);
  c.s.flags.set_zf(d.has_value());
}

void lsl(Cpu& c, const Insn& i) {
  const auto d = visible_descriptor(c, read_selector(c, i), c.long_mode() ? kLslLong : kLslLegacy);
  if (d) write_register(c, i.reg, i.width, d->limit());
  c.s.flags.set_zf(d.has_value());
}

void verr(Cpu& c, const Insn& i) {
  const auto d = visible_descriptor(c, read_selector(c, i), 0);
  c.s.flags.set_zf(d && d->readable());
}

void verw(Cpu& c, const Insn& i) {
  const auto d = visible_descriptor(c, read_selector(c, i), 0);
  c.s.flags.set_zf(d && d->writable_data());
}

void arpl(Cpu& c, const Insn& i) {
  const auto seg = static_cast<SegReg>(i.seg);
  if (i.is_memory) c.probe_write(seg, effective_address(c, i), 2);
  const u16 selector = read_selector(c, i);
  const unsigned rpl = c.gpr<u16>(i.reg) & 3u;
  const bool raised = (selector & 3u) < rpl;
  if (raised) {
    const u16 value = static_cast<u16>((selector & ~3u) | rpl);
    if (i.is_memory) c.store<u16>(seg, effective_address(c, i), value);
    else c.set_gpr<u16>(i.rm, value);
  }
  c.s.flags.set_zf(raised);
}

}  // namespace callgate::helpers
