// Cases and what a real processor made of them, as lines of text: the hardware's answers for hosts that have no such
// processor, and the fuzzer's finds. Only what differs from a plain state (zeros, FNINIT, MXCSR 1F80) is written:
//
//   # 01 /r | add | Ev,Gv
//   4801d8 rax=7fffffffffffffff rbx=1 > rax=8000000000000000 fl=a96
//
// Code (instructions joined by '.'), what the state before holds, '>', how it ended ("v=14 e=6 cr2=..." for a fault)
// and what the state after has changed. Keys: rax ... r15, fl, cw, sw, tw (bit i: Ri is in use), fop, fip, fdp, st0 ...
// st7 (sign and exponent:significand), mxcsr, xmm0 ... xmm15, ymm0 ... ymm15 (the upper halves), m<offset>=<bytes> in the data pages, at (place in the
// code pages), seed (of random data pages), rip.
#pragma once

#include <string>
#include <string_view>

#include "tests/hwfuzz/case.h"

namespace callgate::hwfuzz {

/// The line of a case with its outcome.
std::string to_line(const Case& c, const Outcome& o);
/// The part after '>': what the outcome has changed.
std::string outcome_text(const Case& c, const Outcome& o);
/// Reads a line; nothing when it is none.
bool from_line(std::string_view line, Case& c, Outcome& o);

}  // namespace callgate::hwfuzz
