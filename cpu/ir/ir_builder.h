// The IR builder: what the templates in cpu/semantics are written over when an instruction is translated. It has the
// functions of the value builder (cpu/value_builder.h), but appends ops to a block instead of executing. A thin typed skin:
// the work is Emitter's, so that an instantiation costs little code.
#pragma once

#include <type_traits>

#include "cpu/fault.h"
#include "cpu/ir/ir.h"
#include "cpu/table/operands.h"

namespace callgate::ir {

/// A guest value of type T in a semantic that is being translated.
template <class T>
struct IrVal {
  using type = T;
  ValueId id;
};

template <FixedString Operands, unsigned W, bool Memory>
class IrBuilder : public OperandTypes<Operands, W, Memory> {
  using Types = OperandTypes<Operands, W, Memory>;

 public:
  using typename Types::Word;
  template <unsigned N>
  using Type = typename Types::template Type<N>;
  template <unsigned N>
  static constexpr OperandSpec spec = Types::template spec<N>;
  template <unsigned N>
  static constexpr bool in_memory = Types::template in_memory<N>;

  IrBuilder(Emitter& emitter, const Insn& insn) : e(emitter), i(insn), operand_(emitter.operand()) {}

  Emitter& e;
  const Insn& i;

  // --- operands -----------------------------------------------------------------------------------------------
  template <unsigned N>
  IrVal<Type<N>> read(OperandTag<N>) {
    constexpr OperandSpec s = spec<N>;
    constexpr unsigned kSize = sizeof(Type<N>);
    if constexpr (in_memory<N>) {
      if constexpr (s.size == 'a') e.check_aligned(mem<N>(), kSize);
      return {e.load(mem<N>(), kSize)};
    } else if constexpr (s.kind == 'E' || s.kind == 'R' || s.kind == 'Z') {
      return {kSize == 1 ? e.read_gpr(i.rm_byte / 8, 1, i.rm_byte % 8) : e.read_gpr(i.rm, kSize)};
    } else if constexpr (s.kind == 'G') {
      return {kSize == 1 ? e.read_gpr(i.reg_byte / 8, 1, i.reg_byte % 8) : e.read_gpr(i.reg, kSize)};
    } else if constexpr (s.kind == 'B' && kSize >= 4) {
      return {e.read_gpr(i.vvvv, kSize)};
    } else if constexpr (s.kind == 'F') {
      return {e.read_gpr(s.fixed, kSize)};
    } else if constexpr (s.kind == 'I') {
      return {e.constant(i.imm, kSize)};
    } else if constexpr (s.kind == '1') {
      return {e.constant(1, kSize)};
    } else if constexpr ((s.kind == 'V' || s.kind == 'W' || s.kind == 'U') && kSize <= 16) {
      return {e.read_vec(s.kind == 'V' ? i.reg : i.rm, kSize)};
    } else {
      return nothing<Type<N>>();  // MMX, VEX and what else has no native form yet
    }
  }
  template <unsigned N>
  IrVal<Type<N>> modify(OperandTag<N> tag) {
    if constexpr (in_memory<N>) {
      modified_ = true;
      return {e.modify(mem<N>(), sizeof(Type<N>))};
    } else {
      return read(tag);
    }
  }
  template <unsigned N, class T>
  void write(OperandTag<N>, IrVal<T> value) {
    static_assert(std::is_same_v<T, Type<N>>, "the value has another size than the operand");
    constexpr OperandSpec s = spec<N>;
    constexpr unsigned kSize = sizeof(T);
    if constexpr (in_memory<N>) {
      if (modified_) return e.update(kSize, value.id);
      if constexpr (s.size == 'a') e.check_aligned(mem<N>(), kSize);
      e.store(mem<N>(), kSize, value.id);
    } else if constexpr (s.kind == 'E' || s.kind == 'R' || s.kind == 'Z') {
      if constexpr (kSize == 1) e.write_gpr(i.rm_byte / 8, 1, value.id, i.rm_byte % 8);
      else e.write_gpr(i.rm, kSize, value.id);
    } else if constexpr (s.kind == 'G') {
      if constexpr (kSize == 1) e.write_gpr(i.reg_byte / 8, 1, value.id, i.reg_byte % 8);
      else e.write_gpr(i.reg, kSize, value.id);
    } else if constexpr (s.kind == 'B' && kSize >= 4) {
      e.write_gpr(i.vvvv, kSize, value.id);
    } else if constexpr (s.kind == 'F') {
      e.write_gpr(s.fixed, kSize, value.id);
    } else if constexpr ((s.kind == 'V' || s.kind == 'W' || s.kind == 'U') && kSize <= 16) {
      e.write_vec(s.kind == 'V' ? i.reg : i.rm, kSize, value.id);
    } else {
      e.impossible();
    }
  }
  IrVal<u64> address_of_operand() { return {e.address(operand_, 8)}; }
  void move_operand(IrVal<u64> bytes) { operand_.moved = bytes.id; }
  template <unsigned N>
  void probe(OperandTag<N>) {
    e.impossible();
  }
  template <class V>
  void masked_store(IrVal<V>, IrVal<V>) {
    e.impossible();
  }
  unsigned rm() const { return i.rm; }

