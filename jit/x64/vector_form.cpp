#include "jit/x64/vector_form.h"

#include "cpu/vec/float.h"

namespace callgate::jit::x64 {

namespace {

const ir::OpInfo* const kPredicate = &ir::op_info<std::remove_const_t<decltype(vec::sse_predicate)>, u8>;
const ir::OpInfo* const kRelationFlags = &ir::op_info<std::remove_const_t<decltype(vec::set_relation_flags)>, fp::Relation>;

/// Where a value comes from, through extensions and truncations.
VectorOperand source_of(const ir::Block& block, ir::ValueId v) {
  const ir::Op& op = block.ops[v];
  using enum ir::Opcode;
  switch (op.opcode) {
    case ReadVec: return {VectorOperand::Vector, op.reg, op.size, 0, 0};
    case Load: return {VectorOperand::Memory, 0, op.size, v, 0};
    case Constant: return {VectorOperand::Immediate, 0, op.size, 0, op.imm};
    case ReadGpr:
      if (op.high || op.size < 4) return {};
      return {VectorOperand::Gpr, op.reg, op.size, 0, 0};
    case ZeroExtend: case Truncate: return source_of(block, op.args[0]);
    case Compute: {
      if (op.info != kPredicate) return {};
      VectorOperand o = source_of(block, op.args[0]);
      o.imm &= 7;
      return o;
    }
    default: return {};
  }
}

bool vector_or_memory(const VectorOperand& o) {
  return o.kind == VectorOperand::Vector || o.kind == VectorOperand::Memory;
}

/// Gives the operands of the form's operation; false: the host's instruction doesn't take them so.
bool place_operands(const ir::Block& block, const ir::Op& compute, VectorForm& f) {
  VectorOperand o[3];
  for (unsigned n = 0; n < compute.info->args && n < 3; n++) o[n] = source_of(block, compute.args[n]);
  const bool in_place = o[0].kind == VectorOperand::Vector && f.destination.kind == VectorOperand::Vector &&
                        o[0].reg == f.destination.reg;
  switch (f.op.shape) {
    case VectorShape::Binary:
      f.source = o[1];
      return in_place && vector_or_memory(o[1]);
    case VectorShape::BinaryImm:
      f.source = o[1];
      f.imm = static_cast<u8>(o[2].imm);
      return in_place && vector_or_memory(o[1]) && o[2].kind == VectorOperand::Immediate;
    case VectorShape::Shift:
      f.source = o[1];
      return in_place && (vector_or_memory(o[1]) || (o[1].kind == VectorOperand::Immediate && o[1].imm <= 255));
    case VectorShape::Unary:
      f.source = o[0];
      return f.destination.kind == VectorOperand::Vector && vector_or_memory(o[0]);
    case VectorShape::UnaryImm:
      f.source = o[0];
      f.imm = static_cast<u8>(o[1].imm);
      return f.destination.kind == VectorOperand::Vector && vector_or_memory(o[0]) &&
             o[1].kind == VectorOperand::Immediate;
    case VectorShape::ToGpr:
      f.source = o[0];
      return f.destination.kind == VectorOperand::Gpr && vector_or_memory(o[0]);
    case VectorShape::FromGpr:
      f.source = o[0];
      return f.destination.kind == VectorOperand::Vector &&
             (o[0].kind == VectorOperand::Gpr || o[0].kind == VectorOperand::Memory);
    case VectorShape::Compare:
      f.destination = o[0];
      f.source = o[1];
      return o[0].kind == VectorOperand::Vector && vector_or_memory(o[1]);
    default: return false;
  }
}

}  // namespace

VectorForm vector_form(const ir::Block& block, const ir::BlockInsn& insn) {
  if (insn.count == 0) return {};
  VectorForm f;
  ir::ValueId compute = ir::kNoValue;
  bool vectors = false;
  for (u32 n = insn.first; n < insn.first + insn.count; n++) {
    const ir::Op& op = block.ops[n];
    using enum ir::Opcode;
    switch (op.opcode) {
      case Compute:
        if (op.info == kPredicate || op.info == kRelationFlags) break;
        if (compute != ir::kNoValue) return {};
        compute = static_cast<ir::ValueId>(n);
        break;
      case ReadVec: case WriteVec: vectors = true; break;
      case CheckAligned: f.alignment = static_cast<u8>(op.imm); break;
      case Load: case Store: case ReadGpr: case WriteGpr: case Constant: case ZeroExtend: case Truncate: break;
      default: return {};
    }
  }
  if (!vectors) return {};
  const ir::Op& last = block.ops[insn.first + insn.count - 1];
  if (last.args[0] == ir::kNoValue) return {};
  switch (last.opcode) {
    case ir::Opcode::WriteVec: f.destination = {VectorOperand::Vector, last.reg, last.size, 0, 0}; break;
    case ir::Opcode::WriteGpr:
      if (last.high || last.size < 4) return {};
      f.destination = {VectorOperand::Gpr, last.reg, last.size, 0, 0};
      break;
    case ir::Opcode::Store:
      f.destination = {VectorOperand::Memory, 0, last.size, insn.first + insn.count - 1, 0};
      break;
    case ir::Opcode::Compute:
      if (last.info != kRelationFlags) return {};
      f.flags_op = insn.first + insn.count - 1;
      break;
    default: return {};
  }
  if (compute == ir::kNoValue) {
    f.kind = VectorForm::Move;
    f.source = source_of(block, last.args[0]);
    f.zeros = block.ops[last.args[0]].opcode == ir::Opcode::ZeroExtend;
    const bool to_vector = f.destination.kind == VectorOperand::Vector;
    if (to_vector && f.source.kind == VectorOperand::Gpr) return f.zeros && f.destination.size == 16 ? f : VectorForm{};
    if (to_vector) return vector_or_memory(f.source) ? f : VectorForm{};
    return f.source.kind == VectorOperand::Vector ? f : VectorForm{};
  }
  const ir::Op& op = block.ops[compute];
  f.op = vector_op(op.info);
  if (f.op.shape == VectorShape::None) return {};
  f.kind = VectorForm::Compute;
  if (f.destination.kind == VectorOperand::Memory) {  // MOVHPS to memory
    f.source = source_of(block, op.args[0]);
    f.kind = VectorForm::StoreHigh;
    return op.size == 8 && f.op.shape == VectorShape::Unary && f.destination.size == 8 &&
                   f.source.kind == VectorOperand::Vector && f.source.size == 16
               ? f
               : VectorForm{};
  }
  return place_operands(block, op, f) ? f : VectorForm{};
}

}  // namespace callgate::jit::x64
