// Loads of DS, ES, FS and GS in protected mode that emitted code does by itself: which instructions these are, and what the
// segment must be for the code behind the load to be as it was translated. Knows no host code.
#pragma once

#include "cpu/ir/ir.h"

namespace callgate::jit::x64 {

/// What of a segment a translation depends on outside 64-bit mode (ir::Mode, limited_segments()).
enum class SegmentClass : u8 {
  Any,         ///< 64-bit mode: nothing
  FlatAtZero,  ///< writable, no limit, base 0
  Flat,        ///< writable, no limit, another base
  Limited,     ///< writable, expands up, has a limit
  Other,       ///< null, read-only, expand-down
};
constexpr unsigned kSegmentClasses = 5;

struct SegmentForm {
  enum Kind : u8 { None, FromRegister, FromMemory, Pop } kind = None;
  SegReg seg = DS;
  SegmentClass then = SegmentClass::Any;  ///< the segment's class before the load; another one after it needs other code
};

/// `limited`: bit i: segment i has a limit (EmitContext).
SegmentForm segment_form(const ir::Mode& mode, u8 limited, const Insn& insn);

}  // namespace callgate::jit::x64