  // --- registers by name --------------------------------------------------------------------------------------
  template <class T>
  IrVal<T> gpr(unsigned reg) {
    return {e.read_gpr(reg, sizeof(T))};
  }
  template <class T>
  void set_gpr(unsigned reg, IrVal<T> value) {
    e.write_gpr(reg, sizeof(T), value.id);
  }
  IrVal<u8> ah() { return {e.read_gpr(RAX, 1, true)}; }
  void set_ah(IrVal<u8> value) { e.write_gpr(RAX, 1, value.id, true); }

  // --- values -------------------------------------------------------------------------------------------------
  template <class T>
  IrVal<T> constant(T v) {
    return {e.constant(static_cast<u64>(v), sizeof(T))};
  }
  template <class To, class From>
  IrVal<To> zero_extend(IrVal<From> x) {
    if constexpr (sizeof(To) == sizeof(From)) return {x.id};
    else return {e.convert(Opcode::ZeroExtend, sizeof(To), x.id)};
  }
  template <class To, class From>
  IrVal<To> sign_extend(IrVal<From> x) {
    if constexpr (sizeof(To) == sizeof(From)) return {x.id};
    else return {e.convert(Opcode::SignExtend, sizeof(To), x.id)};
  }
  template <class To, class From>
  IrVal<To> truncate(IrVal<From> x) {
    static_assert(sizeof(To) <= sizeof(From));
    if constexpr (sizeof(To) == sizeof(From)) return {x.id};
    else return {e.convert(Opcode::Truncate, sizeof(To), x.id)};
  }
  template <class T>
  IrVal<T> select(IrVal<bool> condition, IrVal<T> yes, IrVal<T> no) {
    return {e.select(condition.id, yes.id, no.id, sizeof(T))};
  }
  template <class Op, class... A>
  auto op(const Op&, IrVal<A>... a) {
    using Result = typename OpInfoFor<Op, A...>::Result;
    static_assert(std::is_empty_v<Op>, "an operation's type must say all");
    const ValueId id = e.compute(op_info<Op, A...>, {a.id...});
    if constexpr (!std::is_void_v<Result>) return IrVal<Result>{id};
  }
  template <class S, class T>
  IrVal<T> member(IrVal<S> s, T S::*m) {
    static constexpr S kSample{};
    const auto offset = reinterpret_cast<const u8*>(&(kSample.*m)) - reinterpret_cast<const u8*>(&kSample);
    return {e.member(s.id, static_cast<unsigned>(offset), sizeof(T))};
  }

  // --- flags and control --------------------------------------------------------------------------------------
  IrVal<bool> condition() { return {e.condition(i.opcode & 15)}; }
  IrVal<bool> flag_cf() { return {e.condition(2)}; }
  IrVal<bool> flag_zf() { return {e.condition(4)}; }
  void set_direction(bool down) { e.set_direction(down); }
  template <class Body>
  void when(IrVal<bool> condition, Body body) {
    e.when(condition.id);
    body();
    e.end_when();
  }
  void fault_if(IrVal<bool> condition, Vector, const char*) { e.leave_if(condition.id); }
  void jump(IrVal<u64> target) { jump_near(target, i.width); }
  template <unsigned N>
  IrVal<u64> target(OperandTag<N>) {
    static_assert(spec<N>.kind == 'J');
    return {e.constant(e.next_rip + i.imm, 8)};
  }
  IrVal<u64> next_rip() { return {e.constant(e.next_rip, 8)}; }
  void call(IrVal<u64> target) {
    const IrVal<u64> cut = cut_to(target, W);
    resolve(cut);
    const Mem top = stack(-i64{W});
    e.store(top, W, e.constant(e.next_rip, W));
    move_rsp(top);
    e.jump(cut.id);
  }
  void ret(IrVal<u16> extra) {
    const IrVal<u64> cut = {zero_extend<u64>(IrVal<Word>{e.load(stack(0), W)})};
    e.resolve(cut.id);
    move_rsp(stack(static_cast<i64>(W + e.op(extra.id).imm)));
    e.jump(cut.id);
  }
  void loop(IrVal<bool>, IrVal<u64>) { e.impossible(); }
  IrVal<bool> counter_is_zero() {
    switch (i.asize) {
      case 2: return op(alu::is_zero, gpr<u16>(RCX));
      case 4: return op(alu::is_zero, gpr<u32>(RCX));
      default: return op(alu::is_zero, gpr<u64>(RCX));
    }
  }

