// Loads, stores, constants, exchanges and the stack itself.
#include "cpu/x87/helpers.h"
#include "cpu/x87/unit.h"

namespace callgate::helpers {

namespace {

using fp::F80;

/// Pushes what `value` gives; a full stack gives the indefinite.
template <class Value>
void load(X87Unit& u, Value value) {
  if (!u.empty(7)) {
    if (u.overflow()) u.push(fp::kF80Indefinite);
    return u.commit();
  }
  const F80 v = value();
  if (fp::pushes_load(u.env)) u.push(v);
  u.commit();
}

/// Stores ST(0), converted; `indefinite` is the masked answer to an empty register.
template <class T, class Convert>
void store(Cpu& c, const Insn& i, T indefinite, bool pop, Convert convert) {
  X87Unit u(c, i);
  T value = indefinite;
  if (u.empty(0))
    u.underflow();
  else
    value = static_cast<T>(convert(u.st(0), u.env));
  const bool write = fp::writes_memory(u.env);
  if (write) {
    u.store<T>(value);
    if (pop) u.pop();
  } else {
    u.probe_store(sizeof(T));
  }
  u.commit();
}

constexpr u32 kF32Indefinite = 0xFFC00000;
constexpr u64 kF64Indefinite = 0xFFF8000000000000;

void store_f32(Cpu& c, const Insn& i, bool pop) { store<u32>(c, i, kF32Indefinite, pop, fp::f80_to_f32); }
void store_f64(Cpu& c, const Insn& i, bool pop) { store<u64>(c, i, kF64Indefinite, pop, fp::f80_to_f64); }
void store_i16(Cpu& c, const Insn& i, bool pop) {
  store<u16>(c, i, 0x8000, pop, [](F80 a, fp::Env& env) { return fp::f80_to_i16(a, false, env); });
}
void store_i32(Cpu& c, const Insn& i, bool pop) {
  store<u32>(c, i, 0x80000000, pop, [](F80 a, fp::Env& env) { return fp::f80_to_i32(a, false, env); });
}

/// An m80 or packed BCD operand.
constexpr unsigned kTenBytes = 10;

/// Ten bytes that must not be written in part.
void store_ten(X87Unit& u, u64 low, u16 high) {
  u8 image[kTenBytes];
  store_as<u64>(image, low);
  store_as<u16>(image + 8, high);
  u.c.store_bytes(u.segment(), u.address(), image, sizeof image);
}

struct Ten {
  u64 low;
  u16 high;
};
Ten load_ten(X87Unit& u) {
  u8 image[kTenBytes];
  u.c.load_bytes(u.segment(), u.address(), image, sizeof image);
  return {load_as<u64>(image), load_as<u16>(image + 8)};
}

void store_register(Cpu& c, const Insn& i, bool pop) {
  X87Unit u(c, i);
  F80 value = u.st(0);
  if (u.empty(0)) {
    if (!u.underflow()) return u.commit();
    value = fp::kF80Indefinite;
  }
  u.finish(u.sti(), value, pop);
}

}  // namespace

void fld_m32(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  const u32 bits = u.load<u32>();
  load(u, [&] { return fp::f32_to_f80(bits, u.env); });
}
void fld_m64(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  const u64 bits = u.load<u64>();
  load(u, [&] { return fp::f64_to_f80(bits, u.env); });
}
void fld_m80(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  const Ten t = load_ten(u);
  load(u, [&] { return F80{t.low, t.high}; });
}
void fild_m16(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  const i16 v = static_cast<i16>(u.load<u16>());
  load(u, [&] { return fp::i64_to_f80(v); });
}
void fild_m32(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  const i32 v = static_cast<i32>(u.load<u32>());
  load(u, [&] { return fp::i64_to_f80(v); });
}
void fild_m64(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  const i64 v = static_cast<i64>(u.load<u64>());
  load(u, [&] { return fp::i64_to_f80(v); });
}
void fbld(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  const Ten t = load_ten(u);
  load(u, [&] { return fp::bcd_to_f80({t.low, t.high}); });
}

void fst_m32(Cpu& c, const Insn& i) { store_f32(c, i, false); }
void fstp_m32(Cpu& c, const Insn& i) { store_f32(c, i, true); }
void fst_m64(Cpu& c, const Insn& i) { store_f64(c, i, false); }
void fstp_m64(Cpu& c, const Insn& i) { store_f64(c, i, true); }
void fist_m16(Cpu& c, const Insn& i) { store_i16(c, i, false); }
void fistp_m16(Cpu& c, const Insn& i) { store_i16(c, i, true); }
void fist_m32(Cpu& c, const Insn& i) { store_i32(c, i, false); }
void fistp_m32(Cpu& c, const Insn& i) { store_i32(c, i, true); }
void fistp_m64(Cpu& c, const Insn& i) {
  store<u64>(c, i, u64{1} << 63, true, [](F80 a, fp::Env& env) { return fp::f80_to_i64(a, false, env); });
}

// SSE3: truncates whatever the control word's rounding is.
void fisttp_m16(Cpu& c, const Insn& i) {
  store<u16>(c, i, 0x8000, true, [](F80 a, fp::Env& env) { return fp::f80_to_i16(a, true, env); });
}
void fisttp_m32(Cpu& c, const Insn& i) {
  store<u32>(c, i, 0x80000000, true, [](F80 a, fp::Env& env) { return fp::f80_to_i32(a, true, env); });
}
void fisttp_m64(Cpu& c, const Insn& i) {
  store<u64>(c, i, u64{1} << 63, true, [](F80 a, fp::Env& env) { return fp::f80_to_i64(a, true, env); });
}

void fstp_m80(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  F80 value = u.st(0);
  if (u.empty(0)) {
    if (!u.underflow()) {
      u.probe_store(kTenBytes);
      return u.commit();
    }
    value = fp::kF80Indefinite;
  }
  store_ten(u, value.significand, value.sign_exponent);
  u.pop();
  u.commit();
}

void fbstp(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  fp::PackedBcd value{0xC000000000000000, 0xFFFF};  // the packed BCD indefinite
  if (u.empty(0))
    u.underflow();
  else
    value = fp::f80_to_bcd(u.st(0), u.env);
  const bool write = fp::writes_memory(u.env);
  if (write) {
    store_ten(u, value.low, value.high);
    u.pop();
  } else {
    u.probe_store(kTenBytes);
  }
  u.commit();
}

void fld_sti(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  if (u.empty(u.sti())) {  // wins over a full stack
    if (u.underflow()) u.push(fp::kF80Indefinite);
    return u.commit();
  }
  const F80 value = u.st(u.sti());
  load(u, [&] { return value; });
}

/// D9 D8..DF, undocumented: like FSTP ST(i), but an empty ST(0) raises nothing.
void fstp_unchecked(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  if (!u.empty(0)) u.set(u.sti(), u.st(0));
  u.pop();
  u.commit();
}

void fst_sti(Cpu& c, const Insn& i) { store_register(c, i, false); }
void fstp_sti(Cpu& c, const Insn& i) { store_register(c, i, true); }

/// D9 E8 to EE.
void fld_constant(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  load(u, [&] { return fp::constant(static_cast<fp::Constant>(i.modrm & 7), u.env.round); });
}

void fxch(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  F80 a = u.st(0), b = u.st(u.sti());
  if (u.empty(0) || u.empty(u.sti())) {
    if (!u.underflow()) return u.commit();
    if (u.empty(0)) a = fp::kF80Indefinite;
    if (u.empty(u.sti())) b = fp::kF80Indefinite;
  }
  u.set(0, b);
  u.set(u.sti(), a);
  u.commit();
}

void ffree(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  u.free(u.sti());
  u.commit();
}

void ffreep(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  u.free(u.sti());
  u.pop();
  u.commit();
}

void fincstp(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  u.x.top = (u.x.top + 1) & 7;
  u.commit();
}

void fdecstp(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  u.x.top = (u.x.top - 1) & 7;
  u.commit();
}

void fnop(Cpu& c, const Insn& i) {
  X87Unit u(c, i);
  u.keep_c1();
  u.commit();
}

}  // namespace callgate::helpers
