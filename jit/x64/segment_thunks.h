// Loads of segment registers by descriptors of the GDT and the LDT: a routine for each register and class of segment, made when
// the first block wants it.
#pragma once

#include "jit/code_arena.h"
#include "jit/x64/registers.h"
#include "jit/x64/segment_form.h"

namespace callgate::jit::x64 {

class SegmentThunks {
 public:
  explicit SegmentThunks(CodeArena& arena) : arena_(arena) {}
  /// A routine that loads `seg` (DS, ES, FS or GS) with the selector in eax. Changes rax, rcx, rdx, EFLAGS and the temp slots. CF:
  /// it is not the usual case, and nothing has changed. Usual is a null selector, or one of a present and accessed data segment
  /// that the privilege level may use, whose descriptor is in the supervisor's TLB, and which is of class `then`. Its slow twin is
  /// Cpu::load_segment.
  const u8* routine(SegReg seg, SegmentClass then);
  void clear() {
    for (auto& of_segment : routines_)
      for (const u8*& routine : of_segment) routine = nullptr;
  }

 private:
  CodeArena& arena_;
  const u8* routines_[kSegCount][kSegmentClasses] = {};
};

}  // namespace callgate::jit::x64
