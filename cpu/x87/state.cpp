#include "cpu/x87/state.h"

#include "cpu/fp/f80.h"

namespace callgate {

u16 x87_tag_word(const X87State& x) {
  unsigned word = 0;
  for (unsigned n = 0; n < 8; n++) {
    unsigned tag = 2;
    if (x.empty >> n & 1) {
      tag = 3;
    } else {
      const fp::Class k = fp::classify(x.r[n]);
      if (k == fp::Class::Zero)
        tag = 1;
      else if (k == fp::Class::Normal)
        tag = 0;
    }
    word |= tag << (2 * n);
  }
  return static_cast<u16>(word);
}

void set_x87_tag_word(X87State& x, u16 value) {
  unsigned empty = 0;
  for (unsigned n = 0; n < 8; n++) empty |= u32{(value >> (2 * n) & 3) == 3} << n;
  x.empty = static_cast<u8>(empty);
}

}  // namespace callgate
