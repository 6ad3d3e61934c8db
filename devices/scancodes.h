// Keyboard scan codes: what PS/2 keyboards send (set 2) against what PC software reads (set 1), and the stream
// translator that sits in the keyboard controller. Knows no keyboard layout. Ref: Microsoft "Keyboard Scan Code
// Specification" 1.3a; IBM "PS/2 Hardware Interface Technical Reference".
#pragma once

#include <array>
#include <span>
#include <vector>

#include "base/types.h"

namespace callgate {

constexpr u8 kScancodeBreak = 0xF0;  ///< set 2: the next code is of a key that went up

/// Translates a stream of set 2 to set 1, byte by byte, as the 8042 does.
class ScancodeTranslator {
 public:
  /// False when `byte` gives no output (a break prefix); else `byte` is replaced.
  bool translate(u8& byte);
  bool breaking = false;  ///< a break prefix came before
};

/// The set 2 bytes whose translation is `set1`: for front ends that know keys by their set 1 codes.
std::vector<u8> set2_from_set1(std::span<const u8> set1);

}  // namespace callgate
