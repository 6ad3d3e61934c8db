// The stack of the current privilege level: push, pop and the width of the stack pointer. Frames on another stack are
// cpu/system/frame.h's.
#include "base/verify.h"
#include "cpu/cpu.h"

namespace callgate {

namespace {
/// The part of RSP that stack addresses use.
u64 stack_offset(u64 rsp, unsigned stack_size) { return rsp & low_mask(8 * stack_size); }
}  // namespace

void Cpu::set_rsp(u64 value) {
  switch (stack_size()) {
    case 8: s.gpr[RSP] = value; break;
    case 4: s.gpr[RSP] = static_cast<u32>(value); break;
    default: s.gpr[RSP] = (s.gpr[RSP] & ~u64{0xFFFF}) | static_cast<u16>(value);
  }
}

void Cpu::push(u64 value, unsigned size) {
  const u64 top = stack_offset(s.gpr[RSP] - size, stack_size());
  switch (size) {
    case 8: store<u64>(SS, top, value); break;
    case 4: store<u32>(SS, top, static_cast<u32>(value)); break;
    default: VERIFY(size == 2, "a push has 2, 4 or 8 bytes"); store<u16>(SS, top, static_cast<u16>(value));
  }
  set_rsp(top);
}

u64 Cpu::pop(unsigned size) {
  const u64 value = peek_stack(0, size);
  set_rsp(s.gpr[RSP] + size);
  return value;
}

u64 Cpu::peek_stack(u64 depth, unsigned size) {
  const u64 offset = stack_offset(s.gpr[RSP] + depth, stack_size());
  switch (size) {
    case 8: return load<u64>(SS, offset);
    case 4: return load<u32>(SS, offset);
    default: VERIFY(size == 2, "a pop has 2, 4 or 8 bytes"); return load<u16>(SS, offset);
  }
}

}  // namespace callgate