  // --- the stack ----------------------------------------------------------------------------------------------
  void push(IrVal<Word> value) {
    const Mem top = stack(-i64{W});
    e.store(top, W, value.id);
    move_rsp(top);
  }
  IrVal<Word> pop() {
    const IrVal<Word> value{e.load(stack(0), W)};
    move_rsp(stack(W));
    return value;
  }
  template <unsigned N>
  void pop_to_memory(OperandTag<N>) {
    const ValueId value = e.load(stack(0), W);
    Mem to = operand_;
    if (to.base == RSP) to.disp += W;
    if (to.index == RSP) e.impossible();
    e.store(to, W, value);
    move_rsp(stack(W));
  }
  void leave_frame() {
    Mem frame = stack(0);
    frame.base = RBP;
    const IrVal<Word> value{e.load(frame, W)};
    frame.disp = W;
    move_rsp(frame);
    set_gpr(RBP, value);
  }

 private:
  template <unsigned N>
  Mem mem() const {
    Mem m = operand_;
    if constexpr (spec<N>.kind == 'O') {
      m.base = m.index = kGprZero;
      m.disp = static_cast<i64>(i.imm);
      m.asize = 8;
    }
    return m;
  }
  /// What is `depth` bytes above the top of the stack.
  Mem stack(i64 depth) const {
    return {.base = RSP, .asize = e.mode().stack_size, .seg = SS, .disp = depth, .moved = kNoValue};
  }
  /// The stack pointer becomes the address `top`.
  void move_rsp(const Mem& top) {
    const unsigned size = e.mode().stack_size;
    e.write_gpr(RSP, size, e.address(top, size));
  }
  IrVal<u64> cut_to(IrVal<u64> target, unsigned width) {
    if (width == 8) return target;
    const Op& op = e.op(target.id);
    if (op.opcode == Opcode::Constant) return {e.constant(op.imm & low_mask(8 * width), 8)};
    return {e.convert(Opcode::ZeroExtend, 8, e.convert(Opcode::Truncate, width, target.id))};
  }
  void resolve(IrVal<u64> target) {
    if (e.op(target.id).opcode != Opcode::Constant) e.resolve(target.id);
    // Where a constant target may be is known now; a bad one is the handler's.
    else if (e.mode().long64 && !is_canonical(e.op(target.id).imm)) e.impossible();
    else if (!e.mode().long64 && !e.mode().flat_code) e.impossible();
  }
  void jump_near(IrVal<u64> target, unsigned width) {
    const IrVal<u64> cut = cut_to(target, width);
    resolve(cut);
    e.jump(cut.id);
  }
  template <class T>
  IrVal<T> nothing() {
    e.impossible();
    return {e.constant(0, sizeof(T))};
  }

  Mem operand_;
  bool modified_ = false;
};

/// Appends the ops of one instruction.
template <class Semantic, FixedString Operands, u32 Attributes, unsigned W, bool Memory>
void translate(Emitter& e, const Insn& insn) {
  // What these check depends on more than a block's key.
  if constexpr (Attributes & (kCpl0 | kMmx | kX87 | kAvx)) {
    e.impossible();
  } else {
    if ((Attributes & kNoReal) && e.mode().real) return e.impossible();
    if ((Attributes & kSse) && !e.mode().sse) return e.impossible();
    IrBuilder<Operands, W, Memory> b(e, insn);
    Semantic{}(b);
  }
}

}  // namespace callgate::ir
