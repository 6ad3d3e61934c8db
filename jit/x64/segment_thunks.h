// Loads of segment registers by descriptors of the GDT and the LDT. Parts of thunks.cpp.
#pragma once

#include "jit/x64/registers.h"
#include "jit/x64/segment_form.h"

namespace callgate::jit::x64 {

/// Loads `seg` (DS, ES, FS or GS) with the selector in eax. A subroutine; changes rax, rcx, rdx and the temp slots. CF: it is
/// not the usual case, and nothing has changed. Usual is a null selector, or one of a present and accessed data segment that the
/// privilege level may use, whose descriptor is in the supervisor's TLB, and which is of class `then`. Its slow twin is
/// Cpu::load_segment.
void emit_load_segment(x86::Assembler& a, SegReg seg, SegmentClass then);

}  // namespace callgate::jit::x64
