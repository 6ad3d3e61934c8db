#include "tests/decoder/random_code.h"

namespace callgate::decoder_test {

namespace {

constexpr u8 kPrefixes[] = {0x66, 0x66, 0xF2, 0xF3, 0x67, 0xF0, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65};

/// Opcodes of the map 0F with many instructions under one opcode.
constexpr u8 kCrowded[] = {0x00, 0x01, 0x01, 0x01, 0xAE, 0xAE, 0xAE, 0xC7, 0xC7, 0x18, 0xBA, 0x71, 0x72, 0x73};

/// Writes as long as there is room.
struct Writer {
  CodeBytes& bytes;
  unsigned position = 0;
  void put(u8 b) {
    if (position < bytes.size()) bytes[position++] = b;
  }
};

}  // namespace

CodeBytes random_code(Random& random) {
  CodeBytes bytes;
  for (unsigned i = 0; i < bytes.size(); i += 8) {
    const u64 word = random.next();
    for (unsigned k = 0; k < 8; k++) bytes[i + k] = static_cast<u8>(word >> 8 * k);
  }
  if (random.chance(2)) return bytes;

  // Prefixes, seldom enough of them to reach the limit of 15 bytes; REX, also where it doesn't count.
  Writer out{bytes};
  const u32 prefixes = random.chance(16) ? random.below(14) : random.below(3);
  if (random.chance(3)) {  // VEX, mostly with nothing before it and a map that there is
    for (u32 i = random.chance(8) ? prefixes : 0; i > 0; i--) out.put(kPrefixes[random.below(std::size(kPrefixes))]);
    const u8 fields = random.byte();
    // Unused, VEX.vvvv must be all ones; and outside 64-bit mode the inverted R and X must.
    const u8 vvvv = random.chance(2) ? 0x78 : 0;
    const u8 modes = random.chance(2) ? 0xC0 : 0;
    if (random.chance(2)) {
      out.put(0xC5), out.put(fields | vvvv | modes);
    } else {
      const u8 map = random.chance(16) ? random.byte() & 31 : static_cast<u8>(1 + random.below(3));
      out.put(0xC4), out.put(static_cast<u8>((random.byte() & 0xE0) | modes | map)), out.put(fields | vvvv);
    }
    return bytes;
  }
  for (u32 i = 0; i < prefixes; i++) out.put(kPrefixes[random.below(std::size(kPrefixes))]);
  if (random.chance(2)) out.put(static_cast<u8>(0x40 | random.below(16)));
  switch (random.below(8)) {
    case 0:
    case 1: break;
    case 2: out.put(0x0F), out.put(0x38); break;
    case 3: out.put(0x0F), out.put(0x3A); break;
    case 4:
      out.put(0x0F), out.put(kCrowded[random.below(std::size(kCrowded))]);
      if (random.chance(2)) out.put(0xC0 | random.byte());
      break;
    default: out.put(0x0F);
  }
  return bytes;
}

}  // namespace callgate::decoder_test
