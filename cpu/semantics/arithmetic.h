// Semantics of integer arithmetic and logic. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/alu.h"
#include "cpu/value_builder.h"

namespace callgate::semantics {

template <class B>
void add(B& b) {
  auto d = b.modify(dst);
  auto s = b.read(src);
  b.write(dst, b.op(alu::add, d, s));
}

template <class B>
void cmp(B& b) {
  auto d = b.read(dst);
  auto s = b.read(src);
  b.op(alu::sub, d, s);
}

}  // namespace callgate::semantics
