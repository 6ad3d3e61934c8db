// The x87's loads and stores that convert: binary32, binary64 and integers. Refuses to know: packed BCD (f80_bcd.cpp).
#include "cpu/fp/convert_format.h"
#include "cpu/fp/integer.h"

namespace callgate::fp {

F80 f32_to_f80(F32 a, Env& env) { return convert_format<F80>(a, env); }
F80 f64_to_f80(F64 a, Env& env) { return convert_format<F80>(a, env); }

F80 i64_to_f80(i64 a) {
  if (a == 0) return zero<F80>(false);
  const bool sign = a < 0;
  const u64 magnitude = sign ? ~static_cast<u64>(a) + 1 : static_cast<u64>(a);
  const int shift = std::countl_zero(magnitude);
  return pack<F80>(sign, Format<F80>::kBias + 63 - shift, static_cast<u128>(magnitude << shift) << 64);
}

namespace {

/// FST to memory. A denormal in the register is not reported (SDM 2, FST: no #D among the exceptions).
template <class To>
To store(F80 a, Env& env) {
  const To result = convert_format<To>(a, env, false);
  if (!writes_memory(env)) {
    // Nothing is stored, so the processor tells nothing of a rounding.
    env.flags &= ~kPrecision;
    env.rounded_up = false;
  }
  return result;
}

}  // namespace

F32 f80_to_f32(F80 a, Env& env) { return store<F32>(a, env); }
F64 f80_to_f64(F80 a, Env& env) { return store<F64>(a, env); }

i16 f80_to_i16(F80 a, bool truncate, Env& env) { return static_cast<i16>(to_signed(a, 16, truncate, env)); }
i32 f80_to_i32(F80 a, bool truncate, Env& env) { return static_cast<i32>(to_signed(a, 32, truncate, env)); }
i64 f80_to_i64(F80 a, bool truncate, Env& env) { return static_cast<i64>(to_signed(a, 64, truncate, env)); }

}  // namespace callgate::fp
