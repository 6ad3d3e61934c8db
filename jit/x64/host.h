// What the host's processor does where the manual leaves it open, and which of its extensions emitted code may use.
#pragma once

namespace callgate::jit::x64 {

struct Host {
  /// Undefined flags come out as Callgate's canonical ones (cpu/alu*.h): logic clears AF; shifts set AF and follow the
  /// rule of count 1 for OF; rotates follow it too; BT keeps the other flags; BSF and BSR set PF with ZF and clear the
  /// rest.
  bool lzcnt = false;  ///< LZCNT counts; without the extension the same bytes are BSR
  bool logic_flags = false, shift_flags = false, rotate_flags = false, bit_test_flags = false, bit_scan_flags = false;
  /// The x87 computes what cpu/fp computes, flags and condition codes included.
  bool x87 = false;

  /// One that has all of it: the same on every host, so what is emitted for it can be compared (tests/jit/goldens).
  static constexpr Host best() { return {true, true, true, true, true, true, true}; }
};

/// Probes the host once a call.
Host probe_host();

/// Host::x87 (x87_host.cpp).
bool probe_x87();

}  // namespace callgate::jit::x64
