#include "jit/x64/emitter.h"

#include <fmt/format.h>

#include "base/verify.h"
#include "cpu/hooked_code.h"
#include "cpu/table/row.h"

namespace callgate::jit::x64 {

Emitter::Emitter(const EmitContext& context, const ir::Block& block, const Loop* loop)
    : context_(context), block_(&block), loop_(loop), code_(context.workshop.code), a_(context.workshop.assembler) {
  context.workshop.memory.release();
  code_.reset(asmjit::ResetPolicy::kSoft);
  code_.init(asmjit::Environment::host(), reinterpret_cast<u64>(context.arena.next()));
  code_.setErrorHandler(this);
  code_.attach(&a_);
}

// The state in which `part` is entered.
void Emitter::begin(const ir::Block& part) {
  block_ = &part;
  loc_.assign(part.ops.size(), {});
  uses_.resize(part.ops.size());
  for (std::size_t n = 0; n < part.ops.size(); n++) uses_[n] = part.ops[n].uses;
  for (auto& v : in_scratch_) v = ir::kNoValue;
  busy_ = locked_ = temp_busy_ = 0;
  skip_to_ = 0;
  ended_ = false;
  flags_in_host_ = flags_dirty_ = false;
  last_x87_ = {};
  operand_ = x86::ptr(kAddress);
  const EntryState& entry = context_.states[context_.entry_state];
  recipe_ = entry.flags;
  vectors_ready_ = entry.vectors;
  wide_vectors_ready_ = entry.wide_vectors;
  x87_ready_ = entry.x87;
  ends_plain_ = !can_link(part.next_rip());
  const ir::BlockInsn& last = part.insns.back();
  if (last.count == 0) ends_plain_ = true;
  bool conditional = false;
  for (u32 n = last.first; n < last.first + last.count; n++) {
    const ir::Op& op = part.ops[n];
    if (op.opcode == ir::Opcode::When) conditional = true;
    if (op.opcode == ir::Opcode::EndWhen) conditional = false;
    if (op.opcode != ir::Opcode::Jump || conditional) continue;
    const ir::Op& target = part.ops[op.args[0]];
    ends_plain_ = target.opcode != ir::Opcode::Constant || !can_link(target.imm);
  }
}

void Emitter::fail(const char* condition, const char* file, int line, const char* why) const {
  const std::string at = insn_ != nullptr ? fmt::format(" at {:#x}, v{}", insn_->rip, op_index_) : "";
  verify_failed(condition, file, line, fmt::format("{}{}, in\n{}", why, at, ir::print(*block_)).c_str());
}

void Emitter::handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) {
  VERIFY_BLOCK(false, message);
}

Emitted Emitter::emit() {
  const ir::Block& block = *block_;
  if (loop_ != nullptr && !emit_rounds()) return {};
  begin(block);
  const u32 count = static_cast<u32>(block_->insns.size());
  asmjit::Label no_budget = a_.newLabel();
  if (context_.check != nullptr) emit_check(*context_.check);
  a_.sub(slot(kBudget), count);
  a_.js(no_budget);
  for (insn_index_ = 0; insn_index_ < count; insn_index_++) {
    starts_.push_back(static_cast<u32>(a_.offset()));
    emit_insn(block_->insns[insn_index_]);
  }
  if (!ended_) {
    settle_x87();
    jump_to(block_->next_rip());
  }
  starts_.push_back(static_cast<u32>(a_.offset()));
  emit_cold_stubs();
  emit_side_exits();
  emit_link_stubs();
  a_.bind(no_budget);
  save_by(context_.states[context_.entry_state].flags);
  a_.mov(x86::ecx, context_.block_number);
  a_.jmp(reinterpret_cast<u64>(context_.thunks.exit_budget));

  code_.flatten();
  code_.resolveUnresolvedLinks();
  Emitted out;
  out.entry = context_.arena.next();
  out.size = code_.codeSize();
  if (out.size > context_.arena.room()) return {};
  VERIFY_BLOCK(code_.relocateToBase(reinterpret_cast<u64>(out.entry)) == asmjit::kErrorOk, "relocation failed");
  std::vector<u8>& bytes = context_.workshop.bytes;
  bytes.resize(code_.codeSize());
  code_.copyFlattenedData(bytes.data(), bytes.size());
  context_.arena.append(bytes.data(), bytes.size());
  for (const PendingLink& link : links_) {
    LinkPlace place{link.target, link.displacement != 0 ? out.entry + link.displacement : nullptr,
                    out.entry + code_.labelOffset(link.stub)};
    if (link.plain_displacement != 0) {
      place.state = context_.states.number_of(link.state);
      place.plain_jump = out.entry + link.plain_displacement;
      place.plain_stub = out.entry + link.plain_stub;
    }
    out.links.push_back(place);
  }
  out.starts = std::move(starts_);
  return out;
}

