// The AVX instructions whose work is one C++ function: the clearing of registers, and gathers.
#include "cpu/semantics/avx_helpers.h"

#include "cpu/value_builder.h"
#include "cpu/vec/lanes.h"

namespace callgate::helpers {

namespace {
// Outside 64-bit mode the upper eight registers keep what they have.
unsigned registers(const Cpu& c) { return c.bits64() ? 16 : 8; }

/// The lanes of a gather: from the lowest up. Where one faults, those below it are done: they are in the destination and out
/// of the mask, so that the instruction goes on from there when it is executed again. The rest of both is as it was. SDM 2,
/// VPGATHERDD, but for the mask, whose lanes it fills with their top bits first: processors don't show that.
template <class Lane, class Index>
void gather_lanes(Cpu& c, const Insn& i) {
  const VectorRegister index = c.s.vec[i.index];
  VectorRegister& to = c.s.vec[i.reg];
  VectorRegister& mask = c.s.vec[i.vvvv];
  const unsigned bytes = i.vex_l ? 32 : 16;
  const unsigned lanes = bytes / (sizeof(Lane) > sizeof(Index) ? sizeof(Lane) : sizeof(Index));
  constexpr unsigned kSign = 8 * sizeof(Lane) - 1;
  for (unsigned n = 0; n < lanes; n++) {
    if (vec::get<Lane>(mask, n) >> kSign & 1) {
      const u64 offset = static_cast<u64>(i64{vec::get<Index>(index, n)}) << i.scale;
      const u64 at = (c.s.gpr[i.base] + offset + static_cast<u64>(i64{i.disp})) << i.ea_shift >> i.ea_shift;
      vec::set<Lane>(to, n, c.load<Lane>(static_cast<SegReg>(i.seg), at));
    }
    vec::set<Lane>(mask, n, Lane{0});
  }
  mask = {};
  for (unsigned n = lanes; n < sizeof(VectorRegister) / sizeof(Lane); n++) vec::set<Lane>(to, n, Lane{0});
}

}  // namespace

void gather(Cpu& c, const Insn& i) {
  if (i.reg == i.vvvv || i.reg == i.index || i.vvvv == i.index)
    raise_plain(Vector::UD, "a gather whose destination, index and mask are not three registers");
  const bool qword_indices = i.opcode & 1;
  if (i.rex_w) qword_indices ? gather_lanes<u64, i64>(c, i) : gather_lanes<u64, i32>(c, i);
  else qword_indices ? gather_lanes<u32, i64>(c, i) : gather_lanes<u32, i32>(c, i);
}

void vzeroupper(Cpu& c, const Insn&) {
  for (unsigned n = 0; n < registers(c); n++) c.s.vec[n].hi = {};
}

void vzeroall(Cpu& c, const Insn&) {
  for (unsigned n = 0; n < registers(c); n++) c.s.vec[n] = {};
}

}  // namespace callgate::helpers
