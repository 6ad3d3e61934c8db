#include "cpu/system/segments.h"

namespace callgate {

namespace {

constexpr u32 kRightsRealData = 0x93;  // present, DPL 0, writable data, accessed

bool table_ends_before(const Cpu& c, u16 selector, u32 bytes) {
  const u32 last = (selector & 0xFFF8u) + bytes - 1;
  if (selector & 4) return c.s.ldtr.unusable() || !c.s.ldtr.present() || last > c.s.ldtr.limit;
  return last > c.s.gdtr.limit;
}

u64 table_base(const Cpu& c, u16 selector) { return selector & 4 ? c.s.ldtr.base : c.s.gdtr.base; }

/// The reason why `cpl` and the selector's RPL may not use a data segment; both must be at least as privileged as it.
[[noreturn]] void raise_privilege(Vector bad, u32 error, u16 selector, const Descriptor& d, unsigned cpl) {
  if (cpl > d.dpl()) raise(bad, error, "data segment {0:#x} has DPL {1} < CPL {2}", selector, d.dpl(), cpl);
  raise(bad, error, "data segment {0:#x} has DPL {1} < the selector's RPL {2}", selector, d.dpl(), selector & 3);
}

}  // namespace

u64 system_linear(const Cpu& c, u64 base, u64 offset, u32 ext) {
  const u64 linear = base + offset;
  if (!c.long_mode()) return linear & 0xFFFFFFFF;
  if (!is_canonical(linear)) raise(Vector::GP, ext, "a system table reaches the non-canonical address {0:#x}", linear);
  return linear;
}

std::optional<Descriptor> find_descriptor(Cpu& c, u16 selector) {
  if (table_ends_before(c, selector, 8)) return std::nullopt;
  const u64 address = system_linear(c, table_base(c, selector), selector & 0xFFF8u);
  const u64 raw = c.load_linear<u64>(address, true);
  return Descriptor{static_cast<u32>(raw), static_cast<u32>(raw >> 32), address, selector};
}

Descriptor fetch_descriptor(Cpu& c, u16 selector, Vector vector, u32 ext) {
  if (const auto d = find_descriptor(c, selector)) return *d;
  const u32 error = selector_error(selector) | ext;
  if (!(selector & 4))
    raise(vector, error, "selector {0:#x} is beyond the GDT's limit {1:#x}", selector, c.s.gdtr.limit);
  if (c.s.ldtr.unusable()) raise(vector, error, "selector {0:#x} is in the LDT, and LDTR is null", selector);
  raise(vector, error, "selector {0:#x} is beyond the LDT's limit {1:#x}", selector, c.s.ldtr.limit);
}

u32 fetch_upper_half(Cpu& c, const Descriptor& d, u32 ext) {
  const u32 error = selector_error(d.selector) | ext;
  if (table_ends_before(c, d.selector, 16))
    raise(Vector::GP, error, "the 16-byte descriptor of {0:#x} reaches beyond its table's limit", d.selector);
  const u64 upper = c.load_linear<u64>(system_linear(c, d.address, 8, ext), true);
  if (upper >> 40 & 0x1F)
    raise(Vector::GP, error, "the upper half of system descriptor {0:#x} has type {1:#x}, not 0", d.selector,
          upper >> 40 & 0x1F);
  return static_cast<u32>(upper);
}

void mark_accessed(Cpu& c, Descriptor& d) {
  if (d.high & 0x100) return;
  d.high |= 0x100;
  // One byte, as the processor's locked read-modify-write; the table may be read-only when the bit is set already.
  c.store_linear<u8>(d.address + 5, static_cast<u8>(d.high >> 8), true);
}

Descriptor fetch_data_segment(Cpu& c, SegReg seg, u16 selector, unsigned cpl, Vector bad, u32 ext) {
  if (seg == SS) return fetch_stack_segment(c, selector, cpl, bad, ext);
  Descriptor d = fetch_descriptor(c, selector, bad, ext);
  const u32 error = selector_error(selector) | ext;
  if (d.is_system())
    raise(bad, error, "{0:#x} is a system descriptor of type {1}, no data segment", selector, d.type());
  if (!d.readable()) raise(bad, error, "{0:#x} is an execute-only code segment", selector);
  if (!d.conforming() && (cpl > d.dpl() || (selector & 3u) > d.dpl())) raise_privilege(bad, error, selector, d, cpl);
  if (!d.present()) raise(Vector::NP, error, "data segment {0:#x} is not present", selector);
  return d;
}

Descriptor fetch_stack_segment(Cpu& c, u16 selector, unsigned cpl, Vector bad, u32 ext) {
  const u32 error = selector_error(selector) | ext;
  if (is_null(selector)) raise(bad, ext, "the stack segment for CPL {0} is the null selector", cpl);
  Descriptor d = fetch_descriptor(c, selector, bad, ext);
  if ((selector & 3u) != cpl)
    raise(bad, error, "stack selector {0:#x} has RPL {1}, not CPL {2}", selector, selector & 3, cpl);
  if (!d.writable_data())
    raise(bad, error, "stack segment {0:#x} is not writable data (type {1:#x})", selector, d.type());
  if (d.dpl() != cpl) raise(bad, error, "stack segment {0:#x} has DPL {1}, not CPL {2}", selector, d.dpl(), cpl);
  if (!d.present()) raise(Vector::SS, error, "stack segment {0:#x} is not present", selector);
  return d;
}

void check_code_size(Cpu& c, const Descriptor& d, u32 ext) {
  if (c.long_mode() && d.long_mode() && d.big())
    raise(Vector::GP, selector_error(d.selector) | ext, "code segment {0:#x} has both L and D set", d.selector);
}

void drop_inner_segments(Cpu& c) {
  for (const SegReg seg : {ES, DS, FS, GS}) {
    Segment& s = c.s.seg[seg];
    if (s.unusable()) s.selector = 0;  // 1 to 3 are null, too
    else if (!s.conforming() && s.dpl() < c.s.cpl) s = null_segment(0);
  }
}

void Cpu::load_segment_real(SegReg seg, u16 selector) {
  Segment& r = s.seg[seg];
  if (v86()) {
    r = v86_segment(selector);
  } else {
    // The limit and D/B stay ("unreal mode"); after a null selector there is no limit to keep.
    if (r.unusable()) r.limit = 0xFFFF;
    r.base = u64{selector} << 4;
    r.selector = selector;
    r.rights = (r.rights & (kRightsDb | kRightsG)) | kRightsRealData;
  }
  refresh();
}

void Cpu::load_segment(SegReg seg, u16 selector) {
  if (real_or_v86()) {
    load_segment_real(seg, selector);
    return;
  }
  if (is_null(selector)) {
    if (seg == SS && !(bits64() && cpl() != 3 && (selector & 3) == cpl())) {
      if (bits64())
        raise(Vector::GP, 0, "a null SS ({0:#x}) needs CPL < 3 and RPL = CPL, which is {1}", selector, cpl());
      raise(Vector::GP, 0, "SS can't be null ({0:#x}) outside 64-bit mode", selector);
    }
    s.seg[seg] = null_segment(selector, seg == SS ? cpl() : 0);
  } else {
    Descriptor d = fetch_data_segment(*this, seg, selector, cpl(), Vector::GP);
    mark_accessed(*this, d);
    s.seg[seg] = d.segment();
  }
  refresh();
}

void load_ldtr(Cpu& c, u16 selector, Vector bad, u32 ext) {
  if (is_null(selector)) {
    c.s.ldtr = null_segment(selector);
    return;
  }
  const u32 error = selector_error(selector) | ext;
  if (selector & 4) raise(bad, error, "the LDT's selector {0:#x} is not in the GDT", selector);
  const Descriptor d = fetch_descriptor(c, selector, bad, ext);
  if (d.is_code_or_data() || d.type() != kLdt)
    raise(bad, error, "{0:#x} is no LDT descriptor (type {1:#x})", selector, d.high >> 8 & 31);
  u64 base = d.base();
  if (c.long_mode()) {
    base |= u64{fetch_upper_half(c, d, ext)} << 32;
    if (!is_canonical(base)) raise(bad, error, "LDT {0:#x} has the non-canonical base {1:#x}", selector, base);
  }
  // SDM: LLDT of a segment that is not present is #NP; in a task switch every failure is #TS.
  if (!d.present()) raise(bad == Vector::TS ? Vector::TS : Vector::NP, error, "LDT {0:#x} is not present", selector);
  c.s.ldtr = d.segment();
  c.s.ldtr.base = base;
}

}  // namespace callgate
