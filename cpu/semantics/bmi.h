// Semantics of BMI1 and BMI2. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/alu_bmi.h"
#include "cpu/value_builder.h"

namespace callgate::semantics {

// dst = src OP src2.
#define CG_BMI_BINARY(NAME)                                              \
  template <class B>                                                     \
  void NAME(B& b) {                                                      \
    auto s = b.read(src);                                                \
    b.write(dst, b.op(alu::NAME, s, b.read(src2)));                      \
  }
CG_BMI_BINARY(andn)
CG_BMI_BINARY(bextr)
CG_BMI_BINARY(bzhi)
CG_BMI_BINARY(pdep)
CG_BMI_BINARY(pext)
CG_BMI_BINARY(shlx)
CG_BMI_BINARY(shrx)
CG_BMI_BINARY(sarx)
CG_BMI_BINARY(rorx)
#undef CG_BMI_BINARY

#define CG_BMI_UNARY(NAME)                             \
  template <class B>                                   \
  void NAME(B& b) {                                    \
    b.write(dst, b.op(alu::NAME, b.read(src)));        \
  }
CG_BMI_UNARY(blsr)
CG_BMI_UNARY(blsmsk)
CG_BMI_UNARY(blsi)
#undef CG_BMI_UNARY

// With both destinations the same register, it gets the high half.
template <class B>
void mulx(B& b) {
  auto s = b.read(src2);
  auto d = b.template gpr<typename B::template Type<0>>(RDX);
  auto low = b.op(alu::mulx_low, d, s);
  auto high = b.op(alu::mulx_high, d, s);
  b.write(src, low);
  b.write(dst, high);
}

}  // namespace callgate::semantics
