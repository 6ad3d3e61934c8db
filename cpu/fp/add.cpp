// Addition and subtraction. Refuses to know: how results are rounded.
#include "cpu/fp/add_numbers.h"
#include "cpu/fp/round_pack.h"

namespace callgate::fp {
namespace {

template <class F>
inline F add_signed(F a, F b, bool subtract, Env& env) {
  const auto x = unpack(a, env.daz);
  auto y = unpack(b, env.daz);
  if (x.kind >= Kind::QuietNaN || y.kind >= Kind::QuietNaN) [[unlikely]]
    return propagate_nan(a, b, env);
  y.sign ^= subtract;
  const bool x_infinite = x.kind == Kind::Infinity, y_infinite = y.kind == Kind::Infinity;
  if (x_infinite && y_infinite && x.sign != y.sign) return invalid<F>(env);
  if (x.denormal || y.denormal) [[unlikely]] {
    if (raise_denormal(env)) return a;
  }
  if (x_infinite) return infinity<F>(x.sign);
  if (y_infinite) return infinity<F>(y.sign);
  return round_pack<F>(add_numbers(x, y, env.round), env);
}

}  // namespace

template <class F>
F add(F a, F b, Env& env) {
  return add_signed(a, b, false, env);
}
template <class F>
F sub(F a, F b, Env& env) {
  return add_signed(a, b, true, env);
}

template F32 add(F32, F32, Env&);
template F64 add(F64, F64, Env&);
template F80 add(F80, F80, Env&);
template F32 sub(F32, F32, Env&);
template F64 sub(F64, F64, Env&);
template F80 sub(F80, F80, Env&);

}  // namespace callgate::fp
