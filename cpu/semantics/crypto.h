// Semantics of AES, PCLMULQDQ and SHA. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/value_builder.h"
#include "cpu/vec/aes.h"
#include "cpu/vec/sha.h"

namespace callgate::semantics {

#define CG_BINARY(NAME)                                                     \
  template <class B>                                                        \
  void NAME(B& b) {                                                         \
    b.write(dst, b.op(vec::NAME, b.read(dst), b.read(src)));                \
  }
CG_BINARY(aesenc)
CG_BINARY(aesenclast)
CG_BINARY(aesdec)
CG_BINARY(aesdeclast)
CG_BINARY(sha1nexte)
CG_BINARY(sha1msg1)
CG_BINARY(sha1msg2)
CG_BINARY(sha256msg1)
CG_BINARY(sha256msg2)
#undef CG_BINARY

// src2 is an immediate, or XMM0.
#define CG_TERNARY(NAME)                                                                      \
  template <class B>                                                                          \
  void NAME(B& b) {                                                                           \
    b.write(dst, b.op(vec::NAME, b.read(dst), b.read(src), b.read(src2)));                    \
  }
CG_TERNARY(pclmulqdq)
CG_TERNARY(sha1rnds4)
CG_TERNARY(sha256rnds2)
#undef CG_TERNARY

template <class B>
void aesimc(B& b) {
  b.write(dst, b.op(vec::aesimc, b.read(src)));
}

template <class B>
void aeskeygenassist(B& b) {
  b.write(dst, b.op(vec::aeskeygenassist, b.read(src), b.read(src2)));
}

}  // namespace callgate::semantics
