#include "cpu/system/returns.h"

namespace callgate {

Descriptor fetch_return_code(Cpu& c, u16 selector) {
  const u32 error = selector_error(selector);
  const unsigned rpl = selector & 3;
  if (is_null(selector)) raise(Vector::GP, 0, "a return to a null CS");
  const Descriptor d = fetch_descriptor(c, selector, Vector::GP);
  if (!d.is_code()) raise(Vector::GP, error, "a return to {0:#x}, which is no code segment", selector);
  if (rpl < c.cpl())
    raise(Vector::GP, error, "a return to {0:#x} at RPL {1}, an inner ring of CPL {2}", selector, rpl, c.cpl());
  if (d.conforming() ? d.dpl() > rpl : d.dpl() != rpl)
    raise(Vector::GP, error, "a return to code segment {0:#x} with DPL {1} and RPL {2}", selector, d.dpl(), rpl);
  check_code_size(c, d);
  if (!d.present()) raise(Vector::NP, error, "a return to code segment {0:#x}, which is not present", selector);
  return d;
}

std::optional<Descriptor> fetch_return_stack(Cpu& c, u16 selector, const Descriptor& cs, unsigned cpl) {
  if (!is_null(selector)) return fetch_stack_segment(c, selector, cpl, Vector::GP);
  if (!is_code64(c, cs) || cpl == 3 || (selector & 3u) != cpl)
    raise(Vector::GP, 0, "a return to CPL {0} with a null SS ({1:#x})", cpl, selector);
  return std::nullopt;
}

void commit_return(Cpu& c, Descriptor& cs, std::optional<Descriptor>& ss, u16 ss_selector, u64 rsp, unsigned cpl) {
  mark_accessed(c, cs);
  if (ss) mark_accessed(c, *ss);
  const bool to64 = is_code64(c, cs);
  c.s.seg[CS] = cs.segment();
  c.s.seg[SS] = ss ? ss->segment() : null_segment(ss_selector, cpl);
  // A 16-bit stack takes SP only and leaves the rest of RSP: what Linux's espfix is about.
  c.s.gpr[RSP] = to64 ? rsp : outer_stack_pointer(c.s.gpr[RSP], rsp, c.s.seg[SS]);
  const bool outer = cpl > c.s.cpl;
  c.s.cpl = static_cast<u8>(cpl);
  if (outer) drop_inner_segments(c);
}

}  // namespace callgate
