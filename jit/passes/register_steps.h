// Which writes of a register only add a constant to it: RSP by PUSH and POP, pointers and counters of loops.
#pragma once

#include <optional>

#include "cpu/ir/ir.h"

namespace callgate::jit {

/// By how much the WriteGpr `w` changes its register, if that is a constant.
inline std::optional<i64> constant_step(const ir::Block& block, const ir::Op& w) {
  if (w.high || w.size != 8) return std::nullopt;
  const ir::Op& value = block.ops[w.args[0]];
  if (value.opcode == ir::Opcode::Address) {
    const ir::Mem& m = block.mems[value.mem];
    if (m.base == w.reg && m.index == kGprZero && m.asize == 8 && m.moved == ir::kNoValue) return m.disp;
  }
  if (value.opcode == ir::Opcode::Compute && (value.info->kind == ir::OpKind::add || value.info->kind == ir::OpKind::sub)) {
    const ir::Op &a = block.ops[value.args[0]], &b = block.ops[value.args[1]];
    if (a.opcode == ir::Opcode::ReadGpr && a.reg == w.reg && b.opcode == ir::Opcode::Constant) {
      const i64 by = static_cast<i64>(b.imm);
      return value.info->kind == ir::OpKind::add ? by : -by;
    }
  }
  if (value.opcode == ir::Opcode::Compute && (value.info->kind == ir::OpKind::inc || value.info->kind == ir::OpKind::dec)) {
    const ir::Op& a = block.ops[value.args[0]];
    if (a.opcode == ir::Opcode::ReadGpr && a.reg == w.reg) return value.info->kind == ir::OpKind::inc ? 1 : -1;
  }
  return std::nullopt;
}

/// The register, without a constant, that the WriteGpr `w` adds to its own; kGprZero: it does something else.
inline u8 register_step(const ir::Block& block, const ir::Op& w) {
  if (w.high || w.size != 8) return kGprZero;
  const ir::Op& value = block.ops[w.args[0]];
  u8 by = kGprZero;
  if (value.opcode == ir::Opcode::Address) {
    const ir::Mem& m = block.mems[value.mem];
    if (m.base == w.reg && m.scale == 0 && m.disp == 0 && m.asize == 8 && m.moved == ir::kNoValue) by = m.index;
  } else if (value.opcode == ir::Opcode::Compute && value.info->kind == ir::OpKind::add) {
    const ir::Op &a = block.ops[value.args[0]], &b = block.ops[value.args[1]];
    if (a.opcode == ir::Opcode::ReadGpr && a.reg == w.reg && b.opcode == ir::Opcode::ReadGpr && !b.high) by = b.reg;
  }
  return by == w.reg ? kGprZero : by;
}

}  // namespace callgate::jit
