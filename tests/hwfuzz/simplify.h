// Makes a case plainer: as much of its state as can go, goes. Knows neither engine nor processor: whoever calls says
// what makes the case worth keeping.
#pragma once

#include <functional>

#include "tests/hwfuzz/case.h"

namespace callgate::hwfuzz {

/// Takes away what `still_good` doesn't need: registers, flags, memory, one after the other.
void simplify(Case& c, const std::function<bool(const Case&)>& still_good);

/// Only the first `count` instructions.
Case truncated(const Case& c, unsigned count);

/// The instruction `n` alone, in the state that the ones before it left (`before`: they finished). False when that
/// state can't be written as a case.
bool single_instruction(const Case& c, unsigned n, const Outcome& before, Case& out);

}  // namespace callgate::hwfuzz
