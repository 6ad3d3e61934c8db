// What RET far and IRET share: the checks of the code and stack segments that they return to.
// Ref: SDM 2, RET and IRET, "Operation".
#pragma once

#include "cpu/system/frame.h"
#include "cpu/system/segments.h"

namespace callgate {

/// The code segment that a return goes to; raises #GP or #NP.
Descriptor fetch_return_code(Cpu& c, u16 selector);

/// The stack segment for a return to code `cs` at `cpl`: a descriptor, or nothing for the null selector that 64-bit
/// code at CPL < 3 may have.
std::optional<Descriptor> fetch_return_stack(Cpu& c, u16 selector, const Descriptor& cs, unsigned cpl);

/// True when the segment will run 64-bit code.
inline bool is_code64(const Cpu& c, const Descriptor& cs) { return c.long_mode() && cs.long_mode(); }

/// Commits CS, SS and RSP of a return to the ring `cpl`; accessed bits first, which may fault. `rsp` is cut by the
/// rules of the new stack. Not refreshed yet.
void commit_return(Cpu& c, Descriptor& cs, std::optional<Descriptor>& ss, u16 ss_selector, u64 rsp, unsigned cpl);

}  // namespace callgate
