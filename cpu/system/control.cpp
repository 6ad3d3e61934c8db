#include "cpu/system/control.h"

#include "cpu/system/helpers.h"
#include "cpu/x87/state.h"

namespace callgate {

namespace {

constexpr u64 kCr0Defined =
    kCr0Pe | kCr0Mp | kCr0Em | kCr0Ts | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Nw | kCr0Cd | kCr0Pg;
constexpr u64 kCr3NoFlush = u64{1} << 63;  // SDM 3A 4.10.4.1: with PCIDE, "do not invalidate"; never stored

/// True for PAE paging proper: then PDPTEs are registers.
bool pae_paging(u64 cr0, u64 cr4, u64 efer) { return (cr0 & kCr0Pg) && (cr4 & kCr4Pae) && !(efer & kEferLma); }

void load_pdptes_or_fault(Cpu& c, u64 cr3) {
  if (!load_pdptes(c, cr3))
    raise(Vector::GP, 0, "a PAE page-directory-pointer entry at {0:#x} has reserved bits set", cr3);
}

}  // namespace

u64 supported_cr4(const CpuModel& model) {
  u64 mask = kCr4Tsd | kCr4De | kCr4Pse | kCr4Pae | kCr4Mce | kCr4Pge | kCr4Pce | kCr4Osfxsr | kCr4Osxmmexcpt;
  const auto add = [&](const char* feature, u64 bits) {
    if (has_feature(model, feature)) mask |= bits;
  };
  add("vme", kCr4Vme | kCr4Pvi);
  add("umip", kCr4Umip);
  add("fsgsbase", kCr4Fsgsbase);
  add("pcid", kCr4Pcide);
  add("xsave", kCr4Osxsave);
  add("smep", kCr4Smep);
  add("smap", kCr4Smap);
  return mask;
}

bool load_pdptes(Cpu& c, u64 value) {
  u64 entries[4];
  const u64 table = value & 0xFFFFFFE0;
  for (unsigned n = 0; n < 4; n++) {
    entries[n] = c.memory.bus_read(c.memory.cpu_address(table + 8 * n), 8);
    if (!pdpte_is_valid(entries[n])) return false;
  }
  for (unsigned n = 0; n < 4; n++) c.s.pdpte[n] = entries[n];
  return true;
}

void write_cr0(Cpu& c, u64 value) {
  if (value >> 32) raise(Vector::GP, 0, "CR0 := {0:#x} sets reserved bits 63:32", value);
  if ((value & kCr0Pg) && !(value & kCr0Pe)) raise(Vector::GP, 0, "CR0 := {0:#x} has PG without PE", value);
  if ((value & kCr0Nw) && !(value & kCr0Cd)) raise(Vector::GP, 0, "CR0 := {0:#x} has NW without CD", value);
  value = (value & kCr0Defined) | kCr0Et;
  const u64 changed = value ^ c.s.cr0;
  u64 efer = c.s.msr.efer;

  if (changed & value & kCr0Pg) {
    if (efer & kEferLme) {
      // SDM 3A 9.8.5: the consistency checks of activating IA-32e mode.
      if (!(c.s.cr4 & kCr4Pae)) raise(Vector::GP, 0, "CR0.PG with EFER.LME needs CR4.PAE");
      if (c.s.seg[CS].long_mode()) raise(Vector::GP, 0, "CR0.PG with EFER.LME while CS.L is set");
      const unsigned tss = c.s.tr.type();
      if (tss == 1 || tss == 3) raise(Vector::GP, 0, "CR0.PG with EFER.LME while TR holds a 16-bit TSS");
      efer |= kEferLma;
    }
  } else if (changed & kCr0Pg) {
    if (c.bits64()) raise(Vector::GP, 0, "CR0.PG cleared in 64-bit mode");
    if (c.s.cr4 & kCr4Pcide) raise(Vector::GP, 0, "CR0.PG cleared while CR4.PCIDE is set");
    efer &= ~u64{kEferLma};
  }
  if (pae_paging(value, c.s.cr4, efer) && (changed & (kCr0Pg | kCr0Cd | kCr0Nw))) load_pdptes_or_fault(c, c.s.cr3);

  c.s.cr0 = value;
  c.s.msr.efer = efer;
  // Who reports a waiting x87 exception changed: FERR# or #MF.
  if ((changed & kCr0Ne) && x87_exception_pending(c.s.x87)) c.platform.set_ferr(!(value & kCr0Ne));
  c.refresh();
}

void write_cr3(Cpu& c, u64 value) {
  if (c.s.cr4 & kCr4Pcide) value &= ~kCr3NoFlush;
  if (value >> kPhysicalBits) raise(Vector::GP, 0, "CR3 := {0:#x} sets reserved bits", value);
  if (pae_paging(c.s.cr0, c.s.cr4, c.s.msr.efer)) load_pdptes_or_fault(c, value);
  c.s.cr3 = value;
  c.refresh();
}

void write_cr4(Cpu& c, u64 value) {
  const u64 reserved = value & ~supported_cr4(c.model);
  if (reserved) raise(Vector::GP, 0, "CR4 := {0:#x} sets reserved bits {1:#x}", value, reserved);
  const u64 changed = value ^ c.s.cr4;
  if (c.long_mode() && !(value & kCr4Pae)) raise(Vector::GP, 0, "CR4.PAE cleared in IA-32e mode");
  if (changed & value & kCr4Pcide) {
    if (!c.long_mode()) raise(Vector::GP, 0, "CR4.PCIDE set outside IA-32e mode");
    if (c.s.cr3 & 0xFFF) raise(Vector::GP, 0, "CR4.PCIDE set while CR3[11:0] is {0:#x}", c.s.cr3 & 0xFFF);
  }
  if (pae_paging(c.s.cr0, value, c.s.msr.efer) && (changed & (kCr4Pae | kCr4Pse | kCr4Pge | kCr4Smep)))
    load_pdptes_or_fault(c, c.s.cr3);
  c.s.cr4 = value;
  c.refresh();
}

void write_efer(Cpu& c, u64 value) {
  const u64 reserved = value & ~(kEferWritable | kEferLma);
  if (reserved) raise(Vector::GP, 0, "EFER := {0:#x} sets reserved bits {1:#x}", value, reserved);
  if (((value ^ c.s.msr.efer) & kEferLme) && (c.s.cr0 & kCr0Pg))
    raise(Vector::GP, 0, "EFER.LME changed while paging is enabled");
  c.s.msr.efer = (value & kEferWritable) | (c.s.msr.efer & kEferLma);  // LMA is read-only
  c.refresh();
}

namespace helpers {

namespace {

void require_ring0(const Cpu& c) {
  if (c.cpl() != 0) raise(Vector::GP, 0, "a control register moved at CPL {0}", c.cpl());
}

void require_control_register(unsigned reg) {
  if (reg != 0 && reg != 2 && reg != 3 && reg != 4 && reg != 8) raise_plain(Vector::UD, "there is no CR{0}", reg);
}

void require_umip(const Cpu& c) {
  if ((c.s.cr4 & kCr4Umip) && c.cpl() != 0) raise(Vector::GP, 0, "SMSW at CPL {0} with CR4.UMIP", c.cpl());
}

}  // namespace

void mov_from_cr(Cpu& c, const Insn& i) {
  require_control_register(i.reg);
  require_ring0(c);
  u64 value = 0;
  switch (i.reg) {
    case 0:
      value = c.s.cr0;
      break;
    case 2:
      value = c.s.cr2;
      break;
    case 3:
      value = c.s.cr3;
      break;
    case 4:
      value = c.s.cr4;
      break;
    default:
      value = c.platform.task_priority();
      break;
  }
  if (c.bits64())
    c.set_gpr<u64>(i.rm, value);
  else
    c.set_gpr<u32>(i.rm, static_cast<u32>(value));
}

void mov_to_cr(Cpu& c, const Insn& i) {
  require_control_register(i.reg);
  require_ring0(c);
  const u64 value = c.bits64() ? c.s.gpr[i.rm] : static_cast<u32>(c.s.gpr[i.rm]);
  switch (i.reg) {
    case 0:
      write_cr0(c, value);
      break;
    case 2:
      c.s.cr2 = value;
      break;
    case 3:
      write_cr3(c, value);
      break;
    case 4:
      write_cr4(c, value);
      break;
    default:
      if (value > 15) raise(Vector::GP, 0, "CR8 := {0:#x} sets reserved bits", value);
      c.platform.set_task_priority(static_cast<u8>(value));
      c.request_attention();  // a lower priority may let an interrupt through
      break;
  }
}

void lmsw(Cpu& c, const Insn& i) {
  const u16 value = i.is_memory ? c.load<u16>(static_cast<SegReg>(i.seg), effective_address(c, i)) : c.gpr<u16>(i.rm);
  // PE, MP, EM and TS; PE can be set but not cleared.
  write_cr0(c, (c.s.cr0 & ~u64{kCr0Mp | kCr0Em | kCr0Ts}) | (value & (kCr0Pe | kCr0Mp | kCr0Em | kCr0Ts)));
}

void smsw(Cpu& c, const Insn& i) {
  require_umip(c);
  if (i.is_memory)
    c.store<u16>(static_cast<SegReg>(i.seg), effective_address(c, i), static_cast<u16>(c.s.cr0));
  else if (i.width == 2)
    c.set_gpr<u16>(i.rm, static_cast<u16>(c.s.cr0));
  else
    c.set_gpr<u64>(i.rm, static_cast<u32>(c.s.cr0));
}

void clts(Cpu& c, const Insn&) {
  c.s.cr0 &= ~u64{kCr0Ts};
  c.refresh();
}

// STAC and CLAC are #UD, not #GP, outside ring 0: they have no CR4 bit of their own.
void stac(Cpu& c, const Insn&) {
  if (c.cpl() != 0) raise_plain(Vector::UD, "STAC at CPL {0}", c.cpl());
  c.set_flags(kAC, kAC);
}

void clac(Cpu& c, const Insn&) {
  if (c.cpl() != 0) raise_plain(Vector::UD, "CLAC at CPL {0}", c.cpl());
  c.set_flags(0, kAC);
}

}  // namespace helpers
}  // namespace callgate
