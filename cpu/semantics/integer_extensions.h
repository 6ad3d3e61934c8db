// Semantics of POPCNT, LZCNT, TZCNT, ADX, CRC32 and MOVBE. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/alu_extension.h"
#include "cpu/value_builder.h"

namespace callgate::semantics {

template <class B>
void popcnt(B& b) {
  b.write(dst, b.op(alu::popcnt, b.read(src)));
}
template <class B>
void tzcnt(B& b) {
  b.write(dst, b.op(alu::tzcnt, b.read(src)));
}
template <class B>
void lzcnt(B& b) {
  b.write(dst, b.op(alu::lzcnt, b.read(src)));
}

template <class B>
void adcx(B& b) {
  auto s = b.read(src);
  b.write(dst, b.op(alu::adcx, b.read(dst), s));
}
template <class B>
void adox(B& b) {
  auto s = b.read(src);
  b.write(dst, b.op(alu::adox, b.read(dst), s));
}

// The upper half of a 64-bit destination is cleared.
template <class B>
void crc32(B& b) {
  auto s = b.read(src);
  auto crc = b.op(alu::crc32, b.template truncate<u32>(b.read(dst)), s);
  b.write(dst, b.template zero_extend<typename B::template Type<0>>(crc));
}

template <class B>
void movbe(B& b) {
  b.write(dst, b.op(alu::reverse_bytes, b.read(src)));
}

}  // namespace callgate::semantics
