#include "jit/x64/x87_thunks.h"

#include "cpu/x87/state.h"

namespace callgate::jit::x64 {

namespace {

// SDM 1, Protected Mode x87 FPU State Image in Memory, 32-Bit Format.
constexpr unsigned kImageControl = 0, kImageStatus = 4, kImageTags = 8, kImageRegisters = 28, kImageBytes = 108;
constexpr unsigned kRegisterBytes = 10, kTopShift = 11;
static_assert(kImageBytes <= kX87ImageBytes);
static_assert(sizeof(fp::F80) == 16 && offsetof(fp::F80, sign_exponent) == 8);
constexpr u32 kTagLowBits = 0x5555;

Mem x87_field(std::size_t offset, unsigned size) { return field(offsetof(CpuState, x87) + offset, size); }
/// The physical register whose number times 16 is in `at`.
Mem physical(const Gp& at, unsigned size, unsigned byte = 0) {
  return x86::ptr(kState, at.r64(), 0, static_cast<i32>(offsetof(CpuState, x87) + offsetof(X87State, r) + byte), size);
}

/// For ST(0) to ST(7): the physical register at `at`, the place in the image.
template <class Move>
void for_each_register(x86::Assembler& a, const Gp& at, Move move) {
  a.shl(at.r32(), 4);
  for (unsigned n = 0; n < 8; n++) {
    move(kImageRegisters + kRegisterBytes * n);
    if (n == 7) break;
    a.add(at.r32(), 16);
    a.and_(at.r32(), 7 << 4);
  }
}

}  // namespace

void emit_load_x87(x86::Assembler& a, i32 offset) {
  const Gp at = x86::rcx, value = x86::rax, helper = x86::rdx;
  const auto image = [&](unsigned byte, unsigned size) {
    return x86::ptr(x86::rsp, 8 + offset + static_cast<i32>(byte), size);
  };
  a.movzx(value.r32(), x87_field(offsetof(X87State, control), 2));
  a.mov(image(kImageControl, 4), value.r32());
  a.movzx(at.r32(), x87_field(offsetof(X87State, top), 1));
  a.movzx(value.r32(), x87_field(offsetof(X87State, status), 2));
  a.mov(helper.r32(), at.r32());
  a.shl(helper.r32(), kTopShift);
  a.or_(value.r32(), helper.r32());
  a.mov(image(kImageStatus, 4), value.r32());
  // Empty is 3; of the others the processor looks at the contents itself.
  a.movzx(value.r32(), x87_field(offsetof(X87State, empty), 1));
  a.mov(helper.r32(), kTagLowBits);
  a.pdep(value.r32(), value.r32(), helper.r32());
  a.lea(value.r32(), x86::ptr(value, value, 1));
  a.mov(image(kImageTags, 4), value.r32());
  for_each_register(a, at, [&](unsigned place) {
    a.mov(value, physical(at, 8));
    a.mov(image(place, 8), value);
    a.movzx(value.r32(), physical(at, 2, offsetof(fp::F80, sign_exponent)));
    a.mov(image(place + 8, 2), value.r16());
  });
  a.frstor(image(0, 0));
  a.mov(x87_is_here(), 1);
  a.ret();
}

void emit_store_x87(x86::Assembler& a) {
  const Gp at = x86::rsi, value = x86::rdx, helper = x86::r8;
  const auto image = [](unsigned byte, unsigned size) { return x86::ptr(x86::rdi, static_cast<i32>(byte), size); };
  a.fnsave(image(0, 0));
  a.mov(x87_is_here(), 0);
  a.movzx(value.r32(), image(kImageControl, 2));
  a.mov(x87_field(offsetof(X87State, control), 2), value.r16());
  a.movzx(value.r32(), image(kImageStatus, 2));
  a.mov(at.r32(), value.r32());
  a.and_(value.r32(), kX87StatusKept);
  a.mov(x87_field(offsetof(X87State, status), 2), value.r16());
  a.shr(at.r32(), kTopShift);
  a.and_(at.r32(), 7);
  a.mov(x87_field(offsetof(X87State, top), 1), at.r8());
  a.movzx(value.r32(), image(kImageTags, 2));
  a.mov(helper.r32(), value.r32());
  a.shr(helper.r32(), 1);
  a.and_(value.r32(), helper.r32());
  a.mov(helper.r32(), kTagLowBits);
  a.pext(value.r32(), value.r32(), helper.r32());
  a.mov(x87_field(offsetof(X87State, empty), 1), value.r8());
  for_each_register(a, at, [&](unsigned place) {
    a.mov(value, image(place, 8));
    a.mov(physical(at, 8), value);
    a.movzx(value.r32(), image(place + 8, 2));
    a.mov(physical(at, 2, offsetof(fp::F80, sign_exponent)), value.r16());
  });
  a.ret();
}

}  // namespace callgate::jit::x64
