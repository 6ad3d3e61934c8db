// The value builder: executes a semantic at once. With the IR builder of the translator it is one of the two things that
// the templates in cpu/semantics are written over; a semantic must use nothing but the builder's functions.
//
//   template <class B> void add(B& b) {
//     auto d = b.modify(dst);               // read-modify-write: write permission is checked here
//     auto s = b.read(src);
//     b.write(dst, b.op(alu::add, d, s));   // flags change only after everything that can fault
//   }
//
// One class per (operand string, operand size, memory or register form): operand kinds are known when C++ compiles.
#pragma once

#include <type_traits>
#include <utility>

#include "cpu/cpu.h"
#include "cpu/fp/fp.h"
#include "cpu/ir/ir_builder.h"
#include "cpu/table/operands.h"

namespace callgate {

/// A guest value in a semantic. Deliberately without operators: whatever happens to it goes through the builder.
template <class T>
struct Val {
  using type = T;
  T v;
};

/// The address of an instruction's memory operand, not yet through a segment.
inline u64 effective_address(const Cpu& c, const Insn& i) {
  const u64 ea = c.s.gpr[i.base] + (c.s.gpr[i.index] << i.scale) + static_cast<u64>(i64{i.disp});
  return ea << i.ea_shift >> i.ea_shift;
}

/// Checks of CR0, CR4 and CPL that a row's attributes ask for. SDM 3A 2.5, SDM 2 exception tables.
void require_sse(Cpu& c);
void require_mmx(Cpu& c);
void require_x87(Cpu& c);
void require_avx(Cpu& c);
/// The x87's state after an MMX instruction: TOP is 0, every tag valid. Rows with a semantic do it after the semantic, so
/// that a faulting one changes nothing; helpers call it themselves (EMMS doesn't). SDM 1, 9.5.
void enter_mmx(Cpu& c);

template <u32 Attributes>
inline void check_attributes(Cpu& c, const Insn& i) {
  if constexpr (Attributes & kNoReal)
    if (c.real_or_v86()) raise_plain(Vector::UD, "{0:t} in real-address or virtual-8086 mode", i.row->name);
  if constexpr (Attributes & kCpl0)
    if (c.cpl() != 0) raise(Vector::GP, 0, "{0:t} at CPL {1}", i.row->name, c.cpl());
  if constexpr (Attributes & kSse) require_sse(c);
  if constexpr (Attributes & kMmx) require_mmx(c);
  if constexpr (Attributes & kX87) require_x87(c);
  if constexpr (Attributes & kAvx) require_avx(c);
}

/// The fp environment that MXCSR asks for, and the way back: raises #XM (or #UD) for an unmasked exception, before anything
/// is written.
fp::Env sse_environment(const Cpu& c);
void commit_sse_flags(Cpu& c, const fp::Env& env);

/// An operand of size "a", FXSAVE's area, ...: #GP(0) unless its linear address is aligned. Comes before any page fault.
inline void require_aligned(Cpu& c, SegReg seg, u64 offset, unsigned alignment, Access access) {
  const u64 linear = c.linear(seg, offset, alignment, access);
  if ((linear & (alignment - 1)) != 0) [[unlikely]]
    raise(Vector::GP, 0, "a memory operand at {0:#x} that must be aligned to {1} bytes", linear, alignment);
}

/// `Vex`: what a write leaves of a vector register is 0; for a scalar, the separate source's up to 128 bits.
template <FixedString Operands, unsigned W, bool Memory, bool Vex = false>
class ValueBuilder : public OperandTypes<Operands, W, Memory, Vex> {
  using Types = OperandTypes<Operands, W, Memory, Vex>;

 public:
  using typename Types::Word;
  template <unsigned N>
  using Type = typename Types::template Type<N>;
  template <unsigned N>
  static constexpr OperandSpec spec = Types::template spec<N>;
  template <unsigned N>
  static constexpr OperandSpec written = Types::template written<N>;
  template <unsigned N>
  static constexpr bool in_memory = Types::template in_memory<N>;

  ValueBuilder(Cpu& cpu, const Insn& insn) : c(cpu), i(insn), ea_(Memory ? effective_address(cpu, insn) : 0) {}

