// Known differences between vendors, and between every processor and the manual's "undefined".
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "cpu/table/table.h"
#include "cpu/value_builder.h"
#include "mmu/page_walk.h"
#include "tests/hwfuzz/compare.h"

namespace callgate::hwfuzz {

namespace {

template <class... Names>
bool is(const Insn& i, Names... names) {
  const std::string name = mnemonic(*i.row);
  return ((name == names) || ...);
}

/// The linear address of the memory operand of a case's only instruction.
u64 operand_address(const Insn& i, const Case& c) {
  const auto reg = [&](unsigned slot) {
    return slot < 16 ? c.in.gpr[slot] : slot == kGprRip ? c.in.rip + i.length : 0;
  };
  if (parse_operand(i.row->operands, 0).kind == 'O' || parse_operand(i.row->operands, 1).kind == 'O')
    return i.imm + (i.seg == GS ? kGsBase : 0);
  const u64 ea = (reg(i.base) + (reg(i.index) << i.scale) + static_cast<u64>(i64{i.disp})) & low_mask(8u * i.asize);
  return ea + (i.seg == GS ? kGsBase : 0);
}

/// Makes [at, at + size) of the data pages as on the host.
void forgive_memory(u64 at, unsigned size, const Outcome& host, Outcome& ours) {
  for (u64 a = at; a < at + size; a++)
    if (a >= kData && a < kDataEnd) ours.memory[a - kData] = host.memory[a - kData];
}

/// A fault that comes from an access: #SS, #GP, #PF, #AC.
bool memory_fault(const Outcome& o) {
  return o.ending == Ending::Faulted && (o.vector == 12 || o.vector == 13 || o.vector == 14 || o.vector == 17);
}

void forgive_everything(const Insn&, const Case&, const Outcome& host, Outcome& ours) { ours = host; }

bool is_gather(const Insn& i) { return mnemonic(*i.row).find("gather") != std::string::npos; }

// --- approximations ---------------------------------------------------------------------------------------------

bool close_floats(u32 a, u32 b) {
  const float x = std::bit_cast<float>(a), y = std::bit_cast<float>(b);
  if (a == b) return true;
  if (std::fabs(x) < 3e-38F && std::fabs(y) < 3e-38F && (a ^ b) >> 31 == 0) return true;  // next to where zero begins
  if (!std::isnormal(x) || !std::isnormal(y)) return false;
  return std::fabs(double{x} - double{y}) <=
         std::fabs(double{y}) * 3.0 / 4096;  // each has an error of at most 1.5 * 2^-12
}

void forgive_close(const u64 (&host)[2], u64 (&ours)[2]) {
  u32 a[4], b[4];
  std::memcpy(a, host, 16);
  std::memcpy(b, ours, 16);
  for (unsigned n = 0; n < 4; n++)
    if (close_floats(a[n], b[n])) b[n] = a[n];
  std::memcpy(ours, b, 16);
}
void forgive_estimate(const Insn& i, const Case&, const Outcome& host, Outcome& ours) {
  forgive_close(host.out.fx.xmm[i.reg], ours.out.fx.xmm[i.reg]);
  forgive_close(host.out.upper[i.reg], ours.out.upper[i.reg]);
}

/// Two units in the last place (also across a power of two), and with it C1 (the direction of rounding) and #P.
void forgive_last_place(const Insn&, const Case&, const Outcome& host, Outcome& ours) {
  constexpr u16 kC1AndPrecision = 0x220;
  for (unsigned n = 0; n < 2; n++) {
    const auto& h = host.out.fx.st[n];
    auto& o = ours.out.fx.st[n];
    const u64 up = h.significand - o.significand, down = o.significand - h.significand;
    const unsigned exponents = (h.sign_exponent ^ o.sign_exponent) >> 15 != 0
                                   ? 2
                                   : static_cast<unsigned>(std::abs(h.sign_exponent - o.sign_exponent));
    constexpr u64 kTop = u64{1} << 63;
    const bool next_binade = exponents == 1 && ((h.significand - kTop <= 1 && ~o.significand <= 2) ||
                                                (o.significand - kTop <= 1 && ~h.significand <= 2));
    if ((exponents == 0 && std::min(up, down) <= 2) || next_binade) o = h;
  }
  ours.out.fx.status =
      static_cast<u16>((ours.out.fx.status & ~kC1AndPrecision) | (host.out.fx.status & kC1AndPrecision));
}

// --- images of the floating-point state -------------------------------------------------------------------------

bool is_environment(const Insn& i) { return is(i, "fnstenv", "fnsave"); }
bool saves_in_use(const Insn& i) { return is(i, "xsaveopt", "xsaveopt64", "xsavec", "xsavec64"); }
bool is_xsave(const Insn& i) { return is(i, "xsave", "xsave64") || saves_in_use(i); }
bool is_fx_image(const Insn& i) { return is(i, "fxsave", "fxsave64") || is_xsave(i); }
bool is_image(const Insn& i) {
  return is_environment(i) || is_fx_image(i) || is(i, "fldenv", "frstor", "fxrstor", "fxrstor64", "xrstor", "xrstor64");
}

void forgive_fx_image(const Insn& i, const Case& c, const Outcome& host, Outcome& ours) {
  const u64 at = operand_address(i, c);
  if (!(c.in.fx.status & 0x80)) forgive_memory(at + 6, 18, host, ours);    // FOP, FIP, FDP
  forgive_memory(at + 28, 4, host, ours);                                  // MXCSR_MASK
  if (!is_xsave(i)) return;
  // What is in use on one side only is saved there only.
  const auto in_use = [&](const Outcome& o) { return at + 512 - kData < kDataBytes ? o.memory[at + 512 - kData] : 0; };
  const u8 differs = saves_in_use(i) ? in_use(host) ^ in_use(ours) : 0;
  forgive_memory(at + 512, 1, host, ours);  // XSTATE_BV
  if (differs & 1) forgive_memory(at, 160, host, ours);
  if (differs & 2) forgive_memory(at + 24, 8, host, ours), forgive_memory(at + 160, 256, host, ours);
  if (differs & 4) forgive_memory(at + 576, 256, host, ours);
}

void forgive_environment(const Insn& i, const Case& c, const Outcome& host, Outcome& ours) {
  const unsigned word = i.width == 2 ? 2 : 4;
  if (!(c.in.fx.status & 0x80)) forgive_memory(operand_address(i, c) + 3 * word, 4 * word, host, ours);
}

/// A selector of a descriptor that Linux has and our table hasn't: its 32-bit code segments, the TSS, the LDT, those
/// for thread-local storage and the one with the processor's number.
bool is_linux_selector(Cpu& cpu, const Insn& i) {
  u16 selector = static_cast<u16>(cpu.s.gpr[i.rm]);
  if (i.is_memory) {
    try {
      selector = cpu.load<u16>(static_cast<SegReg>(i.seg), effective_address(cpu, i));
    } catch (const Fault&) {
      return false;
    }
  }
  const unsigned index = selector >> 3;
  return (selector & 4) == 0 && (index == 1 || index == 4 || (index >= 7 && index < 16));
}

// --- the table ----------------------------------------------------------------------------------------------------

const Quirk kQuirks[] = {
    {"linux-selector", "the host's descriptor table has more segments than ours",
     [](Cpu& cpu, const Insn& i) {
       const bool selects = is(i, "lar", "lsl", "verr", "verw") || std::string_view(i.row->operands) == "Sw,Ew";
       return selects && is_linux_selector(cpu, i);
     },
     forgive_everything},
    {"exit-page", "the page where runs end has an address of the child process in it",
     [](Cpu& cpu, const Insn& i) { return i.is_memory && effective_address(cpu, i) - (kExit - 512) < 512 + 16; },
     forgive_everything},
    {"prefetch-register", "0F 0D with a register is #UD on AMD and a hint on Intel",
     [](Cpu&, const Insn& i) { return i.opcode == 0x0D && !i.is_memory && is(i, "prefetch", "prefetchw"); },
     forgive_everything},
    {"estimate", "RCP and RSQRT are approximations that differ between vendors (error below 1.5 * 2^-12)",
     [](Cpu&, const Insn& i) { 
       return is(i, "rcpss", "rcpps", "rsqrtss", "rsqrtps", "vrcpss", "vrcpps", "vrsqrtss", "vrsqrtps");
     }, forgive_estimate},
    {"transcendental", "the last places of x87 transcendentals differ between vendors; ours are rounded correctly",
     [](Cpu&, const Insn& i) {
       return is(i, "fsin", "fcos", "fsincos", "fptan", "fpatan", "f2xm1", "fyl2x", "fyl2xp1");
     },
     forgive_last_place},
    {"fx-image",
     "AMD saves the x87 pointers only with a pending exception, has MXCSR bit 17, and tells XINUSE in its own way",
     [](Cpu&, const Insn& i) { return is_fx_image(i); }, forgive_fx_image},
    {"environment", "AMD keeps the x87 pointers only with a pending exception",
     [](Cpu&, const Insn& i) { return is_environment(i); }, forgive_environment},
    {"image-fault", "an instruction of many accesses faults at any of them, and leaves what it stored before",
     [](Cpu&, const Insn& i) {
       return is_image(i) || is(i, "enter", "fbld", "fbstp") || (is(i, "fld", "fstp") && i.opcode == 0xDB);
     },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       if (!memory_fault(host) || !memory_fault(ours)) return;
       ours.vector = host.vector;
       ours.error_code = host.error_code;
       ours.cr2 = host.cr2;
       std::memcpy(ours.memory, host.memory, kDataBytes);
     }},
    {"call-order", "Intel checks the target of CALL before it pushes, AMD after",
     [](Cpu&, const Insn& i) { return is(i, "call"); },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       if (memory_fault(host) && ours.vector == 13) ours = host;
     }},
    {"frame-order",
     "when IRET and RETF read which part of their frame, and check what they read, differs between vendors",
     [](Cpu&, const Insn& i) { return is(i, "iret", "retf"); },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       // Among #GP: only the one for RIP, which has no error code, before or after those for selectors.
       const bool both_gp = host.vector == 13 && ours.vector == 13;
       if (memory_fault(host) && memory_fault(ours) && (!both_gp || host.error_code == 0 || ours.error_code == 0))
         ours = host;
     }},
    {"sysexit", "AMD has no SYSEXIT in long mode", [](Cpu&, const Insn& i) { return is(i, "sysexit"); },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       if (host.vector == 6 && ours.vector == 13) ours = host;
     }},
    {"ud-modrm",
     "UD0 and UD1 have a ModRM byte on Intel and none on AMD: only the one that has it faults when it fetches it",
     [](Cpu&, const Insn& i) { return is(i, "ud0", "ud1"); }, forgive_everything},
    {"movsxd-66", "MOVSXD with 66 reads 16 bits on Intel and 32 bits on AMD",
     [](Cpu&, const Insn& i) { return is(i, "movsxd") && i.width == 2; },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       if (memory_fault(host)) ours = host;
     }},
    {"maskmov-fault",
     "whether a masked store looks at bytes that it doesn't store, and at its alignment, and goes over to MMX before "
     "it faults, differs between vendors",
     [](Cpu&, const Insn& i) { return is(i, "maskmovq", "maskmovdqu", "vmaskmovdqu"); },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       if (memory_fault(host)) ours = host;
     }},
    {"effective-address", "AMD wants the effective address canonical too, not only the linear address",
     [](Cpu&, const Insn& i) { return i.seg == GS; },
     [](const Insn& i, const Case& c, const Outcome& host, Outcome& ours) {
       if (host.vector == 13 && memory_fault(ours) &&
           (!is_canonical(operand_address(i, c) - kGsBase) || is(i, "bt", "bts", "btr", "btc") || is_gather(i)))
         ours = host;
     }},
    {"mmx-transition", "whether an instruction that raises #XM has gone over to MMX before differs between vendors",
     [](Cpu&, const Insn& i) { return (i.row->attributes & (kSse | kMmx)) == (kSse | kMmx); },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       if (host.vector != 19 || ours.vector != 19) return;
       const u32 mxcsr = ours.out.fx.mxcsr;
       u64 xmm[16][2];
       std::memcpy(xmm, ours.out.fx.xmm, sizeof xmm);
       ours.out.fx = host.out.fx;
       ours.out.fx.mxcsr = mxcsr;
       std::memcpy(ours.out.fx.xmm, xmm, sizeof xmm);
     }},
    {"sha-alignment", "SHA's operands must be aligned on Intel (SDM 2, exceptions of type 4), not on AMD",
     [](Cpu&, const Insn& i) { return i.is_memory && std::string_view(i.row->feature) == "sha_ni"; },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       if (ours.vector == 13) ours = host;
     }},
    {"gather-trap", "a gather that faults after some lanes takes its single-step trap first on AMD",
     [](Cpu& cpu, const Insn& i) { return cpu.s.flags.test(kTF) && is_gather(i); },
     [](const Insn&, const Case&, const Outcome& host, Outcome& ours) {
       if (host.vector == 1 && memory_fault(ours)) ours = host;
     }},
    {"unaligned-vector",
     "with AC, #AC for an unaligned vector is the processor's choice (SDM 3A, Interrupt 17)",
     [](Cpu& cpu, const Insn& i) { return cpu.s.flags.test(kAC) &&
              ((i.row->attributes & kAvx) || is(i, "movups", "movupd", "movdqu", "lddqu", "pcmpestri", "pcmpestrm",
                                                "pcmpistri", "pcmpistrm"));
     },
     [](const Insn& i, const Case&, const Outcome& host, Outcome& ours) {
       if (host.vector == 17 || (ours.vector == 17 && (i.row->attributes & kAvx))) ours = host;
     }},
};

}  // namespace

std::span<const Quirk> quirks() { return kQuirks; }

}  // namespace callgate::hwfuzz
