// Vector instructions. While emitted code works with vectors, the guest's xmm registers are the host's, and MXCSR is the
// guest's: a block with vector instructions looks at Slot::kVectors first and loads them. Whoever leaves, or calls an
// instruction's handler, stores them (thunks.cpp).
#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

namespace Inst = x86::Inst;

void Emitter::need_vectors() {
  uses_vectors_ = true;
  if (vectors_ready_) return;
  vectors_ready_ = true;
  destroy_flags();
  a_.cmp(slot(kVectors, 1), 0);
  ColdStub stub{a_.newLabel(), a_.newLabel(), 0, context_.thunks.load_vectors};
  a_.je(stub.entry);
  a_.bind(stub.back);
  cold_.push_back(stub);
}

asmjit::Operand Emitter::vector_operand(const VectorOperand& o, const VectorForm& form) {
  switch (o.kind) {
    case VectorOperand::Vector: return x86::xmm(o.reg);
    case VectorOperand::Gpr: return is_pinned(o.reg) ? asmjit::Operand(gp(kHostOf[o.reg], o.size)) : asmjit::Operand(home(o.reg, o.size));
    case VectorOperand::Memory:
      probe(block_->ops[o.op], form.alignment);
      return operand(o.size);
    default: VERIFY_BLOCK(false, "a vector instruction with an operand of no kind");
  }
}

void Emitter::emit_vector(const VectorForm& f) {
  need_vectors();
  switch (f.kind) {
    case VectorForm::Move: return emit_vector_move(f);
    case VectorForm::StoreHigh:
      probe(block_->ops[f.destination.op]);
      a_.movhps(operand(8), x86::xmm(f.source.reg));
      return;
    default: break;
  }
  const auto inst = f.op.inst;
  if (f.op.shape == VectorShape::Shift && f.source.kind == VectorOperand::Immediate) {
    a_.emit(inst, x86::xmm(f.destination.reg), asmjit::Imm(f.source.imm));
    return;
  }
  const asmjit::Operand source = vector_operand(f.source, f);
  switch (f.op.shape) {
    case VectorShape::BinaryImm:
    case VectorShape::UnaryImm:
      a_.emit(inst, x86::xmm(f.destination.reg), source, asmjit::Imm(f.imm));
      break;
    case VectorShape::ToGpr: {
      // The operation's own width; a 32-bit result clears the upper half.
      const unsigned size = f.op.rex_w ? 8 : 4;
      const bool pinned = is_pinned(f.destination.reg);
      const Gp d = pinned ? gp(kHostOf[f.destination.reg], size) : gp(x86::Gp::kIdDx, size);
      a_.emit(inst, d, source);
      if (!pinned) a_.mov(home(f.destination.reg), resize(d, 8));
      break;
    }
    case VectorShape::Compare:
      a_.emit(inst, x86::xmm(f.destination.reg), source);
      flags_defined(block_->ops[f.flags_op]);
      break;
    // MOVLHPS from memory is MOVHPS.
    case VectorShape::Binary:
      if (inst == Inst::kIdMovlhps && source.isMem()) {
        a_.movhps(x86::xmm(f.destination.reg), source.as<Mem>());
        break;
      }
      [[fallthrough]];
    default: a_.emit(inst, x86::xmm(f.destination.reg), source);
  }
}

void Emitter::emit_vector_move(const VectorForm& f) {
  const VectorOperand &d = f.destination, &s = f.source;
  if (d.kind == VectorOperand::Memory) {
    probe(block_->ops[d.op], f.alignment);
    const Mem to = operand(d.size);
    const auto from = x86::xmm(s.reg);
    if (d.size == 16) a_.movups(to, from);
    else if (d.size == 8) a_.movlps(to, from);
    else a_.movss(to, from);
    return;
  }
  if (d.kind == VectorOperand::Gpr) {
    const unsigned size = s.size == 8 && d.size == 8 ? 8 : 4;
    const bool pinned = is_pinned(d.reg);
    const Gp to = pinned ? gp(kHostOf[d.reg], size) : gp(x86::Gp::kIdDx, size);
    if (size == 8) a_.movq(to, x86::xmm(s.reg));
    else a_.movd(to, x86::xmm(s.reg));
    if (!pinned) a_.mov(home(d.reg), resize(to, 8));
    return;
  }
  const auto to = x86::xmm(d.reg);
  const asmjit::Operand from = vector_operand(s, f);
  if (s.kind == VectorOperand::Gpr) {
    a_.emit(s.size == 8 ? Inst::kIdMovq : Inst::kIdMovd, to, from);
    return;
  }
  const bool memory = s.kind == VectorOperand::Memory;
  switch (s.size) {
    case 16: a_.emit(memory ? Inst::kIdMovups : Inst::kIdMovaps, to, from); break;
    case 8:
      if (f.zeros) a_.emit(Inst::kIdMovq, to, from);
      else a_.emit(memory ? Inst::kIdMovlps : Inst::kIdMovsd, to, from);
      break;
    default:
      VERIFY_BLOCK(s.size == 4, "a vector move of another size than 4, 8 or 16");
      VERIFY_BLOCK(memory == f.zeros, "MOVSS clears the register from memory, and only then");
      a_.emit(Inst::kIdMovss, to, from);
  }
}

}  // namespace callgate::jit::x64