  /// The processor and the instruction, for helpers called from a semantic.
  Cpu& c;
  const Insn& i;

  // --- operands -----------------------------------------------------------------------------------------------
  /// The operand's value.
  template <unsigned N>
  Val<Type<N>> read(OperandTag<N>) {
    return {get<N>()};
  }
  /// What the destination holds where `dst` reads a separate source (the third source of FMA).
  auto read_destination() {
    using T = typename UintOf<operand_bytes(written<0>, W)>::type;
    return Val<T>{load_as<T>(&c.s.vec[i.reg])};
  }
  /// The operand's value, for an operand that will be written: raises now what the write would raise.
  template <unsigned N>
  Val<Type<N>> modify(OperandTag<N>) {
    if constexpr (in_memory<N>) {
      using T = Type<N>;
      const u64 lin = c.linear(seg(), address<N>(), sizeof(T), Access::Write);
      host_ = c.tlb.find_write(context(), lin, sizeof(T));
      if (host_ != nullptr) [[likely]]
        return {load_as<T>(host_)};
      c.probe_write(seg(), address<N>(), sizeof(T));
      return {c.template load<T>(seg(), address<N>())};
    } else {
      return {get<N>()};
    }
  }
  /// Writes the operand. A 32-bit register write clears the upper half; xmm and mm lanes beyond the size are kept.
  template <unsigned N, class T>
  void write(OperandTag<N>, Val<T> value) {
    static_assert(sizeof(T) == operand_bytes(written<N>, W), "the value has another size than the operand");
    put<N>(value.v);
  }
  /// The effective address of the memory operand (LEA), cut to the address size.
  Val<u64> address_of_operand() const { return {ea_}; }
  /// Moves the memory operand by a signed number of bytes (BT and its relatives with a bit string in memory).
  void move_operand(Val<u64> bytes) { ea_ = (ea_ + bytes.v) << i.ea_shift >> i.ea_shift; }
  /// Raises what reading the memory operand would raise, without reading it.
  template <unsigned N>
  void probe(OperandTag<N>) {
    c.probe_read(seg(), address<N>(), sizeof(Type<N>));
  }
  /// Raises what writing the memory operand would raise.
  template <unsigned N>
  void probe_write(OperandTag<N>) {
    c.probe_write(seg(), address<N>(), sizeof(Type<N>));
  }
  /// Stores the bytes of a value whose mask byte has its top bit set at DS:rDI (MASKMOVQ); the others are not accessed.
  template <class V>
  void masked_store(Val<V> value, Val<V> mask) {
    const u64 at = c.s.gpr[RDI] & low_mask(8u * i.asize);
    const auto selected = [&](unsigned n) { return load_as<i8>(reinterpret_cast<const u8*>(&mask.v) + n) < 0; };
    for (unsigned n = 0; n < sizeof(V); n++)
      if (selected(n)) c.probe_write(seg(), at + n, 1);
    for (unsigned n = 0; n < sizeof(V); n++)
      if (selected(n)) c.template store<u8>(seg(), at + n, load_as<u8>(reinterpret_cast<const u8*>(&value.v) + n));
  }
  /// The lanes of the memory operand whose mask lane has its top bit set; the others are 0 and not accessed.
  template <class Lane, class V>
  Val<V> load_lanes(Val<V> mask) {
    V r{};
    for (unsigned n = 0; n < sizeof(V) / sizeof(Lane); n++)
      if (lane_selected<Lane>(mask, n))
        store_as(reinterpret_cast<u8*>(&r) + n * sizeof(Lane), c.template load<Lane>(seg(), ea_ + n * sizeof(Lane)));
    return {r};
  }
  /// Stores such lanes to the memory operand, when all of them may be.
  template <class Lane, class V>
  void store_lanes(Val<V> value, Val<V> mask) {
    for (unsigned n = 0; n < sizeof(V) / sizeof(Lane); n++)
      if (lane_selected<Lane>(mask, n)) c.probe_write(seg(), ea_ + n * sizeof(Lane), sizeof(Lane));
    for (unsigned n = 0; n < sizeof(V) / sizeof(Lane); n++)
      if (lane_selected<Lane>(mask, n)) c.template store<Lane>(seg(), ea_ + n * sizeof(Lane), lane<Lane>(value, n));
  }
  /// The register number of r/m, or of the register in the opcode: known when the instruction is decoded.
  unsigned rm() const { return i.rm; }

