// FSIN and its family: the register stack around cpu/fp's functions.
#include "cpu/x87/helpers.h"
#include "cpu/x87/unit.h"

namespace callgate::helpers {

namespace {

using fp::F80;

/// ST(1) := op(ST(0), ST(1)), then ST(0) is popped.
void two_to_one(Cpu& c, const Insn& i, F80 (*op)(F80, F80, fp::Env&)) {
  X87Unit u(c, i);
  if (u.empty(0) || u.empty(1)) {
    if (u.underflow()) return u.finish(1, fp::kF80Indefinite, 1);
    return u.commit();
  }
  const F80 result = op(u.st(0), u.st(1), u.env);
  u.finish(1, result, 1);
}

void clear_c2(X87Unit& u) { u.x.status = static_cast<u16>(u.x.status & ~kX87C2); }
void set_c2(X87Unit& u) { u.x.status |= kX87C2; }

void sine_or_cosine(Cpu& c, const Insn& i, fp::Trig (*op)(F80, fp::Env&)) {
  X87Unit u(c, i);
  clear_c2(u);
  if (u.empty(0)) {
    if (u.underflow()) return u.finish(0, fp::kF80Indefinite);
    return u.commit();
  }
  const fp::Trig r = op(u.st(0), u.env);
  if (r.out_of_range) {
    set_c2(u);
    return u.commit();
  }
  u.finish(0, r.value);
}

/// For results in two registers: a stack fault of either kind, answered with two indefinites.
bool two_results_fault(X87Unit& u) {
  if (!u.empty(0) && u.empty(7)) return false;
  if (u.empty(0) ? u.underflow() : u.overflow()) {
    u.set(0, fp::kF80Indefinite);
    u.push(fp::kF80Indefinite);
  }
  u.commit();
  return true;
}

}  // namespace

void f2xm1(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  if (u.empty(0)) {
    if (u.underflow()) return u.finish(0, fp::kF80Indefinite);
    return u.commit();
  }
  const F80 result = fp::f2xm1(u.st(0), u.env);
  u.finish(0, result);
}

void fyl2x(Cpu& c, const Insn& i) { two_to_one(c, i, fp::fyl2x); }
void fyl2xp1(Cpu& c, const Insn& i) { two_to_one(c, i, fp::fyl2xp1); }
void fpatan(Cpu& c, const Insn& i) { two_to_one(c, i, fp::fpatan); }
void fsin(Cpu& c, const Insn& i) { sine_or_cosine(c, i, fp::fsin); }
void fcos(Cpu& c, const Insn& i) { sine_or_cosine(c, i, fp::fcos); }

void fptan(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  clear_c2(u);
  if (two_results_fault(u)) return;
  const fp::Trig r = fp::fptan(u.st(0), u.env);
  if (r.out_of_range) {
    set_c2(u);
    return u.commit();
  }
  if (fp::writes_register(u.env)) {
    u.set(0, r.value);
    const fp::Class k = fp::classify(r.value);
    const bool nan = k == fp::Class::NaN || k == fp::Class::Unsupported;
    u.push(nan ? r.value : fp::constant(fp::Constant::One, fp::Round::Nearest));
  }
  u.commit();
}

void fsincos(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  clear_c2(u);
  if (two_results_fault(u)) return;
  const fp::SineCosine r = fp::fsincos(u.st(0), u.env);
  if (r.out_of_range) {
    set_c2(u);
    return u.commit();
  }
  if (fp::writes_register(u.env)) {
    u.set(0, r.sine);
    u.push(r.cosine);
  }
  u.commit();
}

}  // namespace callgate::helpers
