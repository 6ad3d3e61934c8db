// What IR means: an instruction's ops executed one by one, operations by their portable references (OpInfo::reference). The
// measure of every backend's lowerings, in tests. Knows no decoder, no semantics and no host.
#pragma once

#include <cstring>
#include <vector>

#include "base/verify.h"
#include "cpu/ir/ir.h"
#include "cpu/state.h"

namespace callgate::ir {

class Evaluator {
 public:
  /// `ram`: what is at linear address 0. Accesses are not checked.
  Evaluator(const Block& block, CpuState& state, u8* ram) : block_(block), s_(state), ram_(ram), values_(block.ops.size()) {}

  /// False when the instruction leaves; then nothing of it has happened.
  bool execute(const BlockInsn& insn) {
    bool skipping = false;
    for (u32 n = insn.first; n < insn.first + insn.count; n++) {
      const Op& op = block_.ops[n];
      if (op.opcode == Opcode::EndWhen) skipping = false;
      if (op.opcode == Opcode::When) skipping = number(op.args[0]) == 0;
      if (skipping) continue;
      if (op.opcode == Opcode::LeaveIf && number(op.args[0]) != 0) return false;
      execute(op, n);
    }
    return true;
  }

 private:
  u64 number(ValueId v) const { return load_as<u64>(values_[v].bytes) & low_mask(8u * std::min<unsigned>(block_.ops[v].size, 8)); }
  void set(u32 n, u64 value) { store_as<u64>(values_[n].bytes, value); }

  u64 address(const Mem& m, bool with_segment) const {
    u64 at = s_.gpr[m.base] + (s_.gpr[m.index] << m.scale) + static_cast<u64>(m.disp);
    if (m.moved != kNoValue) at += number(m.moved);
    at &= low_mask(8u * m.asize);
    return with_segment ? at + s_.seg[m.seg].base : at;
  }
  u8* memory(const Op& op) { return ram_ + address(block_.mems[op.mem], true); }

  void write_gpr(const Op& op) {
    const u64 v = number(op.args[0]);
    if (op.size >= 4) s_.gpr[op.reg] = op.size == 4 ? v & 0xFFFFFFFF : v;
    else std::memcpy(reinterpret_cast<u8*>(&s_.gpr[op.reg]) + op.high, &v, op.size);
  }

  void execute(const Op& op, u32 n) {
    using enum Opcode;
    switch (op.opcode) {
      case Constant: set(n, op.imm); break;
      case ReadGpr: set(n, (op.high ? s_.gpr[op.reg] >> 8 : s_.gpr[op.reg]) & low_mask(8u * op.size)); break;
      case WriteGpr: write_gpr(op); break;
      case Address: set(n, address(block_.mems[op.mem], false) & low_mask(8u * op.size)); break;
      case Modify: modified_ = memory(op); [[fallthrough]];
      case Load: std::memcpy(values_[n].bytes, memory(op), op.size); break;
      case Store: std::memcpy(memory(op), values_[op.args[0]].bytes, op.size); break;
      case Update: std::memcpy(modified_, values_[op.args[0]].bytes, op.size); break;
      case Compute: {
        OpValue args[kMaxOpArgs];
        for (unsigned a = 0; a < op.info->args; a++) args[a] = values_[op.args[a]];
        op.info->reference(args, &values_[n], &s_.flags, nullptr);
        break;
      }
      case ZeroExtend: case Truncate: set(n, number(op.args[0]) & low_mask(8u * op.size)); break;
      case SignExtend: {
        const unsigned from = 8u * block_.ops[op.args[0]].size;
        set(n, static_cast<u64>(static_cast<i64>(number(op.args[0]) << (64 - from)) >> (64 - from)) & low_mask(8u * op.size));
        break;
      }
      case Select: values_[n] = values_[op.args[number(op.args[0]) != 0 ? 1 : 2]]; break;
      case Member: std::memcpy(values_[n].bytes, values_[op.args[0]].bytes + op.imm, op.size); break;
      case Condition: set(n, s_.flags.condition(op.cc)); break;
      case SetDirection: s_.flags.assign(kDF, op.imm != 0); break;
      case Jump: s_.rip = number(op.args[0]); break;
      case When: case EndWhen: case LeaveIf: case Resolve: case CheckAligned: break;
      default: VERIFY(false, "an op that the evaluator doesn't know");
    }
  }

  const Block& block_;
  CpuState& s_;
  u8* ram_;
  std::vector<OpValue> values_;
  u8* modified_ = nullptr;
};

}  // namespace callgate::ir
