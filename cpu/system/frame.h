// A stack frame that the processor builds for a far transfer: all of it is checked before any of it is written, and the
// stack pointer is handed back for the caller to commit. Knows nothing of what is in the frame.
#pragma once

#include "cpu/cpu.h"

namespace callgate {

/// Bytes of the stack pointer in use with stack segment `ss`.
inline unsigned stack_bytes(const Segment& ss) { return ss.big() ? 4 : 2; }

/// `value` written to a stack pointer register that holds `old`: SP keeps the bits above it, ESP clears them.
u64 merge_stack_pointer(u64 old, u64 value, unsigned stack_size);

/// The next RSP when SS is `ss` in 16-bit or 32-bit code and `value` was popped for it: a 16-bit stack takes SP only.
inline u64 outer_stack_pointer(u64 old, u64 value, const Segment& ss) {
  return merge_stack_pointer(old, value, stack_bytes(ss));
}

/// True when [offset, offset + size) lies inside an expand-up or expand-down segment.
bool inside_limit(const Segment& s, u64 offset, unsigned size);

/// A frame that grows down from `rsp` in `ss`.
class StackFrame {
 public:
  static constexpr unsigned kMaxSlots = 40;  ///< a call gate: 31 parameters and four more

  /// `stack_size`: 8 for a 64-bit stack (no segment), else stack_bytes(ss). `supervisor`: of the stack's own ring.
  /// `error`: of the #SS that a violation raises.
  StackFrame(Cpu& cpu, const Segment& ss, u64 rsp, unsigned stack_size, bool supervisor, u32 error)
      : c_(cpu), ss_(ss), rsp_(rsp), stack_size_(stack_size), supervisor_(supervisor), error_(error) {}

  /// Adds a slot of 2, 4 or 8 bytes. Nothing is looked at yet.
  void push(u64 value, unsigned size);
  /// Raises what writing the frame would raise.
  void check();
  /// Writes the frame; check() must have passed.
  void write();
  /// RSP below the frame.
  u64 rsp() const { return rsp_; }

 private:
  struct Slot {
    u64 linear = 0;
    u64 offset = 0;
    u64 value = 0;
    u8 size = 0;
  };

  Cpu& c_;
  const Segment ss_;
  u64 rsp_;
  unsigned stack_size_;
  bool supervisor_;
  u32 error_;
  unsigned count_ = 0;
  Slot slots_[kMaxSlots];
};

/// SS:ESP (or SS:SP) for privilege level `level` from a 32-bit or 16-bit TSS; raises #TS(TR | ext) beyond its limit.
struct InnerStack {
  u16 ss = 0;
  u64 rsp = 0;
};
InnerStack stack_from_tss(Cpu& c, unsigned level, u32 ext);

/// A stack pointer of the 64-bit TSS at `offset` (RSPn: 4 + 8n, ISTn: 0x1C + 8n); raises #TS(TR | ext) beyond its limit
/// and #SS(ext) when it isn't canonical.
u64 rsp_from_tss64(Cpu& c, u32 offset, u32 ext);
constexpr u32 tss64_rsp(unsigned level) { return 4 + 8 * level; }
constexpr u32 tss64_ist(unsigned number) { return 0x1C + 8 * number; }

}  // namespace callgate