  // --- registers by name --------------------------------------------------------------------------------------
  template <class T>
  Val<T> gpr(unsigned reg) {
    return {static_cast<T>(c.s.gpr[reg])};
  }
  template <class T>
  void set_gpr(unsigned reg, Val<T> value) {
    c.set_gpr<T>(reg, value.v);
  }
  /// AH, for MUL r/m8, LAHF and the like.
  Val<u8> ah() { return {static_cast<u8>(c.s.gpr[RAX] >> 8)}; }
  void set_ah(Val<u8> value) { reinterpret_cast<u8*>(c.s.gpr)[8 * RAX + 1] = value.v; }

  // --- values -------------------------------------------------------------------------------------------------
  template <class T>
  Val<T> constant(T v) {
    return {v};
  }
  template <class To, class From>
  Val<To> zero_extend(Val<From> x) {
    if constexpr (std::is_integral_v<To>) {
      return {static_cast<To>(x.v)};
    } else {
      To wide{};
      store_as<From>(&wide, x.v);
      return {wide};
    }
  }
  template <class To, class From>
  Val<To> sign_extend(Val<From> x) {
    return {static_cast<To>(static_cast<std::make_signed_t<To>>(static_cast<std::make_signed_t<From>>(x.v)))};
  }
  template <class To, class From>
  Val<To> truncate(Val<From> x) {
    static_assert(sizeof(To) <= sizeof(From));
    return {load_as<To>(&x.v)};
  }
  template <class T>
  Val<T> select(Val<bool> condition, Val<T> yes, Val<T> no) {
    return condition.v ? yes : no;
  }
  /// Applies an operation object: op(values...), op(values..., Flags&) or op(values..., fp::Env&). The last form collects
  /// SSE exceptions and raises #XM before anything is written.
  template <class Op, class... A>
  auto op(const Op& operation, Val<A>... a) {
    if constexpr (std::is_invocable_v<Op, A..., fp::Env&>) {
      fp::Env env = sse_environment(c);
      auto r = operation(a.v..., env);
      commit_sse_flags(c, env);
      return Val<decltype(r)>{r};
    } else if constexpr (std::is_invocable_v<Op, A..., Flags&>) {
      if constexpr (std::is_void_v<std::invoke_result_t<Op, A..., Flags&>>)
        operation(a.v..., c.s.flags);
      else
        return Val<std::invoke_result_t<Op, A..., Flags&>>{operation(a.v..., c.s.flags)};
    } else {
      return Val<std::invoke_result_t<Op, A...>>{operation(a.v...)};
    }
  }
  /// Members of an operation's result that is a struct.
  template <class S, class T>
  Val<T> member(Val<S> s, T S::*m) {
    return {s.v.*m};
  }