// True when the instruction's lowering overwrites EFLAGS before it has used them.
bool Emitter::destroys_flags(const ir::BlockInsn& insn) const {
  if (insn.count == 0) return true;
  for (u32 n = insn.first; n < insn.first + insn.count; n++) {
    const ir::Op& op = block_->ops[n];
    using enum ir::Opcode;
    switch (op.opcode) {
      case Load: case Modify: case Store:
        if (ir::may_leave(op)) return true;
        break;
      case CheckAligned: case LeaveIf: case Resolve: case SetDirection: return true;
      case Compute:
        // Operations on flags look at the old ones themselves (flags.cpp); of the others some destroy them.
        if (!op.info->flags && op.info->kind != ir::OpKind::not_ && op.info->kind != ir::OpKind::bswap &&
            op.info->kind != ir::OpKind::sign_fill && op.info->kind != ir::OpKind::shlx &&
            op.info->kind != ir::OpKind::shrx && op.info->kind != ir::OpKind::sarx &&
            op.info->kind != ir::OpKind::rorx)
          return true;
        break;
      default: break;
    }
  }
  return false;
}

void Emitter::emit_insn(const ir::BlockInsn& insn) {
  insn_ = &insn;
  site_of_insn_ = ~u32{0};
  bail_of_insn_ = asmjit::Label();
  busy_ = locked_ = temp_busy_ = 0;
  modifying_ = false;
  // What is read later, or seen by whoever leaves in the middle of this instruction.
  const u32 after = (insn.flags_live | insn.flags_seen) & ~insn.flags_written;
  const u32 before = insn.may_leave || insn.exits ? u32{kArithmetic} : after | insn.flags_read;
  if (before == 0) {
    flags_dirty_ = false;
    recipe_ = {};
  }
  const VectorForm vector = vector_form(*block_, insn);
  if (vector.kind != VectorForm::None) {
    const bool destroys = insn.may_leave || !vectors_ready_;
    if (writes_inputs_of(recipe_, insn) || (destroys && recipe_.kind == FlagRecipe::None)) save_flags();
    emit_vector(vector);
    return;
  }
  if (insn.count != 0)
    if (const X87Form x87 = x87_form(block_->mode, insn.insn); x87.kind != X87Form::None) return emit_x87(x87);
  if (insn.count != 0)
    if (const VexForm vex = vex_form(block_->mode, insn.insn, context_.host, true); vex.kind != VexForm::None) return emit_vex(vex);
  if (insn.count != 0)
    if (const SpecialForm special = special_form(block_->mode, insn.insn); special != SpecialForm::None) return emit_special(special);
  if (insn.count == 0 || insn.insn.ends_block) settle_x87();
  const bool overwrites = writes_inputs_of(recipe_, insn);
  if (overwrites && after != 0 && insn.count != 0 && flags_in_host_ && !destroys_flags(insn)) {
    recipe_ = {};  // nobody can make them again: they are saved when EFLAGS are needed
    flags_dirty_ = true;
  } else if (insn.count == 0 || (overwrites && after != 0)) save_flags();
  else if (destroys_flags(insn) && recipe_.kind == FlagRecipe::None) save_flags();
  const u32 definitions = flag_definitions_;
  if (insn.count == 0) {
    if (insn.in_part) return emit_step(insn);
    if (const SystemForm form = system_form(block_->mode, insn.insn); form != SystemForm::None) return emit_system(insn, form);
    if (const SegmentForm form = segment_form(block_->mode, context_.limited_segments, insn.insn); form.kind != SegmentForm::None)
      return emit_segment_load(insn, form);
    return emit_handler(insn);
  }
  for (op_index_ = insn.first; op_index_ < insn.first + insn.count; op_index_++) {
    const ir::Op& op = block_->ops[op_index_];
    if (op_index_ >= skip_to_) {
      locked_ = modifying_ ? 1 : 0;
      emit_op(op, static_cast<ir::ValueId>(op_index_));
    }
    for (const ir::ValueId v : op.args)
      if (v != ir::kNoValue) used(v);
  }
  // Its operands are gone, and nobody wants the flags any more.
  if (overwrites && flag_definitions_ == definitions) recipe_ = {};
}

