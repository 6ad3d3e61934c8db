// What the host's processor does where the manual leaves it open, and which of its extensions emitted code may use.
#pragma once

#include <iterator>
#include <string_view>

namespace callgate::jit::x64 {

/// Extensions that not every host has, as rows name them.
inline constexpr const char* kHostFeatures[] = {"avx", "avx2", "fma", "f16c", "aes", "vaes", "pclmulqdq", "vpclmulqdq", "bmi1", "bmi2",
                                               "adx", "sse4.2"};

struct Host {
  /// Undefined flags come out as Callgate's canonical ones (cpu/alu*.h): logic clears AF; shifts set AF and follow the
  /// rule of count 1 for OF; rotates follow it too; BT keeps the other flags; BSF and BSR set PF with ZF and clear the
  /// rest.
  bool lzcnt = false;  ///< LZCNT counts; without the extension the same bytes are BSR
  bool logic_flags = false, shift_flags = false, rotate_flags = false, bit_test_flags = false, bit_scan_flags = false;
  /// The x87 computes what cpu/fp computes, flags and condition codes included.
  bool x87 = false;
  /// Rotates through the carry by more than 1 set OF as those by 1 do.
  bool carry_rotate_flags = false;
  /// BMI's instructions clear the flags that the manual leaves open.
  bool bmi_flags = false;
  unsigned features = 0;  ///< bit n: it has kHostFeatures[n]
  constexpr bool has(std::string_view feature) const {
    for (unsigned n = 0; n < std::size(kHostFeatures); n++)
      if (feature == kHostFeatures[n]) return features >> n & 1;
    return false;
  }

  /// One that has all of it: the same on every host, so what is emitted for it can be compared (tests/jit/goldens).
  static constexpr Host best() { return {true, true, true, true, true, true, true, true, true, ~0u}; }
};

/// Probes the host once a call.
Host probe_host();

/// Host::x87 (x87_host.cpp).
bool probe_x87();

}  // namespace callgate::jit::x64
