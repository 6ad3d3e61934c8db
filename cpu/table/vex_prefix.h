// A VEX prefix as bytes, for the tests that make instructions from rows.
#pragma once

#include "cpu/table/encoding.h"

namespace callgate {

/// What a VEX prefix says besides the map and the mandatory prefix, not inverted.
struct VexFields {
  bool r = false, x = false, b = false, w = false, l = false;
  u8 vvvv = 0;
};

/// VEX.L as the row allows it, from a bit that is free to be either.
inline bool vex_length_bit(const Encoding& e, bool free) {
  return e.vex_length == VexLength::Only256 || (free && e.vex_length != VexLength::Only128);
}

/// Writes the three-byte form.
inline void put_vex3(u8* out, const Encoding& e, const VexFields& f) {
  const unsigned prefix = e.prefix == MandatoryPrefix::P66   ? 1
                          : e.prefix == MandatoryPrefix::PF3 ? 2
                          : e.prefix == MandatoryPrefix::PF2 ? 3
                                                             : 0;
  out[0] = 0xC4;
  out[1] = static_cast<u8>(!f.r << 7 | !f.x << 6 | !f.b << 5 | (e.map - kVexMaps));
  out[2] = static_cast<u8>(f.w << 7 | (~f.vvvv & 15) << 3 | f.l << 2 | prefix);
}

/// True when the two-byte form can say the same.
inline bool fits_vex2(const Encoding& e, const VexFields& f) {
  return e.map == kVexMaps + 1 && !f.x && !f.b && !f.w;
}

/// Writes the two-byte form, if it fits.
inline void put_vex2(u8* out, const Encoding& e, const VexFields& f) {
  u8 three[3];
  put_vex3(three, e, f);
  out[0] = 0xC5;
  out[1] = static_cast<u8>((three[1] & 0x80) | (three[2] & 0x7F));
}

}  // namespace callgate
