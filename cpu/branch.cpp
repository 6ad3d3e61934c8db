// Near control flow: where the next instruction may be. Far transfers are cpu/system/far_transfer.cpp's.
#include "cpu/cpu.h"

namespace callgate {

void Cpu::check_target(const Segment& cs, u64 offset) {
  if (long_mode() && cs.long_mode()) {
    if (!is_canonical(offset)) raise(Vector::GP, 0, "a jump to the non-canonical address {0:#x}", offset);
  } else if (offset > cs.limit) {
    raise(Vector::GP, 0, "a jump to {0:#x}, beyond the limit {1:#x} of code segment {2:#x}", offset, cs.limit,
          cs.selector);
  }
}

void Cpu::jump_near(u64 target, unsigned width) {
  if (width != 8) target &= low_mask(8 * width);
  check_target(s.seg[CS], target);
  next_rip() = target;
}

}  // namespace callgate
