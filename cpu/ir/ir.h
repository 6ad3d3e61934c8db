// The translator's IR: linear and guest-shaped. A block is a list of guest instructions, each a short list of ops that read
// registers, compute, and write back, in the order of the instruction's semantic. An op keeps x86's operands: an effective
// address whole, a register with its size, a condition code. Nothing of any host is in here.
//
// The rules (ir/verify.cpp checks them):
//  - a value is defined once and used in the same instruction only;
//  - nothing of an instruction is committed before its last op that may leave the block (loads, stores, checks, resolve):
//    whoever leaves does so with the state as before the instruction, and the interpreter executes it again;
//  - an instruction without ops is executed by its handler (Insn::exec).
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "cpu/insn.h"
#include "cpu/ir/ops.h"

namespace callgate::ir {

/// A value of the current instruction: the op that made it.
using ValueId = u16;
constexpr ValueId kNoValue = 0xFFFF;

enum class Opcode : u8 {
  Constant,     ///< imm
  ReadGpr,      ///< reg; high: bits 15..8 of it
  WriteGpr,     ///< reg; size 4 clears the upper half
  ReadVec,      ///< the low `size` bytes of xmm `reg`
  WriteVec,     ///< the low `size` bytes of xmm `reg`; the others stay
  Address,      ///< the effective address of mem, cut to its address size
  Load,         ///< from memory; may leave
  Modify,       ///< from memory that Update will write; may leave
  Store,        ///< to memory; may leave
  Update,       ///< to the memory of the last Modify
  CheckAligned, ///< leaves unless the memory operand is aligned to imm bytes
  Compute,      ///< info->kind on the operands
  ZeroExtend,
  SignExtend,
  Truncate,
  Select,       ///< a ? b : c
  Member,       ///< `size` bytes at offset imm of a struct value
  Condition,    ///< condition code cc of the flags, as a bool
  SetDirection, ///< DF = imm
  When,         ///< what follows up to EndWhen happens only if a holds
  EndWhen,
  LeaveIf,      ///< leaves if a holds: the instruction faults
  Resolve,      ///< leaves unless code is known at the (computed) target a; a Jump to a follows
  Jump,         ///< the next RIP is a
};

/// A memory operand: [seg: base + (index << scale) + disp], cut to asize bytes; or a constant offset.
struct Mem {
  u8 base = kGprZero, index = kGprZero, scale = 0;
  u8 asize = 8;  ///< bytes of the effective address
  u8 seg = DS;
  i64 disp = 0;
  ValueId moved = kNoValue;  ///< a further number of bytes to add, computed
};

struct Op {
  Opcode opcode;
  u8 size = 0;      ///< of the value made or written, in bytes
  u8 reg = 0;       ///< register
  bool high = false;
  u8 cc = 0;
  u16 mem = 0;      ///< index into Block::mems
  ValueId args[kMaxOpArgs] = {kNoValue, kNoValue, kNoValue, kNoValue, kNoValue, kNoValue};
  u64 imm = 0;
  const OpInfo* info = nullptr;
  // What the passes found out.
  u8 group = 0;         ///< memory ops: the group that shares a probe; 0: it probes for itself
  bool probes = false;  ///< it is the one that probes for its group
  u16 uses = 0;         ///< of the value made
  u32 flags_needed = 0; ///< Compute: the arithmetic flags that an instruction reads before they are written again
  u32 flags_seen = 0;   ///< Compute: those that are only seen if somebody leaves in the middle of the block
  u32 flags_wanted() const { return flags_needed | flags_seen; }
};

/// A guest instruction of a block.
struct BlockInsn {
  Insn insn;
  u64 rip = 0;
  u32 first = 0, count = 0;  ///< its ops; none: executed by its handler
  u32 flags_read = 0;        ///< of RFLAGS' arithmetic bits
  u32 flags_written = 0;
  u32 flags_live = 0;        ///< after it: what an instruction reads, before it is written again
  u32 flags_seen = 0;        ///< after it: what is seen by whoever leaves, before it is written again
  bool may_leave = false;    ///< may leave in the middle: then all flags before it are read
  bool exits = false;        ///< a conditional jump out of the block, which goes on behind it
  bool in_part = false;      ///< the rest of it is in another page: the interpreter's
};

/// Memory accesses that share a probe.
struct ProbeGroup {
  i32 low = 0;      ///< of the lowest byte, from the first access's address
  u32 span = 0;     ///< bytes from the lowest to the highest
  bool write = false;
};
constexpr unsigned kMostGroups = 6;

/// The op may leave the block before its instruction has committed anything.
bool may_leave(const Op& op);

/// What a translation depends on besides the code's bytes: part of a block's key.
struct Mode {
  CodeSize code_size = CodeSize::Bits64;
  bool long64 = true;
  u8 stack_size = 8;
  u8 flat_segments = 0x3F;  ///< bit i: accesses through segment i need no check, or one of its limit (the backend's)
  u8 zero_bases = 0x0F;     ///< bit i: the base of segment i is 0
  bool flat_code = true;    ///< no jump to a constant leaves the code segment
  bool real = false;        ///< real or virtual-8086 mode
  bool sse = false;         ///< SSE instructions may be executed, and have all exceptions masked
  u64 rip_mask() const { return long64 ? ~u64{0} : 0xFFFFFFFF; }
};

struct Block {
  Mode mode;
  u64 rip = 0;  ///< of the first instruction
  std::vector<BlockInsn> insns;
  std::vector<Op> ops;
  std::vector<Mem> mems;
  std::vector<ProbeGroup> groups;  ///< number n is groups[n - 1]

