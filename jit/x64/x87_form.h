// An x87 instruction as the host takes it: recognised by its encoding, since the rows of the x87 have no IR. Only those that
// leave the same bits everywhere as their handlers do, while all exceptions are masked. Emits nothing.
#pragma once

#include "cpu/ir/ir.h"
#include "jit/x64/host.h"

namespace callgate::jit::x64 {

struct X87Form {
  enum Kind : u8 {
    None,         ///< the handler's
    Wait,         ///< nothing waits while all exceptions are masked
    Register,     ///< on the register stack alone
    Load,         ///< with an operand in memory
    Store,        ///< to memory
    LoadControl,  ///< FLDCW: another mode, perhaps
    StatusToAx,
  } kind = None;
  u8 opcode = 0, modrm = 0;
  u8 size = 0;                ///< of the memory operand, in bytes
  bool pointers = true;       ///< notes its address and its operand's (control instructions don't)
  bool reads_flags = false;   ///< FCMOVcc
  bool writes_flags = false;  ///< FCOMI and the like

  bool is_memory() const { return kind == Load || kind == Store || kind == LoadControl; }
  /// What X87State::opcode becomes.
  u16 last_opcode() const { return static_cast<u16>((opcode & 7) << 8 | modrm); }
};

/// The form of an instruction, in a mode in which all exceptions are masked.
X87Form x87_form(const ir::Mode& mode, const Insn& insn);
/// Gives each of these instructions an op that stands for its access (a Load; a Modify, where it stores; a CheckAligned, where
/// it may leave for other reasons) or for none (a Constant), so that the passes know what it does and needn't take it for a
/// handler's. The op comes last in the block.
void note_x87(ir::Block& block, const Host& host);

}  // namespace callgate::jit::x64
