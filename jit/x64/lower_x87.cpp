// x87 instructions. While emitted code works with them, the host's x87 unit is the guest's, control word included: a block
// with x87 instructions looks at Slot::kVectors first and loads it. Whoever leaves, or calls an instruction's handler, stores
// it (thunks.cpp).
//
// The pointers to the last instruction and its operand are the guest's, not the host's: CpuState holds them. An operand's
// address is stored at once. The instruction's own is a constant: it is stored where the next x87 instruction may not come
// first, and out of line where somebody leaves.
#include "base/verify.h"
#include "jit/x64/emitter.h"
#include "jit/x64/x87_thunks.h"

namespace callgate::jit::x64 {

namespace {
Mem x87_field(std::size_t offset, unsigned size) { return field(offsetof(CpuState, x87) + offset, size); }
}  // namespace

void Emitter::need_x87() {
  uses_x87_ = true;
  if (x87_ready_) return;
  x87_ready_ = true;
  destroy_flags();
  a_.cmp(x87_is_here(), 0);
  ColdStub stub{a_.newLabel(), a_.newLabel(), 0, context_.thunks.load_x87};
  a_.je(stub.entry);
  a_.bind(stub.back);
  cold_.push_back(stub);
}

void Emitter::store_last_x87(const LastX87& last) {
  if (!last.valid) return;
  const Mem pointer = x87_field(offsetof(X87State, instruction_pointer), 8);
  if (const auto value = static_cast<i64>(last.rip); value == static_cast<i32>(value)) {
    a_.mov(pointer, asmjit::Imm(value));
  } else {
    const auto half = [&](unsigned byte, u64 bits) {
      a_.mov(x87_field(offsetof(X87State, instruction_pointer) + byte, 4), asmjit::Imm(static_cast<i32>(bits)));
    };
    half(0, last.rip);
    half(4, last.rip >> 32);
  }
  // TOP and the tags are the host's now: what stands there doesn't matter, and a 32-bit store is the better one.
  static_assert(offsetof(X87State, opcode) == offsetof(X87State, top) + 2);
  static_assert(offsetof(X87State, empty) == offsetof(X87State, top) + 1);
  a_.mov(x87_field(offsetof(X87State, top), 4), u32{last.opcode} << 16);
}

void Emitter::settle_x87() {
  store_last_x87(last_x87_);
  last_x87_ = {};
}

// The instruction itself; an operand in memory is at [rax].
void Emitter::embed_x87(const X87Form& f) {
  a_.embedUInt8(f.opcode);
  a_.embedUInt8(f.is_memory() ? static_cast<u8>(f.modrm & 0x38) : f.modrm);
}

void Emitter::emit_x87(const X87Form& f) {
  if (f.kind == X87Form::Wait) return;
  // In the probe, rax is taken.
  if ((insn_->may_leave || !x87_ready_) && recipe_.kind == FlagRecipe::None) save_flags();
  need_x87();
  switch (f.kind) {
    case X87Form::Load:
    case X87Form::Store: {
      const ir::Op& op = block_->ops[insn_->first];
      probe(op);
      if (f.pointers) {
        effective_address(block_->mems[op.mem], x86::rdx, false);
        a_.mov(x87_field(offsetof(X87State, data_pointer), 8), x86::rdx);
      }
      embed_x87(f);
      break;
    }
    case X87Form::LoadControl: {
      probe({.opcode = ir::Opcode::Load, .size = f.size, .mem = block_->ops[insn_->first].mem});
      // To a word of another mode: x87_is_plain() (jit/build_block.h).
      a_.movzx(x86::ecx, x86::ptr(kAddress, 0, 2));
      a_.mov(x86::edx, x86::ecx);
      a_.not_(x86::edx);
      a_.test(x86::dl, 0x3F);
      a_.jnz(bail_label());
      a_.and_(x86::ecx, 0x300);
      a_.cmp(x86::ecx, 0x100);
      a_.je(bail_label());
      embed_x87(f);
      break;
    }
    case X87Form::StatusToAx: {
      static_assert(is_pinned(RAX));
      if (recipe_.kind != FlagRecipe::None && (recipe_.a == RAX || (!recipe_.b_is_imm && recipe_.b == RAX))) save_flags();
      embed_x87(f);
      a_.mov(gp(kHostOf[RAX], 2), x86::ax);
      break;
    }
    default:
      if (f.reads_flags) restore_flags();
      embed_x87(f);
      if (!f.writes_flags) break;
      flag_definitions_++;
      flags_in_host_ = true;
      flags_dirty_ = ((insn_->flags_live | insn_->flags_seen) & kArithmetic) != 0;
      recipe_ = {};
  }
  if (f.pointers) last_x87_ = {true, f.last_opcode(), insn_->rip};
}

}  // namespace callgate::jit::x64
