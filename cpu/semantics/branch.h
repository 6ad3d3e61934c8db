// Semantics of near jumps, calls, returns and loops. Templates over a builder: see cpu/value_builder.h. Far transfers are
// cpu/system's.
#pragma once

#include "cpu/alu.h"
#include "cpu/value_builder.h"

namespace callgate::semantics {

template <class B>
void jcc(B& b) {
  b.when(b.condition(), [&] { b.jump(b.target(dst)); });
}

/// JMP to a relative target, or to the one that r/m holds.
template <class B>
void jmp(B& b) {
  if constexpr (B::template spec<0>.kind == 'J') b.jump(b.target(dst));
  else b.jump(b.template zero_extend<u64>(b.read(dst)));
}

template <class B>
void call(B& b) {
  if constexpr (B::template spec<0>.kind == 'J') b.call(b.target(dst));
  else b.call(b.template zero_extend<u64>(b.read(dst)));
}

template <class B>
void ret(B& b) {
  if constexpr (B::template spec<0>.kind == 'I') b.ret(b.read(dst));
  else b.ret(b.constant(u16{0}));
}

template <class B>
void loop(B& b) {
  b.loop(b.constant(true), b.target(dst));
}

template <class B>
void loope(B& b) {
  b.loop(b.flag_zf(), b.target(dst));
}

template <class B>
void loopne(B& b) {
  b.loop(b.op(alu::logical_not, b.flag_zf()), b.target(dst));
}

// JCXZ, JECXZ, JRCXZ.
template <class B>
void jcxz(B& b) {
  b.when(b.counter_is_zero(), [&] { b.jump(b.target(dst)); });
}

}  // namespace callgate::semantics
