// Port I/O as instructions do it: who may, which breakpoints watch, and the transfer. INS and OUTS use it too.
// Knows no device. Ref: SDM 1, Input/Output.
#pragma once

#include "cpu/cpu.h"

namespace callgate {

/// Raises #GP(0) when IOPL, and then the TSS's I/O permission bitmap, do not allow the port.
void check_io_permission(Cpu& c, u16 port, unsigned size);

// The transfer, after the permission was checked: 1, 2 or 4 bytes. Pends the trap of an I/O breakpoint.
u32 read_port(Cpu& c, u16 port, unsigned size);
void write_port(Cpu& c, u16 port, unsigned size, u32 value);

}  // namespace callgate
