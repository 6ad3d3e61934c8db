#include "cpu/ir/ir.h"

namespace callgate::ir {

bool may_leave(const Op& op) {
  using enum Opcode;
  switch (op.opcode) {
    case Load: case Modify: case Store: return op.group == 0 || op.probes;
    case CheckAligned: return op.group == 0;
    case LeaveIf: case Resolve: return true;
    default: return false;
  }
}

ValueId Emitter::add(Op op, std::initializer_list<ValueId> args) {
  unsigned n = 0;
  for (const ValueId a : args) op.args[n++] = a;
  block.ops.push_back(op);
  return static_cast<ValueId>(block.ops.size() - 1);
}

u16 Emitter::add_mem(const Mem& mem) {
  // An access that needs the checks of its segment is the handler's.
  if (!(mode().flat_segments >> mem.seg & 1)) impossible();
  block.mems.push_back(mem);
  return static_cast<u16>(block.mems.size() - 1);
}

ValueId Emitter::constant(u64 v, unsigned size) {
  return add({.opcode = Opcode::Constant, .size = static_cast<u8>(size), .imm = v & low_mask(8 * size)});
}
ValueId Emitter::read_gpr(unsigned reg, unsigned size, bool high) {
  return add({.opcode = Opcode::ReadGpr, .size = static_cast<u8>(size), .reg = static_cast<u8>(reg), .high = high});
}
void Emitter::write_gpr(unsigned reg, unsigned size, ValueId value, bool high) {
  add({.opcode = Opcode::WriteGpr, .size = static_cast<u8>(size), .reg = static_cast<u8>(reg), .high = high}, {value});
}
ValueId Emitter::read_vec(unsigned reg, unsigned size) {
  return add({.opcode = Opcode::ReadVec, .size = static_cast<u8>(size), .reg = static_cast<u8>(reg)});
}
void Emitter::write_vec(unsigned reg, unsigned size, ValueId value) {
  add({.opcode = Opcode::WriteVec, .size = static_cast<u8>(size), .reg = static_cast<u8>(reg)}, {value});
}

Mem Emitter::operand() const { return operand_of(*insn, next_rip); }

Mem operand_of(const Insn& insn, u64 next_rip) {
  Mem m{insn.base, insn.index, insn.scale, insn.asize, insn.seg, insn.disp, kNoValue};
  if (m.base == kGprRip) {
    m.base = kGprZero;
    m.disp += static_cast<i64>(next_rip);
  }
  return m;
}
ValueId Emitter::address(const Mem& mem, unsigned size) {
  block.mems.push_back(mem);  // no access: no segment matters
  return add({.opcode = Opcode::Address, .size = static_cast<u8>(size), .mem = static_cast<u16>(block.mems.size() - 1)});
}
ValueId Emitter::load(const Mem& mem, unsigned size) {
  return add({.opcode = Opcode::Load, .size = static_cast<u8>(size), .mem = add_mem(mem)});
}
ValueId Emitter::modify(const Mem& mem, unsigned size) {
  return add({.opcode = Opcode::Modify, .size = static_cast<u8>(size), .mem = add_mem(mem)});
}
void Emitter::store(const Mem& mem, unsigned size, ValueId value) {
  add({.opcode = Opcode::Store, .size = static_cast<u8>(size), .mem = add_mem(mem)}, {value});
}
void Emitter::update(unsigned size, ValueId value) {
  add({.opcode = Opcode::Update, .size = static_cast<u8>(size)}, {value});
}
void Emitter::check_aligned(const Mem& mem, unsigned alignment) {
  add({.opcode = Opcode::CheckAligned, .mem = add_mem(mem), .imm = alignment});
}
ValueId Emitter::compute(const OpInfo& info, std::initializer_list<ValueId> args) {
  return add({.opcode = Opcode::Compute, .size = info.result_size, .info = &info}, args);
}
ValueId Emitter::convert(Opcode opcode, unsigned size, ValueId value) {
  return add({.opcode = opcode, .size = static_cast<u8>(size)}, {value});
}
ValueId Emitter::select(ValueId condition, ValueId yes, ValueId no, unsigned size) {
  return add({.opcode = Opcode::Select, .size = static_cast<u8>(size)}, {condition, yes, no});
}
ValueId Emitter::member(ValueId value, unsigned offset, unsigned size) {
  return add({.opcode = Opcode::Member, .size = static_cast<u8>(size), .imm = offset}, {value});
}
ValueId Emitter::condition(unsigned cc) {
  return add({.opcode = Opcode::Condition, .size = 1, .cc = static_cast<u8>(cc)});
}
void Emitter::set_direction(bool down) { add({.opcode = Opcode::SetDirection, .imm = down}); }
void Emitter::when(ValueId condition) {
  add({.opcode = Opcode::When}, {condition});
}
void Emitter::end_when() { add({.opcode = Opcode::EndWhen}); }
void Emitter::leave_if(ValueId condition) {
  add({.opcode = Opcode::LeaveIf}, {condition});
}
void Emitter::resolve(ValueId target) {
  add({.opcode = Opcode::Resolve}, {target});
}
void Emitter::jump(ValueId target) { add({.opcode = Opcode::Jump}, {target}); }

}  // namespace callgate::ir
