// FCOM, FUCOM, FICOM, FCOMI, FTST, FXAM, FCMOVcc.
#include "cpu/x87/helpers.h"
#include "cpu/x87/operand.h"
#include "cpu/x87/unit.h"

namespace callgate::helpers {

namespace {

using fp::F80;
using fp::Relation;

constexpr u16 kUnordered = kX87C3 | kX87C2 | kX87C0;

u16 codes_of(Relation r) {
  switch (r) {
    case Relation::Less:
      return kX87C0;
    case Relation::Equal:
      return kX87C3;
    case Relation::Greater:
      return 0;
    case Relation::Unordered:
      break;
  }
  return kUnordered;
}

u32 flags_of(Relation r) {
  switch (r) {
    case Relation::Less:
      return kCF;
    case Relation::Equal:
      return kZF;
    case Relation::Greater:
      return 0;
    case Relation::Unordered:
      break;
  }
  return kZF | kPF | kCF;
}

/// Pops, unless an unmasked exception forbids it. DEVIATION: the manual leaves the condition codes alone for an
/// unmasked exception; processors set them (to "unordered" for an empty register), and so do we.
void finish(X87Unit& u, unsigned pops) {
  if (fp::writes_register(u.env))
    for (; pops != 0; pops--) u.pop();
  u.commit();
}

void compare_with(X87Unit& u, const X87Operand& operand, bool other_empty, bool quiet, unsigned pops) {
  Relation r = Relation::Unordered;
  if (u.empty(0) || other_empty) {
    u.underflow();
  } else {
    r = fp::compare(u.st(0), operand.value, quiet, u.env);
    if (operand.denormal) {
      fp::Env as_denormal = X87Unit::environment(u.x);
      fp::compare(u.st(0), kDenormalF80, quiet, as_denormal);
      u.env.flags |= as_denormal.flags & fp::kDenormal;
    }
  }
  u.set_codes(codes_of(r));
  finish(u, pops);
}

void compare_registers(Cpu& c, const Insn& i, bool quiet, unsigned pops) {
  X87Unit u(c, i);
  compare_with(u, {u.st(u.sti())}, u.empty(u.sti()), quiet, pops);
}

void compare_any(Cpu& c, const Insn& i, unsigned pops) {
  if (!i.is_memory) return compare_registers(c, i, false, pops);
  X87Unit u(c, i);
  compare_with(u, load_operand(u), false, false, pops);
}

void compare_to_flags(Cpu& c, const Insn& i, bool quiet, unsigned pops) {
  X87Unit u(c, i);
  Relation r = Relation::Unordered;
  if (u.empty(0) || u.empty(u.sti()))
    u.underflow();
  else
    r = fp::compare(u.st(0), u.st(u.sti()), quiet, u.env);
  if (u.stack_ok()) u.keep_c1();
  c.s.flags.set_arithmetic(flags_of(r));
  finish(u, pops);
}

}  // namespace

void fcom(Cpu& c, const Insn& i) { compare_any(c, i, 0); }
void fcomp(Cpu& c, const Insn& i) { compare_any(c, i, 1); }
void fcompp(Cpu& c, const Insn& i) { compare_registers(c, i, false, 2); }
void fucom(Cpu& c, const Insn& i) { compare_registers(c, i, true, 0); }
void fucomp(Cpu& c, const Insn& i) { compare_registers(c, i, true, 1); }
void fucompp(Cpu& c, const Insn& i) { compare_registers(c, i, true, 2); }
void fcomi(Cpu& c, const Insn& i) { compare_to_flags(c, i, false, 0); }
void fcomip(Cpu& c, const Insn& i) { compare_to_flags(c, i, false, 1); }
void fucomi(Cpu& c, const Insn& i) { compare_to_flags(c, i, true, 0); }
void fucomip(Cpu& c, const Insn& i) { compare_to_flags(c, i, true, 1); }

void ftst(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  compare_with(u, {F80{}}, false, false, 0);
}

void fxam(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  const unsigned k = u.empty(0) ? 5 : static_cast<unsigned>(fp::classify(u.st(0)));
  u.set_codes(static_cast<u16>((k & 4 ? kX87C3 : 0) | (k & 2 ? kX87C2 : 0) | (k & 1 ? kX87C0 : 0)));
  u.env.rounded_up = fp::sign_of(u.st(0));  // C1, of an empty register too
  u.commit();
}

/// DA C0..DF: B, E, BE, U; DB C0..DF: their opposites.
void fcmov(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  if (u.empty(0) || u.empty(u.sti())) {
    if (u.underflow()) return u.finish(0, fp::kF80Indefinite);
    return u.commit();
  }
  static constexpr u8 kConditions[4] = {2, 4, 6, 10};  // as in Jcc
  const unsigned condition = kConditions[i.reg & 3] | (i.opcode & 1);
  if (c.s.flags.condition(condition)) u.set(0, u.st(u.sti()));
  u.keep_c1();
  u.commit();
}

}  // namespace callgate::helpers