  u64 next_rip() const {
    const BlockInsn& last = insns.back();
    return (last.rip + last.insn.length) & mode.rip_mask();
  }
  void clear() {
    insns.clear();
    ops.clear();
    mems.clear();
    groups.clear();
  }
};

/// Appends the ops of one instruction to a block; IrBuilder's (cpu/ir/ir_builder.h) untyped half.
class Emitter {
 public:
  explicit Emitter(Block& block) : block(block) {}

  Block& block;
  const Insn* insn = nullptr;  ///< the instruction being translated
  u64 next_rip = 0;            ///< the address behind it
  bool possible = true;        ///< false: this instruction must be executed by its handler

  const Mode& mode() const { return block.mode; }
  void impossible() { possible = false; }

  ValueId constant(u64 v, unsigned size);
  ValueId read_gpr(unsigned reg, unsigned size, bool high = false);
  void write_gpr(unsigned reg, unsigned size, ValueId value, bool high = false);
  ValueId read_vec(unsigned reg, unsigned size);
  void write_vec(unsigned reg, unsigned size, ValueId value);
  /// The instruction's own memory operand.
  Mem operand() const;
  ValueId address(const Mem& mem, unsigned size);
  ValueId load(const Mem& mem, unsigned size);
  ValueId modify(const Mem& mem, unsigned size);
  void store(const Mem& mem, unsigned size, ValueId value);
  void update(unsigned size, ValueId value);
  void check_aligned(const Mem& mem, unsigned alignment);
  ValueId compute(const OpInfo& info, std::initializer_list<ValueId> args);
  ValueId convert(Opcode opcode, unsigned size, ValueId value);
  ValueId select(ValueId condition, ValueId yes, ValueId no, unsigned size);
  ValueId member(ValueId value, unsigned offset, unsigned size);
  ValueId condition(unsigned cc);
  void set_direction(bool down);
  void when(ValueId condition);
  void end_when();
  void leave_if(ValueId condition);
  void resolve(ValueId target);
  void jump(ValueId target);
  /// The size in bytes of a value.
  unsigned size_of(ValueId value) const { return block.ops[value].size; }
  const Op& op(ValueId value) const { return block.ops[value]; }

 private:
  ValueId add(Op op, std::initializer_list<ValueId> args = {});
  u16 add_mem(const Mem& mem);
};

/// The memory operand of an instruction; `next_rip`: behind it.
Mem operand_of(const Insn& insn, u64 next_rip);

/// A block in words, for traces and failures.
std::string print(const Block& block);
/// The ops of one of its instructions, a line each.
std::string print(const Block& block, const BlockInsn& insn);
/// Checks the rules above; an empty string, or what is wrong.
std::string verify(const Block& block);

}  // namespace callgate::ir
