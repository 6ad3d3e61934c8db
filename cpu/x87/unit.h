// One x87 instruction at work: the register stack, stack faults, exception flags and pointers, with the rules of when
// an instruction completes. The instructions themselves are in the .cpp files of this folder, arithmetic in cpu/fp.
// Ref: SDM 1 ch. 8, Programming with the x87 FPU.
#pragma once

#include "cpu/fp/f80.h"
#include "cpu/system/fpu_checks.h"
#include "cpu/value_builder.h"
#include "cpu/x87/state.h"

namespace callgate {

/// For the helpers of non-control instructions, in this order: construct (raises #MF), read operands (memory may
/// fault), compute, store to memory (may fault), commit(): nothing before may change the state. What comes after can't
/// fail.
class X87Unit {
 public:
  /// Waits: raises #MF when an exception is pending. `env` is fresh, from the control word.
  X87Unit(Cpu& cpu, const Insn& insn) : c(cpu), i(insn), x(cpu.s.x87), env(environment(cpu.s.x87)) {
    check_pending_x87(cpu);
  }

  Cpu& c;
  const Insn& i;
  X87State& x;
  fp::Env env;

  static fp::Env environment(const X87State& x) {
    static constexpr u8 kPrecision[4] = {24, 64, 53, 64};  // 1 is reserved
    fp::Env e;
    e.round = static_cast<fp::Round>(x.control >> 10 & 3);
    e.masks = x.control & kX87Exceptions;
    e.precision_bits = kPrecision[x.control >> 8 & 3];
    return e;
  }

  // --- the register stack -------------------------------------------------------------------------------------
  unsigned physical(unsigned n) const { return (x.top + n) & 7; }
  bool empty(unsigned n) const { return x.empty >> physical(n) & 1; }
  const fp::F80& st(unsigned n) const { return x.r[physical(n)]; }
  void set(unsigned n, fp::F80 value) {
    const unsigned r = physical(n);
    x.r[r] = value;
    x.empty = static_cast<u8>(x.empty & ~(1u << r));
  }
  void free(unsigned n) { x.empty = static_cast<u8>(x.empty | 1u << physical(n)); }
  void push(fp::F80 value) {
    x.top = (x.top - 1) & 7;
    set(0, value);
  }
  void pop() {
    free(0);
    x.top = (x.top + 1) & 7;
  }
  /// ST(i) of the opcode.
  unsigned sti() const { return i.rm & 7; }

  // --- memory operands ----------------------------------------------------------------------------------------
  SegReg segment() const { return static_cast<SegReg>(i.seg); }
  u64 address() const { return effective_address(c, i); }
  template <class T>
  T load() {
    return c.load<T>(segment(), address());
  }
  template <class T>
  void store(T value) {
    c.store<T>(segment(), address(), value);
  }

  /// Raises what a store of `size` bytes would raise. For an exception that forbids the store: a page fault comes first.
  void probe_store(unsigned size) { c.probe_write(segment(), address(), size); }

  // --- outcome ------------------------------------------------------------------------------------------------
  /// A source register was empty, or a push would hit a full one: #IS with C1 saying which. True when masked: the
  /// caller gives the indefinite; else nothing but the flags changes.
  bool underflow() { return stack_fault(false); }
  bool overflow() { return stack_fault(true); }
  bool stack_ok() const { return stack_flags_ == 0; }
  /// C1 stays as it is.
  void keep_c1() { env.rounded_up = x.status & kX87C1; }

  /// Commits flags, C1 and pointers from `env`. Call it once, after all that may fault.
  void commit() {
    const bool was_pending = x87_exception_pending(x);
    x.status = static_cast<u16>((x.status & ~kX87C1) | env.flags | (env.rounded_up ? kX87C1 : 0) | stack_flags_);
    x.instruction_pointer = c.s.rip;
    if (i.is_memory) x.data_pointer = address();
    x.opcode = static_cast<u16>((i.opcode & 7) << 8 | i.modrm);
    if (fp::unmasked(env)) [[unlikely]]
      update_ferr(c, was_pending);
  }
  void set_codes(u16 codes) { x.status = static_cast<u16>((x.status & ~(kX87C0 | kX87C2 | kX87C3)) | codes); }

  /// The result of an operation into ST(n), unless an unmasked exception forbids it; then pops `pops` times.
  void finish(unsigned n, fp::F80 result, unsigned pops = 0) {
    if (fp::writes_register(env)) {
      set(n, result);
      for (; pops != 0; pops--) pop();
    }
    commit();
  }

 private:
  bool stack_fault(bool over) {
    env.flags = fp::kInvalid;
    env.rounded_up = over;  // C1
    stack_flags_ = kX87StackFault;
    return env.masks & fp::kInvalid;
  }

  u16 stack_flags_ = 0;
};

}  // namespace callgate
