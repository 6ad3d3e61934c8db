// Instructions behind VEX. Guest vector registers are the host's of the same number, the upper halves included once a block
// has such an instruction (Slot::kVectors bit 1): then it is the host's own, encoded again with its operand in memory at
// [rax], and its general register where the guest's is.
#include "base/verify.h"
#include "jit/x64/emitter.h"
#include "jit/x64/vex_form.h"

namespace callgate::jit::x64 {

namespace Inst = x86::Inst;

// As need_vectors(), and the upper halves.
void Emitter::need_wide_vectors() {
  uses_vectors_ = uses_wide_vectors_ = true;
  if (wide_vectors_ready_) return;
  wide_vectors_ready_ = vectors_ready_ = true;
  destroy_flags();
  a_.test(slot(kVectors, 1), kWideVectors);
  ColdStub stub{a_.newLabel(), a_.newLabel(), 0, context_.thunks.load_wide_vectors};
  a_.jz(stub.entry);
  a_.bind(stub.back);
  cold_.push_back(stub);
}

void Emitter::emit_vex(const VexForm& f) {
  const bool destroys = insn_->may_leave || (f.kind == VexForm::Vector && !wide_vectors_ready_);
  if (writes_inputs_of(recipe_, *insn_) || (destroys && recipe_.kind == FlagRecipe::None)) save_flags();
  if (f.kind == VexForm::Vector) emit_vex_vector(f);
  else emit_vex_integer(f);
  if (!f.writes_flags) return;
  flag_definitions_++;
  recipe_ = {};
  const u32 wanted = (insn_->flags_live | insn_->flags_seen) & kArithmetic;
  const bool bextr = insn_->insn.opcode == 0xF7;
  const u32 open = f.kind != VexForm::Integer || context_.host.bmi_flags ? 0 : u32{kAF | kPF} | (bextr ? u32{kSF} : 0);
  flags_in_host_ = flags_dirty_ = false;
  if ((wanted & open) == 0) {
    flags_in_host_ = true;
    flags_dirty_ = wanted != 0;
  } else {  // what the manual leaves open is canonically clear, as OF is
    a_.lahf();
    a_.and_(x86::ah, ~open & 0xFF);
    a_.mov(x86::al, 0);
    a_.mov(slot(kFlagsImage, 2), x86::ax);
  }
}

const ir::Op* Emitter::access_of_insn() const {
  for (u32 n = insn_->first; n < insn_->first + insn_->count; n++)
    if (const ir::Opcode o = block_->ops[n].opcode; o == ir::Opcode::Load || o == ir::Opcode::Modify || o == ir::Opcode::Store)
      return &block_->ops[n];
  return nullptr;
}

void Emitter::emit_vex_vector(const VexForm& f) {
  need_wide_vectors();
  const Insn& i = insn_->insn;
  unsigned reg = i.reg, rm = i.rm;
  if (f.is_memory) {
    probe(*access_of_insn(), f.alignment);
    rm = x86::Gp::kIdAx;
    VERIFY_BLOCK(operand_.baseId() == x86::Gp::kIdAx, "an operand at another register than the address's");
  }
  const bool has_gpr = f.reg_is_gpr || f.rm_is_gpr;
  const unsigned guest = f.gpr(i);
  if (has_gpr) {
    const bool pinned = is_pinned(guest);
    const unsigned host = pinned ? static_cast<unsigned>(kHostOf[guest]) : unsigned{x86::Gp::kIdDx};
    if (!pinned && !f.writes_gpr) a_.mov(x86::rdx, home(guest));
    (f.reg_is_gpr ? reg : rm) = host;
  }
  const bool index = f.is_memory && operand_.hasIndex();
  const unsigned index_id = index ? operand_.indexId() : 0;
  // The three-byte prefix; R, X, B and vvvv are inverted. SDM 2, Vector Extension (VEX).
  a_.embedUInt8(0xC4);
  a_.embedUInt8(static_cast<u8>((reg & 8 ? 0 : 0x80) | (index_id & 8 ? 0 : 0x40) | (rm & 8 ? 0 : 0x20) | f.map));
  a_.embedUInt8(static_cast<u8>(f.w << 7 | (~i.vvvv & 15) << 3 | i.vex_l << 2 | f.prefix));
  a_.embedUInt8(i.opcode);
  if (f.is_memory) {
    const i32 disp = static_cast<i32>(operand_.offset());
    const bool short_disp = disp == static_cast<i8>(disp);
    a_.embedUInt8(static_cast<u8>((disp == 0 ? 0 : short_disp ? 0x40 : 0x80) | (reg & 7) << 3 | (index ? 4 : rm)));
    if (index) a_.embedUInt8(static_cast<u8>(operand_.shift() << 6 | (index_id & 7) << 3 | rm));
    if (disp != 0 && short_disp) a_.embedUInt8(static_cast<u8>(disp));
    else if (disp != 0) a_.embedUInt32(static_cast<u32>(disp));
  } else if (f.has_modrm) {
    a_.embedUInt8(static_cast<u8>(0xC0 | (reg & 7) << 3 | (rm & 7)));
  }
  if (f.has_imm) a_.embedUInt8(static_cast<u8>(i.imm));
  if (has_gpr && f.writes_gpr && !is_pinned(guest)) a_.mov(home(guest), x86::rdx);
}

namespace {
u32 integer_instruction(const Insn& i, u8 prefix) {
  switch (i.opcode) {
    case 0xF2: return Inst::kIdAndn;
    case 0xF3: return (i.modrm >> 3 & 7) == 1 ? Inst::kIdBlsr : (i.modrm >> 3 & 7) == 2 ? Inst::kIdBlsmsk : Inst::kIdBlsi;
    case 0xF5: return prefix == 0 ? Inst::kIdBzhi : prefix == 3 ? Inst::kIdPdep : Inst::kIdPext;
    case 0xF6: return Inst::kIdMulx;
    case 0xF7: return prefix == 0 ? Inst::kIdBextr : prefix == 1 ? Inst::kIdShlx : prefix == 3 ? Inst::kIdShrx : Inst::kIdSarx;
    case 0xF0: return Inst::kIdRorx;
    default: VERIFY(false, "an instruction of BMI that nobody knows");
  }
}
}  // namespace

void Emitter::emit_vex_integer(const VexForm& f) {
  const Insn& i = insn_->insn;
  const unsigned size = f.gpr_size;
  if (f.is_memory) probe(*access_of_insn());
  Mem place = operand_;
  place.setSize(size);
  const asmjit::Operand e = f.is_memory       ? asmjit::Operand(place)
                            : is_pinned(i.rm) ? asmjit::Operand(gp(kHostOf[i.rm], size))
                                              : asmjit::Operand(home(i.rm, size));
  const u32 inst = integer_instruction(i, f.prefix);
  const auto destination = [&](unsigned guest, const Gp& otherwise) {
    return is_pinned(guest) ? gp(kHostOf[guest], size) : resize(otherwise, size);
  };
  const auto keep = [&](unsigned guest, const Gp& value) {
    if (!is_pinned(guest)) a_.mov(home(guest), resize(value, 8));
  };
  if (inst == Inst::kIdMulx) {  // the other factor is in rdx
    const Gp high = destination(i.reg, x86::rcx), low = destination(i.vvvv, x86::rax);
    a_.mov(x86::rdx, gp(kHostOf[RDX], 8));
    a_.emit(inst, high, low, e);
    keep(i.vvvv, low);
    keep(i.reg, high);
    return;
  }
  const Gp result = destination(inst == Inst::kIdBlsr || inst == Inst::kIdBlsmsk || inst == Inst::kIdBlsi ? i.vvvv : i.reg, x86::rdx);
  const auto b = [&] {
    if (is_pinned(i.vvvv)) return gp(kHostOf[i.vvvv], size);
    a_.mov(x86::rcx, home(i.vvvv));
    return resize(x86::rcx, size);
  };
  switch (inst) {
    case Inst::kIdAndn: case Inst::kIdPdep: case Inst::kIdPext: a_.emit(inst, result, b(), e); break;
    case Inst::kIdBlsr: case Inst::kIdBlsmsk: case Inst::kIdBlsi: a_.emit(inst, result, e); break;
    case Inst::kIdRorx: a_.emit(inst, result, e, asmjit::Imm(i.imm & 0xFF)); break;
    default: a_.emit(inst, result, e, b());
  }
  keep(inst == Inst::kIdBlsr || inst == Inst::kIdBlsmsk || inst == Inst::kIdBlsi ? i.vvvv : i.reg, result);
}

}  // namespace callgate::jit::x64
