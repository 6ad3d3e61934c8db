// Two outcomes of a case side by side: what must agree, what the manual leaves open, and what is known to differ
// between vendors. Every forgiven difference is named with its reason.
#pragma once

#include <span>
#include <string>

#include "tests/hwfuzz/case.h"
#include "tests/hwfuzz/engine.h"

namespace callgate::hwfuzz {

/// The first differences in words ("rax: 1 (host) 2 (ours)"), empty when the outcomes agree as far as they are defined.
std::string differences(const Case& c, const Outcome& host, const Outcome& ours);

/// A known difference between processors.
struct Quirk {
  const char* name;
  const char* reason;
  /// The instruction about to execute is one of these.
  bool (*applies)(Cpu&, const Insn&);
  /// Makes `ours` as `host` where they may differ after that instruction.
  void (*forgive)(const Insn&, const Case&, const Outcome& host, Outcome& ours);
};
std::span<const Quirk> quirks();

/// differences(), but forgiving: `quirk` gets the name of what explains them. A run whose instructions go on after a
/// quirk is forgiven as a whole.
std::string judge(Engine& engine, const Case& c, const Outcome& host, const Outcome& ours, const Quirk*& quirk);

}  // namespace callgate::hwfuzz
