// What x87 and MMX instructions share about pending exceptions. (The checks that rows ask for are declared in
// cpu/value_builder.h.)
#pragma once

#include "cpu/cpu.h"

namespace callgate {

/// A waiting instruction begins: raises #MF for an unmasked exception that waits (CR0.NE set).
void check_pending_x87(Cpu& c);

/// After the x87's flags or masks changed: drives FERR# when CR0.NE is clear.
void update_ferr(Cpu& c, bool was_pending);

}  // namespace callgate