  // --- flags and control --------------------------------------------------------------------------------------
  /// The condition in the opcode's low four bits (Jcc, SETcc, CMOVcc).
  Val<bool> condition() { return {c.s.flags.condition(i.opcode & 15)}; }
  Val<bool> flag_cf() { return {c.s.flags.cf()}; }
  Val<bool> flag_zf() { return {c.s.flags.zf()}; }
  /// CLD and STD. The flags whose change has consequences go through Cpu::set_flags.
  void set_direction(bool down) { c.s.flags.assign(kDF, down); }
  /// Runs `body` if the condition holds. Only at the end of a semantic.
  template <class Body>
  void when(Val<bool> condition, Body body) {
    if (condition.v) body();
  }
  /// Raises a fault if the condition holds.
  void fault_if(Val<bool> condition, Vector vector, const char* reason) {
    if (condition.v) raise_plain(vector, reason);
  }
  /// A near jump; checks the target.
  void jump(Val<u64> target) { c.jump_near(target.v, i.width); }
  /// The target of a relative operand J.
  template <unsigned N>
  Val<u64> target(OperandTag<N>) {
    static_assert(spec<N>.kind == 'J');
    return {c.s.gpr[kGprRip] + i.imm};
  }
  /// The address of the next instruction, cut to the operand size.
  Val<u64> next_rip() { return {c.s.gpr[kGprRip]}; }
  /// A near call: checks the target, then pushes the address of the next instruction.
  void call(Val<u64> target) {
    const u64 cut = target.v & low_mask(8 * W);
    c.check_target(c.s.seg[CS], cut);
    c.push(c.next_rip(), W);
    c.next_rip() = cut;
  }
  /// A near return that releases `extra` bytes of arguments.
  void ret(Val<u16> extra) {
    c.jump_near(c.peek_stack(0, W), W);
    c.add_rsp(i64{W} + extra.v);
  }
  /// LOOP: counts rCX (of the address size) down and jumps if it isn't 0 then and `condition` holds.
  void loop(Val<bool> condition, Val<u64> target) {
    const u64 count = (counter() - 1) & low_mask(8u * i.asize);
    if (count != 0 && condition.v) jump(target);
    if (i.asize == 2) c.set_gpr(RCX, static_cast<u16>(count));
    else c.s.gpr[RCX] = count;
  }
  /// rCX of the address size is 0.
  Val<bool> counter_is_zero() { return {counter() == 0}; }

  // --- the stack ----------------------------------------------------------------------------------------------
  void push(Val<Word> value) { c.push(value.v, W); }
  Val<Word> pop() { return {static_cast<Word>(c.pop(W))}; }
  /// Pops into the memory operand, whose address is computed with the stack pointer after the pop. SDM 2, POP.
  template <unsigned N>
  void pop_to_memory(OperandTag<N>) {
    const Word value = static_cast<Word>(c.peek_stack(0, W));
    const u64 rsp = c.s.gpr[RSP];
    c.add_rsp(W);
    ea_ = effective_address(c, i);
    const u64 popped = std::exchange(c.s.gpr[RSP], rsp);
    put<N>(value);
    c.s.gpr[RSP] = popped;
  }
  /// LEAVE: drops the frame whose base rBP holds, and restores the caller's rBP.
  void leave_frame() {
    const u64 rsp = c.s.gpr[RSP];
    const u64 offset = c.s.gpr[RBP] - rsp;
    const Word value = static_cast<Word>(c.peek_stack(offset, W));
    c.set_rsp(rsp + offset + W);
    c.set_gpr<Word>(RBP, value);
  }

 private:
  SegReg seg() const { return static_cast<SegReg>(i.seg); }
  AccessContext context() const { return c.access_context(); }

  u64 counter() const { return c.s.gpr[RCX] & low_mask(8u * i.asize); }

  template <class Lane, class V>
  static Lane lane(const Val<V>& v, unsigned n) {
    return load_as<Lane>(reinterpret_cast<const u8*>(&v.v) + n * sizeof(Lane));
  }
  template <class Lane, class V>
  static bool lane_selected(const Val<V>& mask, unsigned n) {
    return lane<Lane>(mask, n) >> (8 * sizeof(Lane) - 1) & 1;
  }

  template <unsigned N>
  u64 address() const {
    return spec<N>.kind == 'O' ? i.imm : ea_;
  }

