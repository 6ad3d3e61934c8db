// Faults on purpose, for the proof that the tests of determinism have teeth. Only a build with CALLGATE_TEETH has them
// (tests/teeth); in any other one these are constants that the compiler drops.
#pragma once

#include "base/types.h"

namespace callgate::teeth {

enum class Tooth {
  None,
  HostClock,     ///< the TSC has a bit of the host's clock
  UnloggedByte,  ///< one byte that was delivered is not in the journal
  LostField,     ///< one field of a device is not restored
  LateByOne,     ///< the translator takes some timer interrupts an instruction late
};

#ifdef CALLGATE_TEETH
extern Tooth active;
/// Bits of the host's clock.
u64 host_clock();
#else
constexpr Tooth active = Tooth::None;
constexpr u64 host_clock() { return 0; }
#endif

}  // namespace callgate::teeth