void Emitter::emit_op(const ir::Op& op, ir::ValueId id) {
  using enum ir::Opcode;
  switch (op.opcode) {
    case Constant: set_imm(id, op.imm); break;
    case ReadGpr: loc_[id] = {Loc::Guest, op.reg, op.high, 0}; break;
    case WriteGpr: lower_write_gpr(op); break;
    case Address: lower_address(op, id); break;
    case Load: lower_load(op, id, false); break;
    case Modify: lower_load(op, id, true); break;
    case Store: lower_store(op); break;
    case Update: lower_update(op); break;
    case ReadVec: case WriteVec: case CheckAligned: VERIFY_BLOCK(false, "a vector instruction in pieces"); break;
    case Compute: lower_compute(op, id); break;
    case ZeroExtend: lower_extend(op, id, false); break;
    case SignExtend: lower_extend(op, id, true); break;
    case Truncate: lower_truncate(op, id); break;
    case Select: lower_select(op, id); break;
    case Member: lower_member(op, id); break;
    case Condition: loc_[id] = {Loc::Cond, op.cc, false, 0}; break;
    case SetDirection: {
      destroy_flags();
      const Mem other = field(offsetof(CpuState, flags) + Flags::other_offset(), 4);
      if (op.imm) a_.or_(other, kDF);
      else a_.and_(other, ~u32{kDF});
      break;
    }
    case When: lower_when(op); break;
    case EndWhen: lower_end_when(); break;
    case LeaveIf: lower_leave_if(op); break;
    case Resolve: lower_resolve(op); break;
    case Jump: lower_jump(op); break;
  }
}

u32 Emitter::add_site(const ir::BlockInsn& b, unsigned size) {
  Site s;
  s.rip = b.rip;
  s.next_rip = (b.rip + b.insn.length) & block_->mode.rip_mask();
  s.rest = static_cast<u32>(block_->insns.size()) - insn_index_;
  s.size = static_cast<u8>(size);
  s.block = context_.block_number;
  if (counts_of_insn_ == nullptr || counts_of_insn_->row != b.insn.row) {
    counts_of_insn_ = &context_.counts[b.insn.row];
    counts_of_insn_->row = b.insn.row;
  }
  s.counts = counts_of_insn_;
  context_.sites.push_back(s);
  return static_cast<u32>(context_.sites.size() - 1);
}

u32 Emitter::add_handler_site(const ir::BlockInsn& b) {
  const u32 number = add_site(b, 0);
  Site& site = context_.sites[number];
  context_.insns.push_back(b.insn);
  site.insn = &context_.insns.back();
  // By its row; those that may do anything count as reading and writing all (build_block.cpp).
  site.flags_in = b.flags_read != 0 || b.flags_written != 0;
  site.flags_out = site.flags_in;
  return number;
}

void Emitter::emit_handler(const ir::BlockInsn& b) {
  a_.mov(x86::ecx, add_handler_site(b));
  a_.call(reinterpret_cast<u64>(HookedCode::is_hook(b.insn) ? context_.thunks.hook : context_.thunks.execute));
  after_handler();
}

void Emitter::emit_step(const ir::BlockInsn& b) {
  a_.mov(x86::eax, add_site(b, 0));
  a_.mov(slot(kExit), x86::rax);
  a_.jmp(reinterpret_cast<u64>(context_.thunks.step));
  ended_ = true;
}

void Emitter::after_handler() {
  flags_in_host_ = flags_dirty_ = false;
  recipe_ = {};
  vectors_ready_ = wide_vectors_ready_ = x87_ready_ = false;
}

asmjit::Label Emitter::bail_label() {
  if (!bail_of_insn_.isValid()) {
    bail_of_insn_ = a_.newLabel();
    if (site_of_insn_ == ~u32{0}) site_of_insn_ = add_site(*insn_, 0);
    bails_.push_back({bail_of_insn_, site_of_insn_, recipe_, last_x87_});
  }
  return bail_of_insn_;
}

// In a cold stub, where rax may hold an address: rcx and rdx are free.
void Emitter::save_by(const FlagRecipe& recipe) {
  if (recipe.kind != FlagRecipe::None) a_.call(reinterpret_cast<u64>(context_.workshop.flags.routine(recipe)));
}

void Emitter::emit_cold_stubs() {
  for (const ColdStub& stub : cold_) {
    a_.bind(stub.entry);
    save_by(stub.recipe);
    store_last_x87(stub.x87);
    if (stub.address.isValid()) a_.mov(x86::rax, stub.address);
    if (stub.group != 0) a_.mov(group_addend(stub.group), x86::rax);
    a_.mov(x86::ecx, stub.site);
    a_.call(reinterpret_cast<u64>(stub.thunk));
    if (stub.result.isValid()) a_.mov(stub.result, x86::rax);
    if (stub.group != 0) {  // the addend; rax is the guest's address again
      a_.mov(x86::rdx, x86::rax);
      a_.mov(x86::rax, group_addend(stub.group));
      a_.sub(x86::rdx, x86::rax);
      a_.mov(group_addend(stub.group), x86::rdx);
    }
    a_.jmp(stub.back);
  }
  for (const PendingBail& bail : bails_) {
    a_.bind(bail.label);
    save_by(bail.recipe);
    store_last_x87(bail.x87);
    a_.mov(x86::ecx, bail.site);
    a_.jmp(reinterpret_cast<u64>(context_.thunks.exit_bail));
  }
  emit_mismatch();
}

}  // namespace callgate::jit::x64
