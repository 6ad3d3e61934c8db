// The instruction table: one row an instruction form. The decoder, the interpreter, the translator, the tests and the
// documentation all read these rows. Adding an instruction is one row here and one semantic in cpu/semantics.
//
// A row reads like the manual's own line (SDM 2, Instruction Set Reference):
//   {"81 /0 iz", "Ev,Iz"} with the semantic `add`.
//
// Encoding: prefixes that are part of it (NP, NFx = neither F2 nor F3, 66, F3, F2, REX.W, REX.W0 = must be absent), opcode bytes in hexadecimal
//   (at most: 0F, 0F 38, 0F 3A maps), "+r" for a register in the low three opcode bits, "+cc" for a condition in the low
//   four; then /r (ModRM with a register), /0../7 (opcode extension), /mem or /reg in addition (only that form of r/m),
//   "=XX" (this exact ModRM byte, e.g. "D9 =E8", "0F 01 =F8");
//   then immediates: ib iw id (fixed size), iz (16 or 32 by operand size), iv (16, 32 or 64), cb cz (relative), ap (far
//   pointer), mo (moffs: an address of the address size).
//   Without NP/66/F3/F2 a row matches under any of these prefixes (66 then means operand size, F2/F3 are REP or nothing).
//   Where rows with and without a mandatory prefix share an opcode, F2/F3 win over 66, and a row with the prefix over one without.
//   VEX rows begin as in the manual: "VEX.128.66.0F38.W0 F7 /r" or "VEX.LIG.F2.0F.WIG 58 /r". Without 128, 256, LZ or LIG the
//   row is both lengths (its feature is the later one's), and the operand size is the length. Without 66, F3 or F2 there is none.
//   Without W0, W1 or WIG an operand of size y, or kWidths, says that W is the operand size, as REX.W is.
//   "/is4": an immediate byte whose upper four bits are a register. "/vsib": the memory operand has a vector of indices.
// Operands: the manual's letters.
//   E r/m, G ModRM.reg, Z the register in the opcode (+r), I immediate, J relative target, M memory only, R register only
//   (r/m), O moffs, S segment register (reg), C control, D debug register (reg), V xmm (reg), W xmm/m, U xmm only (r/m),
//   P mm (reg), Q mm/m, N mm only (r/m), H xmm (VEX.vvvv), L xmm (/is4), B general register (VEX.vvvv), A far pointer, s<I> = sign-extended to the operand size
//   followed by the size: b w d q (1, 2, 4, 8), v (operand size), y (4, or 8 with REX.W), z (immediate up to 32 bits),
//   x (16 bytes of an xmm register or m128, or 32 of a ymm register), a (the same, and #GP(0) if in memory and not aligned),
//   h f e (a half, a quarter, an eighth of x), dq (16 bytes), a trailing number of bytes for anything else is not needed.
//   V, W, U, P, Q take a size too: Vx full, Wq / Wd / Ww = the low lane or that much memory.
//   Fixed registers: AL AX eAX (rAX of the operand size) CL DX rCX..., XMM0, 1 (the constant).
#pragma once

#include "cpu/insn.h"

namespace callgate {

/// What a row allows and needs besides its encoding.
enum Attr : u32 {
  kNoAttr = 0,
  kLock = 1 << 0,        ///< LOCK is allowed when the destination is memory
  kNo64 = 1 << 1,        ///< #UD in 64-bit mode ("i64")
  kOnly64 = 1 << 2,      ///< exists in 64-bit mode only ("o64")
  kDef64 = 1 << 3,       ///< operand size defaults to 64 in 64-bit mode; 66 makes it 16, there's no 32 ("d64")
  kForce64 = 1 << 4,     ///< operand size is 64 in 64-bit mode whatever the prefixes ("f64": near branches)
  kNoReal = 1 << 5,      ///< #UD in real and virtual-8086 mode
  kCpl0 = 1 << 6,        ///< #GP(0) unless CPL = 0
  kWidths = 1 << 7,      ///< handlers differ by operand size though no operand says so (PUSHF, CBW, ...)
  kRep = 1 << 8,         ///< F3 / F2 are REP here
  kBranch = 1 << 9,      ///< may change RIP, the mode or what comes next in another way: ends a block
  kSse = 1 << 10,        ///< #UD if CR0.EM or not CR4.OSFXSR, #NM if CR0.TS: checked before execution
  kMmx = 1 << 11,        ///< #UD if CR0.EM, #NM if CR0.TS, pending x87 exception #MF: checked before execution
  kX87 = 1 << 12,        ///< #NM if CR0.EM or CR0.TS: checked before execution
  kAvx = 1 << 13,        ///< #UD unless CR4.OSXSAVE and XCR0 has SSE and AVX, #NM if CR0.TS
  kNo66 = 1 << 14,       ///< 66 is ignored for the operand size
  kSystem = 1 << 15,     ///< not a user-mode instruction: the hardware fuzzer leaves it out
  kForce32 = 1 << 16,    ///< operand size: 32, or 64 in 64-bit mode (MOV CR, MOV DR)
  kUndoc = 1 << 17,      ///< undocumented alias: Capstone may not know it
};

/// Which arithmetic flags an instruction reads, writes, and leaves undefined (masks of RFlag). Undefined flags have one
/// canonical value in Callgate, but the real processor may give another one: the fuzzer masks them.
struct FlagEffect {
  u32 read = 0;
  u32 written = 0;
  u32 undefined = 0;
  constexpr FlagEffect undefines(u32 mask) const { return {read, written, undefined | mask}; }
  constexpr FlagEffect reads(u32 mask) const { return {read | mask, written, undefined}; }
};
constexpr FlagEffect kNoFlags{};
/// Writes `mask` with defined values; add .undefines(m) and .reads(m).
constexpr FlagEffect writes(u32 mask) { return {0, mask, 0}; }

namespace ir {
class Emitter;
}
/// Appends the translation of an instruction to a block (cpu/ir/ir.h).
using TranslateFn = void (*)(ir::Emitter&, const Insn&);

/// The handlers of a row: by operand size (16, 32, 64) and by the form of r/m (register, memory). Rows whose handlers
/// don't depend on one of them repeat the pointer. nullptr: that form doesn't exist (#UD).
struct Handlers {
  ExecFn exec[3][2] = {};
  TranslateFn translate[3][2] = {};  ///< nullptr: always executed by `exec`
};

/// One row.
struct Row {
  const char* encoding;
  const char* name;      ///< the mnemonic in lower case, as Capstone prints it where one name fits all forms
  const char* operands;
  u32 attributes;
  FlagEffect flags;
  const char* feature;   ///< CPUID feature it belongs to ("" = always), lower case as in Linux: "sse2", "cx16", "bmi1"
  Handlers handlers;
};

}  // namespace callgate
