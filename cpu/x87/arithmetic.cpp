// FADD to FDIVR in all their forms, FSQRT, FSCALE, FPREM, FRNDINT, FXTRACT, FABS, FCHS.
#include "cpu/x87/helpers.h"
#include "cpu/x87/operand.h"
#include "cpu/x87/unit.h"

namespace callgate::helpers {

namespace {

using fp::F80;
using Binary = F80 (*)(F80, F80, fp::Env&);

/// D8 and DC: ST(0) or ST(i) is the destination; DA, DE, and DC with memory: an operand of that size. DE with registers
/// pops.
void arithmetic(Cpu& c, const Insn& i, Binary op, bool reversed) {
  X87Unit u(c, i);
  const bool to_sti = !i.is_memory && i.opcode != 0xD8;
  const unsigned pops = !i.is_memory && i.opcode == 0xDE;
  const unsigned destination = to_sti ? u.sti() : 0;
  const unsigned source = to_sti ? 0 : u.sti();
  X87Operand operand;
  if (i.is_memory) operand = load_operand(u);
  if (u.empty(destination) || (!i.is_memory && u.empty(source))) {
    if (u.underflow()) return u.finish(destination, fp::kF80Indefinite, pops);
    return u.commit();
  }
  const F80 a = u.st(destination);
  const F80 b = i.is_memory ? operand.value : u.st(source);
  F80 result = reversed ? op(b, a, u.env) : op(a, b, u.env);
  if (operand.denormal) {
    fp::Env as_denormal = X87Unit::environment(u.x);
    if (reversed)
      op(kDenormalF80, a, as_denormal);
    else
      op(a, kDenormalF80, as_denormal);
    u.env.flags |= as_denormal.flags & fp::kDenormal;
    if (!fp::writes_register(as_denormal)) {  // found before the computation: of that nothing is reported then
      u.env.flags = as_denormal.flags;
      u.env.rounded_up = false;
    }
  }
  u.finish(destination, result, pops);
}

/// ST(0) := op(ST(0)).
template <class Op>
void unary(Cpu& c, const Insn& i, Op op) {
  X87Unit u(c, i);
  if (u.empty(0)) {
    if (u.underflow()) return u.finish(0, fp::kF80Indefinite);
    return u.commit();
  }
  const F80 result = op(u.st(0), u.env);
  u.finish(0, result);
}

void remainder(Cpu& c, const Insn& i, fp::Remainder (*op)(F80, F80, fp::Env&)) {
  X87Unit u(c, i);
  u.x.status = static_cast<u16>(u.x.status & ~kX87C2);
  if (u.empty(0) || u.empty(1)) {
    if (u.underflow()) return u.finish(0, fp::kF80Indefinite);
    return u.commit();
  }
  const fp::Remainder r = op(u.st(0), u.st(1), u.env);
  u.env.rounded_up = r.quotient & 1;
  const fp::Class k = fp::classify(r.value);
  if (fp::writes_register(u.env) && k != fp::Class::NaN)  // else there is no quotient, and C0 and C3 stay
    u.set_codes(
        static_cast<u16>((r.partial ? kX87C2 : 0) | (r.quotient & 2 ? kX87C3 : 0) | (r.quotient & 4 ? kX87C0 : 0)));
  u.finish(0, r.value);
}

}  // namespace

void fadd(Cpu& c, const Insn& i) { arithmetic(c, i, fp::add<F80>, false); }
void fmul(Cpu& c, const Insn& i) { arithmetic(c, i, fp::mul<F80>, false); }
void fsub(Cpu& c, const Insn& i) { arithmetic(c, i, fp::sub<F80>, false); }
void fsubr(Cpu& c, const Insn& i) { arithmetic(c, i, fp::sub<F80>, true); }
void fdiv(Cpu& c, const Insn& i) { arithmetic(c, i, fp::div<F80>, false); }
void fdivr(Cpu& c, const Insn& i) { arithmetic(c, i, fp::div<F80>, true); }

void fchs(Cpu& c, const Insn& i) {
  unary(c, i, [](F80 a, fp::Env&) { return fp::negated(a); });
}
void fabs(Cpu& c, const Insn& i) {
  unary(c, i, [](F80 a, fp::Env&) { return fp::magnitude(a); });
}
void fsqrt(Cpu& c, const Insn& i) { unary(c, i, fp::sqrt<F80>); }
void frndint(Cpu& c, const Insn& i) {
  unary(c, i, [](F80 a, fp::Env& env) { return fp::round_to_integral(a, true, env); });
}

void fprem(Cpu& c, const Insn& i) { remainder(c, i, fp::prem); }
void fprem1(Cpu& c, const Insn& i) { remainder(c, i, fp::prem1); }

void fscale(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  if (u.empty(0) || u.empty(1)) {
    if (u.underflow()) return u.finish(0, fp::kF80Indefinite);
    return u.commit();
  }
  const F80 result = fp::scale(u.st(0), u.st(1), u.env);
  u.finish(0, result);
}

void fxtract(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  if (u.empty(0) || !u.empty(7)) {
    if (u.empty(0) ? u.underflow() : u.overflow()) {
      u.set(0, fp::kF80Indefinite);
      u.push(fp::kF80Indefinite);
    }
    return u.commit();
  }
  const fp::Extracted r = fp::extract(u.st(0), u.env);
  if (fp::writes_register(u.env)) {
    u.set(0, r.exponent);
    u.push(r.significand);
  }
  u.commit();
}

}  // namespace callgate::helpers
