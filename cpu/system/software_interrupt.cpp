// INT n, INT3, INTO and INT1. The gate decides the rest: interrupt.cpp.
#include "cpu/system/debug.h"
#include "cpu/system/transfer_helpers.h"

namespace callgate::helpers {

void int_n(Cpu& c, const Insn& i) {
  c.deliver_event(static_cast<u8>(i.imm), EventKind::Software, false, 0, c.next_rip());
}

void int3(Cpu& c, const Insn&) {
  c.deliver_event(static_cast<u8>(Vector::BP), EventKind::IntN3, false, 0, c.next_rip());
}

void into(Cpu& c, const Insn&) {
  if (c.s.flags.of()) c.deliver_event(static_cast<u8>(Vector::OF), EventKind::IntN3, false, 0, c.next_rip());
}

void int1(Cpu& c, const Insn&) {
  // No bit of DR6 says that it was INT1, and no gate's DPL stops it. SDM 3A 6.4.4.
  c.deliver_event(static_cast<u8>(Vector::DB), EventKind::Icebp, false, 0, c.next_rip());
  take_debug_trap(c, 0);
  c.s.pending_db = 0;  // this #DB stands for the one that a MOV SS before it held back
}

}  // namespace callgate::helpers