  template <unsigned N>
  Type<N> get() {
    using T = Type<N>;
    constexpr OperandSpec s = spec<N>;
    if constexpr (in_memory<N>) {
      if constexpr (s.size == 'a') require_aligned(c, seg(), address<N>(), sizeof(T), Access::Read);
      return c.template load<T>(seg(), address<N>());
    } else if constexpr (s.kind == 'E' || s.kind == 'R' || s.kind == 'Z') {
      if constexpr (sizeof(T) == 1) return load_as<u8>(reinterpret_cast<const u8*>(c.s.gpr) + i.rm_byte);
      else return static_cast<T>(c.s.gpr[i.rm]);
    } else if constexpr (s.kind == 'G') {
      if constexpr (sizeof(T) == 1) return load_as<u8>(reinterpret_cast<const u8*>(c.s.gpr) + i.reg_byte);
      else return static_cast<T>(c.s.gpr[i.reg]);
    } else if constexpr (s.kind == 'B') {
      return static_cast<T>(c.s.gpr[i.vvvv]);
    } else if constexpr (s.kind == 'F') {
      return static_cast<T>(c.s.gpr[s.fixed]);
    } else if constexpr (s.kind == 'I') {
      return static_cast<T>(i.imm);
    } else if constexpr (s.kind == '1') {
      return T{1};
    } else if constexpr (s.kind == 'V' || s.kind == 'H') {
      return load_as<T>(&c.s.vec[s.kind == 'V' ? i.reg : i.vvvv]);
    } else if constexpr (s.kind == 'W' || s.kind == 'U') {
      return load_as<T>(&c.s.vec[i.rm]);
    } else if constexpr (s.kind == 'L') {
      return load_as<T>(&c.s.vec[i.imm >> 4 & 15]);
    } else if constexpr (s.kind == 'X') {
      return load_as<T>(&c.s.vec[s.fixed]);
    } else if constexpr (s.kind == 'P') {
      return static_cast<T>(c.s.x87.r[i.reg & 7].significand);
    } else if constexpr (s.kind == 'Q' || s.kind == 'N') {
      return static_cast<T>(c.s.x87.r[i.rm & 7].significand);
    } else {
      static_assert(s.kind == 'E', "this operand can't be read");
    }
  }

  template <unsigned N, class T>
  void put(T value) {
    constexpr OperandSpec s = written<N>;
    if constexpr (Types::is_memory_kind(s.kind)) {
      if constexpr (s.size == 'a') require_aligned(c, seg(), address<N>(), sizeof(T), Access::Write);
      if (host_ != nullptr) store_as<T>(host_, value);
      else c.template store<T>(seg(), address<N>(), value);
    } else if constexpr (s.kind == 'E' || s.kind == 'R' || s.kind == 'Z') {
      if constexpr (sizeof(T) == 1) reinterpret_cast<u8*>(c.s.gpr)[i.rm_byte] = value;
      else c.set_gpr<T>(i.rm, value);
    } else if constexpr (s.kind == 'G') {
      if constexpr (sizeof(T) == 1) reinterpret_cast<u8*>(c.s.gpr)[i.reg_byte] = value;
      else c.set_gpr<T>(i.reg, value);
    } else if constexpr (s.kind == 'B') {
      c.set_gpr<T>(i.vvvv, value);
    } else if constexpr (s.kind == 'F') {
      c.set_gpr<T>(s.fixed, value);
    } else if constexpr (s.kind == 'V' || s.kind == 'H') {
      put_vector(c.s.vec[s.kind == 'V' ? i.reg : i.vvvv], value);
    } else if constexpr (s.kind == 'W' || s.kind == 'U') {
      put_vector(c.s.vec[i.rm], value);
    } else if constexpr (s.kind == 'X') {
      put_vector(c.s.vec[s.fixed], value);
    } else if constexpr (s.kind == 'P') {
      put_mm(i.reg & 7, value);
    } else if constexpr (s.kind == 'Q' || s.kind == 'N') {
      put_mm(i.rm & 7, value);
    } else {
      static_assert(s.kind == 'E', "this operand can't be written");
    }
  }

  /// A write to an MMX register sets the exponent to all ones. SDM 1, 9.5.
  void put_mm(unsigned reg, u64 value) { c.s.x87.r[reg] = {value, 0xFFFF}; }

  template <class T>
  void put_vector(VectorRegister& to, T value) {
    if constexpr (Vex && sizeof(T) < sizeof(VectorRegister)) {
      VectorRegister all;
      if constexpr (Types::has_separate_source && sizeof(T) < sizeof(V128)) all.lo = c.s.vec[i.vvvv].lo;
      store_as<T>(&all, value);
      to = all;
    } else {
      store_as<T>(&to, value);
    }
  }

