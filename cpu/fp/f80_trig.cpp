// FSIN, FCOS, FSINCOS, FPTAN, FPATAN. As in the processor, the circular functions are those of a circle with the
// manual's 66-bit pi: the argument is reduced by it, exactly, and then the function is correctly rounded. Refuses to
// know: the stack. Refs: SDM 1 ch. 8.3.8 "Approximation of Pi", 8.3.10; SDM 2, FPATAN table 3-30.
#include "cpu/fp/wide.h"

namespace callgate::fp {
namespace {

constexpr i32 kRangeLimit = 63;  // SDM 1 ch. 8.3.8: |x| < 2^63

enum class Function { Sine, Cosine, Tangent };

/// An angle in [-pi/4, pi/4] and the number of quarter turns that were taken off, modulo 4.
unsigned reduce(const Number<u128>& x, Wide& angle) {
  const Wide argument(x);
  // SDM 1 ch. 8.3.8: pi = 0.f * 2^2, f = C90FDAA2 2168C234 C; 68 bits with two zeros at the end.
  Wide half_pi(68);
  mpfr_set_ui_2exp(half_pi, 0xC90FDAA22168C234, 4, MPFR_RNDZ);
  mpfr_add_ui(half_pi, half_pi, 0xC, MPFR_RNDZ);
  mpfr_mul_2si(half_pi, half_pi, 2 - 68 - 1, MPFR_RNDZ);
  long quotient = 0;
  mpfr_remquo(angle, &quotient, argument, half_pi, MPFR_RNDZ);
  return static_cast<unsigned>(quotient) & 3;
}

F80 compute(Function function, const Number<u128>& x, Env& env) {
  // A remainder of a 64-bit x below 2^63 by a multiple of 2^-65 has at most 128 bits, or it is x itself.
  Wide angle(192);
  const unsigned quarters = reduce(x, angle);
  Wide result;
  bool inexact, negative;
  if (function == Function::Tangent) {
    negative = quarters & 1;
    inexact = (quarters & 1 ? mpfr_cot : mpfr_tan)(result, angle, MPFR_RNDZ) != 0;
  } else {
    const unsigned turned = function == Function::Cosine ? quarters + 1 : quarters;
    negative = turned & 2;
    inexact = (turned & 1 ? mpfr_cos : mpfr_sin)(result, angle, MPFR_RNDZ) != 0;
  }
  Number<u128> n = result.number(inexact);
  n.sign ^= negative;
  return computed(n, env);
}

/// What the circular functions have in common. `at_zero`: the function's value at a.
Trig circular(Function function, F80 a, F80 at_zero, Env& env) {
  const auto x = unpack(a, false);
  if (x.kind >= Kind::QuietNaN) return {propagate_nan(a, env)};
  if (x.kind == Kind::Infinity) return {invalid<F80>(env)};
  if (x.kind == Kind::Zero) return {at_zero};
  if (x.exponent >= kRangeLimit) return {a, true};
  if (x.denormal && raise_denormal(env)) return {a};
  return {compute(function, x, env)};
}

}  // namespace

Trig fsin(F80 x, Env& env) { return circular(Function::Sine, x, x, env); }
Trig fcos(F80 x, Env& env) { return circular(Function::Cosine, x, one<F80>(false), env); }
Trig fptan(F80 x, Env& env) { return circular(Function::Tangent, x, x, env); }

SineCosine fsincos(F80 x, Env& env) {
  const Trig cosine = fcos(x, env);
  const Trig sine = fsin(x, env);  // last: C1 is the sine's
  return {sine.value, cosine.value, sine.out_of_range};
}

F80 fpatan(F80 a, F80 b, Env& env) {
  const auto x = unpack(a, false), y = unpack(b, false);
  if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) return propagate_nan(a, b, env);
  if ((x.denormal || y.denormal) && raise_denormal(env)) return a;
  // Zeros and infinities behave as the angle of a point on an axis or a diagonal does.
  if (!x.sign && (y.kind == Kind::Zero || (x.kind == Kind::Infinity && y.kind != Kind::Infinity))) {
    return zero<F80>(y.sign);
  }
  const auto wide = [](const Number<u128>& n, mpfr_ptr to) {
    if (n.kind == Kind::Zero) {
      mpfr_set_zero(to, n.sign ? -1 : 1);
    } else if (n.kind == Kind::Infinity) {
      mpfr_set_inf(to, n.sign ? -1 : 1);
    } else {
      const Wide value(n);  // named: mpfr_set may be a macro that outlives a temporary
      mpfr_set(to, value, MPFR_RNDZ);
    }
  };
  Wide wide_x, wide_y, result;
  wide(x, wide_x);
  wide(y, wide_y);
  const bool inexact = mpfr_atan2(result, wide_y, wide_x, MPFR_RNDZ) != 0;
  return computed(result.number(inexact), env);
}

}  // namespace callgate::fp
