// MOV, PUSH, POP and LDS-like instructions on segment registers.
#include "cpu/system/frame.h"
#include "cpu/system/transfer_helpers.h"

namespace callgate::helpers {

namespace {
/// Interrupts and #DB wait until the instruction after a load of SS by MOV or POP. SDM 3A 6.8.3.
void shadow_after_ss(Cpu& c) {
  c.s.mov_ss_shadow = true;
  c.request_attention();
}
}  // namespace

void mov_from_segment(Cpu& c, const Insn& i) {
  const unsigned seg = i.reg & 7;  // REX.R doesn't extend a segment register
  if (seg >= kSegCount) raise_plain(Vector::UD, "MOV from segment register {0}, which doesn't exist", seg);
  write_selector(c, i, c.s.seg[seg].selector);
}

void mov_to_segment(Cpu& c, const Insn& i) {
  const unsigned seg = i.reg & 7;
  if (seg >= kSegCount) raise_plain(Vector::UD, "MOV to segment register {0}, which doesn't exist", seg);
  if (seg == CS) raise_plain(Vector::UD, "MOV to CS");
  c.load_segment(static_cast<SegReg>(seg), read_selector(c, i));
  if (seg == SS) shadow_after_ss(c);
}

template <SegReg kSeg>
void push_segment(Cpu& c, const Insn& i) {
  c.push(c.s.seg[kSeg].selector, i.width);
}

template <SegReg kSeg>
void pop_segment(Cpu& c, const Insn& i) {
  // The stack's old width moves the pointer, also when SS is what is popped.
  const u64 rsp = merge_stack_pointer(c.s.gpr[RSP], c.s.gpr[RSP] + i.width, c.stack_size());
  c.load_segment(kSeg, static_cast<u16>(c.peek_stack(0, i.width)));
  c.s.gpr[RSP] = rsp;
  if (kSeg == SS) shadow_after_ss(c);
}

template <SegReg kSeg>
void load_far_pointer(Cpu& c, const Insn& i) {
  const auto seg = static_cast<SegReg>(i.seg);
  const u64 at = effective_address(c, i);
  const u64 selector_at = (at + i.width) & low_mask(8 * i.asize);
  u64 offset = 0;
  switch (i.width) {
    case 2: offset = c.load<u16>(seg, at); break;
    case 4: offset = c.load<u32>(seg, at); break;
    default: offset = c.load<u64>(seg, at);
  }
  c.load_segment(kSeg, c.load<u16>(seg, selector_at));
  write_register(c, i.reg, i.width, offset);
}

template void push_segment<ES>(Cpu&, const Insn&);
template void push_segment<CS>(Cpu&, const Insn&);
template void push_segment<SS>(Cpu&, const Insn&);
template void push_segment<DS>(Cpu&, const Insn&);
template void push_segment<FS>(Cpu&, const Insn&);
template void push_segment<GS>(Cpu&, const Insn&);
template void pop_segment<ES>(Cpu&, const Insn&);
template void pop_segment<SS>(Cpu&, const Insn&);
template void pop_segment<DS>(Cpu&, const Insn&);
template void pop_segment<FS>(Cpu&, const Insn&);
template void pop_segment<GS>(Cpu&, const Insn&);
template void load_far_pointer<ES>(Cpu&, const Insn&);
template void load_far_pointer<SS>(Cpu&, const Insn&);
template void load_far_pointer<DS>(Cpu&, const Insn&);
template void load_far_pointer<FS>(Cpu&, const Insn&);
template void load_far_pointer<GS>(Cpu&, const Insn&);

}  // namespace callgate::helpers
