// The constants of FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ, rounded as the control word says.
// Refuses to know: the stack.
#include "cpu/fp/round_pack.h"

namespace callgate::fp {
namespace {

struct Digits {
  i32 exponent;
  u64 high, low;  ///< the first 128 bits, cut off
};
// In the order of Constant, without the zero at the end.
constexpr Digits kDigits[] = {
    {0, 0x8000000000000000, 0},                    // 1
    {1, 0xD49A784BCD1B8AFE, 0x492BF6FF4DAFDB4C},   // log2(10)
    {0, 0xB8AA3B295C17F0BB, 0xBE87FED0691D3E88},   // log2(e)
    {1, 0xC90FDAA22168C234, 0xC4C6628B80DC1CD1},   // pi
    {-2, 0x9A209A84FBCFF798, 0x8F8959AC0B7C9178},  // log10(2)
    {-1, 0xB17217F7D1CF79AB, 0xC9E3B39803F2F6AF},  // ln(2)
};

}  // namespace

F80 constant(Constant which, Round round) {
  if (which == Constant::Zero) return zero<F80>(false);
  const Digits& digits = kDigits[static_cast<u8>(which)];
  const u128 sig = static_cast<u128>(digits.high) << 64 | digits.low;
  const auto rounded = round_significand(false, digits.exponent, sig, Format<F80>::kPrecision, round);
  return pack<F80>(false, rounded.exponent + Format<F80>::kBias, rounded.sig);
}

}  // namespace callgate::fp
