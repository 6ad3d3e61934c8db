// Everything architectural in one processor. Plain data: no behaviour, no caches, no pointers.
#pragma once

#include "base/state_io.h"
#include "cpu/flags.h"
#include "cpu/fp/fp.h"

namespace callgate {

/// General registers in the manual's encoding order.
enum Gpr : u8 { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
/// Two more slots of the register file, so that address generation needs no branches.
constexpr unsigned kGprZero = 16;  ///< always 0: "no base", "no index"
constexpr unsigned kGprRip = 17;   ///< the address of the next instruction: RIP-relative base
constexpr unsigned kGprSlots = 18;

/// Segment registers in the manual's encoding order.
enum SegReg : u8 { ES, CS, SS, DS, FS, GS };
constexpr unsigned kSegCount = 6;

/// A segment register, LDTR or TR, hidden part included. `rights` has VMX's layout (SDM 3C, Format of Access Rights):
/// 3..0 type, 4 S, 6..5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G, 16 unusable (a null selector was loaded).
struct Segment {
  u64 base = 0;
  u32 limit = 0;  ///< in bytes: G is applied already
  u32 rights = 0;
  u16 selector = 0;

  unsigned type() const { return rights & 15; }
  bool is_code_or_data() const { return rights >> 4 & 1; }
  unsigned dpl() const { return rights >> 5 & 3; }
  bool present() const { return rights >> 7 & 1; }
  bool long_mode() const { return rights >> 13 & 1; }
  bool big() const { return rights >> 14 & 1; }  ///< D/B
  bool unusable() const { return rights >> 16 & 1; }
  bool is_code() const { return is_code_or_data() && (type() & 8); }
  bool conforming() const { return is_code() && (type() & 4); }
  bool expand_down() const { return is_code_or_data() && (type() & 0xC) == 4; }
  bool readable() const { return !is_code() || (type() & 2); }
  bool writable() const { return !is_code() && (type() & 2); }
  unsigned rpl() const { return selector & 3; }
};
constexpr u32 kRightsAccessed = 1, kRightsPresent = 1u << 7, kRightsL = 1u << 13, kRightsDb = 1u << 14,
              kRightsG = 1u << 15, kRightsUnusable = 1u << 16;

/// GDTR, IDTR.
struct TableRegister {
  u64 base = 0;
  u16 limit = 0;
};

/// Control register bits. SDM 3A, Control Registers.
enum Cr0 : u64 {
  kCr0Pe = 1, kCr0Mp = 2, kCr0Em = 4, kCr0Ts = 8, kCr0Et = 16, kCr0Ne = 32, kCr0Wp = 1 << 16, kCr0Am = 1 << 18,
  kCr0Nw = 1 << 29, kCr0Cd = 1 << 30, kCr0Pg = 1ull << 31,
};
enum Cr4 : u64 {
  kCr4Vme = 1, kCr4Pvi = 2, kCr4Tsd = 4, kCr4De = 8, kCr4Pse = 16, kCr4Pae = 32, kCr4Mce = 64, kCr4Pge = 128,
  kCr4Pce = 256, kCr4Osfxsr = 512, kCr4Osxmmexcpt = 1024, kCr4Umip = 1 << 11, kCr4Fsgsbase = 1 << 16,
  kCr4Pcide = 1 << 17, kCr4Osxsave = 1 << 18, kCr4Smep = 1 << 20, kCr4Smap = 1 << 21,
};
enum Efer : u64 { kEferSce = 1, kEferLme = 1 << 8, kEferLma = 1 << 10, kEferNxe = 1 << 11 };

/// A 128-bit register's bits with views by lane.
union alignas(16) V128 {
  u64 q[2];
  u32 d[4];
  u16 w[8];
  u8 b[16];
};
/// 256 bits. (Not aligned to 32 bytes: nothing wants that.)
struct V256 {
  V128 lo, hi;
};
/// A vector register: YMM's 256 bits; SSE sees the low half.
struct VectorRegister {
  V128 lo{}, hi{};
};

/// The x87 unit. Registers are physical (R0 to R7): ST(i) is R[(top + i) & 7]. MMX's MMi is the significand of Ri.
struct X87State {
  fp::F80 r[8];
  u16 control = 0x37F;
  u16 status = 0;  ///< TOP is not kept here but in `top`; see x87_status_word()
  u8 top = 0;
  u8 empty = 0xFF;  ///< bit i: Ri is empty (the abridged tag word, inverted)
  u16 opcode = 0;   ///< FOP, 11 bits
  u64 instruction_pointer = 0;
  u64 data_pointer = 0;
  u16 instruction_selector = 0;
  u16 data_selector = 0;
};

/// What the processor is doing.
enum class Activity : u8 { Running, Halted, WaitForSipi, Shutdown };

/// Model-specific registers that are plain storage or have effects elsewhere.
struct Msrs {
  u64 efer = 0, star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0, tsc_aux = 0;
  u64 sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  u64 tsc_adjust = 0;  ///< IA32_TSC_ADJUST; the TSC is guest time in ns plus this
  u64 pat = 0x0007040600070406;
  u64 mtrr_def_type = 0;
  u64 mtrr_fixed[11] = {};
  u64 mtrr_variable[16] = {};  ///< base, mask pairs
  u64 misc_enable = 1;         ///< fast strings
  u64 debugctl = 0;
  u64 spec_ctrl = 0;
  u64 xss = 0;
};

/// One processor's architectural state.
struct CpuState {
  u64 gpr[kGprSlots] = {};
  u64 rip = 0;      ///< of the instruction being executed (or the next one, between instructions)
  u64 retired = 0;  ///< instructions retired; a REP step counts as one, a fault as none
  Flags flags;
  Segment seg[kSegCount];
  Segment ldtr, tr;
  TableRegister gdtr, idtr;
  u64 cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
  u64 xcr0 = 1;
  u64 pdpte[4] = {};  ///< PAE paging: loaded by MOV CR3, as the manual says
  u64 dr[4] = {};
  u64 dr6 = 0xFFFF0FF0, dr7 = 0x400;
  u8 cpl = 0;
  Activity activity = Activity::Running;
  bool sti_shadow = false;     ///< the last instruction was an STI that set IF: no maskable interrupt yet
  bool mov_ss_shadow = false;  ///< the last instruction was MOV SS or POP SS: no interrupt, no #DB yet
  bool nmi_blocked = false;    ///< from NMI delivery to IRET
  bool nmi_pending = false;
  bool init_pending = false;
  bool sipi_pending = false;
  u8 sipi_vector = 0;
  u32 pending_db = 0;  ///< DR6 bits of a debug trap to deliver before the next instruction
  Msrs msr;
  X87State x87;
  u32 mxcsr = 0x1F80;
  VectorRegister vec[16];
  u64 random = 0;  ///< the place in the sequence of RDRAND and RDSEED (cpu/system/random.cpp); a reset leaves it alone

  /// Lists every field once: save, restore and hash.
  void sync(StateIo& io);
};

}  // namespace callgate