  u64 ea_;
  u8* host_ = nullptr;  ///< where modify() found the operand
};

// --- from a row to its handlers -----------------------------------------------------------------------------------

template <class Semantic, FixedString Operands, u32 Attributes, unsigned W, bool Memory>
void execute(Cpu& c, const Insn& i) {
  check_attributes<Attributes>(c, i);
  ValueBuilder<Operands, W, Memory, (Attributes & kAvx) != 0> b(c, i);
  Semantic{}(b);
  if constexpr (Attributes & kMmx) enter_mmx(c);
}

template <u32 Attributes, ExecFn Helper>
void execute_helper(Cpu& c, const Insn& i) {
  check_attributes<Attributes>(c, i);
  Helper(c, i);
}

/// Both engines' handlers of one form of a row.
template <class Semantic, FixedString Operands, u32 Attributes, unsigned W, bool Memory>
constexpr void set_form(Handlers& h, unsigned width_index) {
  h.exec[width_index][Memory] = execute<Semantic, Operands, Attributes, W, Memory>;
  h.translate[width_index][Memory] = ir::translate<Semantic, Operands, Attributes, W, Memory>;
}

/// Handlers of a row with a semantic.
template <FixedString Operands, u32 Attributes, class Semantic>
constexpr Handlers semantic_handlers(Semantic) {
  Handlers h;
  constexpr bool kByWidth = depends_on_width(Operands.text) || (Attributes & kWidths);
  const auto set_forms = [&]<bool Memory>(std::bool_constant<Memory>) {
    if constexpr (kByWidth) {
      set_form<Semantic, Operands, Attributes, 2, Memory>(h, 0);
      set_form<Semantic, Operands, Attributes, 4, Memory>(h, 1);
      set_form<Semantic, Operands, Attributes, 8, Memory>(h, 2);
    } else {
      for (unsigned w = 0; w < 3; w++) set_form<Semantic, Operands, Attributes, 4, Memory>(h, w);
    }
  };
  if constexpr (allows_register(Operands.text)) set_forms(std::false_type{});
  if constexpr (has_rm(Operands.text) && allows_memory(Operands.text)) set_forms(std::true_type{});
  return h;
}

/// Handlers of a row whose work is one C++ function, called by every engine.
template <FixedString Operands, u32 Attributes, ExecFn Helper>
constexpr Handlers helper_handlers() {
  Handlers h;
  for (auto& by_width : h.exec) {
    if (allows_register(Operands.text)) by_width[0] = execute_helper<Attributes, Helper>;
    if (allows_memory(Operands.text)) by_width[1] = execute_helper<Attributes, Helper>;
  }
  return h;
}

}  // namespace callgate

/// A row with a semantic template `callgate::semantics::NAME`. FLAGS is a FlagEffect initialiser in parentheses-free braces
/// macro, see cpu/table/*.cpp.
#define CG_ROW(ENCODING, NAME, OPERANDS, ATTRIBUTES, FLAGS, FEATURE)                                        \
  ::callgate::Row {                                                                                         \
    ENCODING, #NAME, OPERANDS, (ATTRIBUTES), FLAGS, FEATURE,                                                \
        ::callgate::semantic_handlers<OPERANDS, static_cast<::callgate::u32>(ATTRIBUTES)>([](auto& b) { ::callgate::semantics::NAME(b); }) \
  }
/// A row whose work is `void callgate::helpers::NAME(Cpu&, const Insn&)`.
#define CG_HELPER(ENCODING, NAME, OPERANDS, ATTRIBUTES, FLAGS, FEATURE)                                     \
  ::callgate::Row {                                                                                         \
    ENCODING, #NAME, OPERANDS, (ATTRIBUTES), FLAGS, FEATURE,                                                \
        ::callgate::helper_handlers<OPERANDS, static_cast<::callgate::u32>(ATTRIBUTES), ::callgate::helpers::NAME>() \
  }
/// The same where the mnemonic and the function have different names: MOV to CR0 is `mov`.
#define CG_HELPER_AS(ENCODING, MNEMONIC, FUNCTION, OPERANDS, ATTRIBUTES, FLAGS, FEATURE)                    \
  ::callgate::Row {                                                                                         \
    ENCODING, MNEMONIC, OPERANDS, (ATTRIBUTES), FLAGS, FEATURE,                                             \
        ::callgate::helper_handlers<OPERANDS, static_cast<::callgate::u32>(ATTRIBUTES), ::callgate::helpers::FUNCTION>() \
  }
