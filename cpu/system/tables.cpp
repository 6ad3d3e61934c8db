// Descriptor-table registers, and the invalidations, which have no work to do: the soft TLB is coherent with the
// guest's page tables, so only their operands are checked.
#include "cpu/system/helpers.h"

namespace callgate::helpers {

namespace {

TableRegister load_table(Cpu& c, const Insn& i, const char* name) {
  u8 image[10] = {};
  const bool wide = c.bits64();
  c.load_bytes(static_cast<SegReg>(i.seg), effective_address(c, i), image, wide ? 10 : 6);
  TableRegister r{load_as<u32>(image + 2), load_as<u16>(image)};
  if (wide) {
    r.base = load_as<u64>(image + 2);
    if (!is_canonical(r.base))
      raise(Vector::GP, 0, "{0:t}DTR := a base of {1:#x} that is not canonical", name, r.base);
  } else if (i.width == 2) {
    r.base &= 0xFFFFFF;
  }
  return r;
}

/// DEVIATION: with a 16-bit operand size the manual has the base's byte 3 stored as zero; processors since the 386
/// store all 32 bits, and so do we.
void store_table(Cpu& c, const Insn& i, const TableRegister& r, const char* name) {
  if ((c.s.cr4 & kCr4Umip) && c.cpl() != 0) raise(Vector::GP, 0, "S{0:t}DT at CPL {1} with CR4.UMIP", name, c.cpl());
  u8 image[10];
  store_as<u16>(image, r.limit);
  store_as<u64>(image + 2, r.base);
  c.store_bytes(static_cast<SegReg>(i.seg), effective_address(c, i), image, c.bits64() ? 10 : 6);
}

}  // namespace

void lgdt(Cpu& c, const Insn& i) { c.s.gdtr = load_table(c, i, "G"); }
void lidt(Cpu& c, const Insn& i) { c.s.idtr = load_table(c, i, "I"); }
void sgdt(Cpu& c, const Insn& i) { store_table(c, i, c.s.gdtr, "G"); }
void sidt(Cpu& c, const Insn& i) { store_table(c, i, c.s.idtr, "I"); }

/// The operand is an address that is not accessed: no segment or page fault, and a non-canonical one is ignored.
void invlpg(Cpu&, const Insn&) {}

void invpcid(Cpu& c, const Insn& i) {
  if (c.v86()) raise(Vector::GP, 0, "INVPCID in virtual-8086 mode");
  if (c.cpl() != 0) raise(Vector::GP, 0, "INVPCID at CPL {0}", c.cpl());
  const u64 type = c.bits64() ? c.s.gpr[i.reg] : static_cast<u32>(c.s.gpr[i.reg]);
  if (type > 3) raise(Vector::GP, 0, "INVPCID of type {0:#x}", type);
  const V128 descriptor = c.load<V128>(static_cast<SegReg>(i.seg), effective_address(c, i));
  const u64 pcid = descriptor.q[0], linear = descriptor.q[1];
  if (pcid >> 12) raise(Vector::GP, 0, "INVPCID's descriptor {0:#x} sets reserved bits", pcid);
  if (type < 2 && pcid != 0 && !(c.s.cr4 & kCr4Pcide))
    raise(Vector::GP, 0, "INVPCID of PCID {0:#x} without CR4.PCIDE", pcid);
  if (type == 0 && !is_canonical(linear)) raise(Vector::GP, 0, "INVPCID of {0:#x}, which is not canonical", linear);
}

void invd(Cpu&, const Insn&) {}
void wbinvd(Cpu&, const Insn&) {}

}  // namespace callgate::helpers
