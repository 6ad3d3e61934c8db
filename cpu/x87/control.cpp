// The control instructions: FINIT, FCLEX, control, status and environment words, FSAVE, FRSTOR, FWAIT.
// They leave the instruction and data pointers alone. Ref: SDM 1 8.1.10, Saving the x87 FPU's State.
#include "cpu/x87/helpers.h"
#include "cpu/x87/unit.h"

namespace callgate::helpers {

namespace {

constexpr u16 kInitialControl = 0x37F;

SegReg segment(const Insn& i) { return static_cast<SegReg>(i.seg); }

/// Runs `change` and drives FERR# by what it did to the pending state.
template <class Change>
void with_ferr(Cpu& c, Change change) {
  const bool was_pending = x87_exception_pending(c.s.x87);
  change(c.s.x87);
  update_ferr(c, was_pending);
}

void initialize(X87State& x) {
  x.control = kInitialControl;
  x.status = 0;
  x.top = 0;
  x.empty = 0xFF;
  x.opcode = 0;
  x.instruction_pointer = x.data_pointer = 0;
  x.instruction_selector = x.data_selector = 0;
}

// The four layouts: 14 bytes of 16-bit fields or 28 of 32-bit ones; real and virtual-8086 mode spread the pointers as
// 20-bit or 32-bit linear addresses over two fields. The selectors read as 0: the model has deprecated them (CPUID
// 7.EBX[13]), so the addresses are offsets.
constexpr unsigned environment_size(const Insn& i) { return i.width == 2 ? 14 : 28; }

void write_environment(const Cpu& c, const Insn& i, u8* out) {
  const X87State& x = c.s.x87;
  const u32 ip = static_cast<u32>(x.instruction_pointer), dp = static_cast<u32>(x.data_pointer);
  const u16 head[3] = {x.control, x87_status_word(x), x87_tag_word(x)};
  if (i.width == 2) {
    for (unsigned n = 0; n < 3; n++) store_as<u16>(out + 2 * n, head[n]);
    store_as<u16>(out + 6, static_cast<u16>(ip));
    store_as<u16>(out + 10, static_cast<u16>(dp));
    if (c.real_or_v86()) {
      store_as<u16>(out + 8, static_cast<u16>((ip >> 4 & 0xF000) | x.opcode));
      store_as<u16>(out + 12, static_cast<u16>(dp >> 4 & 0xF000));
    } else {
      store_as<u16>(out + 8, x.instruction_selector);
      store_as<u16>(out + 12, x.data_selector);
    }
    return;
  }
  for (unsigned n = 0; n < 3; n++) store_as<u32>(out + 4 * n, 0xFFFF0000 | head[n]);
  if (c.real_or_v86()) {
    store_as<u32>(out + 12, 0xFFFF0000 | (ip & 0xFFFF));
    store_as<u32>(out + 16, (ip >> 4 & 0x0FFFF000) | x.opcode);
    store_as<u32>(out + 20, 0xFFFF0000 | (dp & 0xFFFF));
    store_as<u32>(out + 24, dp >> 4 & 0x0FFFF000);
  } else {
    store_as<u32>(out + 12, ip);
    store_as<u32>(out + 16, u32{x.opcode} << 16 | x.instruction_selector);
    store_as<u32>(out + 20, dp);
    store_as<u32>(out + 24, 0xFFFF0000 | x.data_selector);
  }
}

void read_environment(const Cpu& c, const Insn& i, const u8* in, X87State& x) {
  const unsigned step = i.width == 2 ? 2 : 4;
  x.control = x87_control_word(load_as<u16>(in));
  set_x87_status_word(x, load_as<u16>(in + step));
  set_x87_tag_word(x, load_as<u16>(in + 2 * step));
  const bool real = c.real_or_v86();
  if (i.width == 2) {
    const u16 ip_high = load_as<u16>(in + 8), dp_high = load_as<u16>(in + 12);
    x.instruction_pointer = load_as<u16>(in + 6) | (real ? (ip_high & 0xF000u) << 4 : 0);
    x.data_pointer = load_as<u16>(in + 10) | (real ? (dp_high & 0xF000u) << 4 : 0);
    x.opcode = real ? ip_high & 0x7FF : 0;  // the 16-bit protected-mode image has none: a processor loads 0
  } else {
    const u32 ip_high = load_as<u32>(in + 16), dp_high = load_as<u32>(in + 24);
    if (real) {
      x.instruction_pointer = load_as<u16>(in + 12) | (ip_high & 0x0FFFF000) << 4;
      x.data_pointer = load_as<u16>(in + 20) | (dp_high & 0x0FFFF000) << 4;
      x.opcode = ip_high & 0x7FF;
    } else {
      x.instruction_pointer = load_as<u32>(in + 12);
      x.data_pointer = load_as<u32>(in + 20);
      x.opcode = ip_high >> 16 & 0x7FF;
    }
  }
  x.instruction_selector = x.data_selector = 0;
}

constexpr unsigned kRegisterBytes = 80;

}  // namespace

void fninit(Cpu& c, const Insn&) { with_ferr(c, initialize); }

void fnclex(Cpu& c, const Insn&) {
  with_ferr(c, [](X87State& x) { x.status = static_cast<u16>(x.status & ~(kX87Exceptions | kX87StackFault)); });
}

/// FNENI, FNDISI and FNSETPM of the 8087 and 80287: no operation since the 80387.
void fn_nothing(Cpu&, const Insn&) {}

void fldcw(Cpu& c, const Insn& i) {
  check_pending_x87(c);
  const u16 value = c.load<u16>(segment(i), effective_address(c, i));
  with_ferr(c, [&](X87State& x) { x.control = x87_control_word(value); });
}

void fnstcw(Cpu& c, const Insn& i) { c.store<u16>(segment(i), effective_address(c, i), c.s.x87.control); }

void fnstsw(Cpu& c, const Insn& i) {
  const u16 status = x87_status_word(c.s.x87);
  if (i.is_memory)
    c.store<u16>(segment(i), effective_address(c, i), status);
  else
    c.set_gpr<u16>(RAX, status);
}

void fnstenv(Cpu& c, const Insn& i) {
  u8 image[28];
  write_environment(c, i, image);
  c.store_bytes(segment(i), effective_address(c, i), image, environment_size(i));
  with_ferr(c, [](X87State& x) { x.control |= kX87Exceptions; });
}

void fldenv(Cpu& c, const Insn& i) {
  check_pending_x87(c);
  u8 image[28];
  c.load_bytes(segment(i), effective_address(c, i), image, environment_size(i));
  with_ferr(c, [&](X87State& x) { read_environment(c, i, image, x); });
}

void fnsave(Cpu& c, const Insn& i) {
  u8 image[28 + kRegisterBytes];
  const unsigned head = environment_size(i);
  write_environment(c, i, image);
  for (unsigned n = 0; n < 8; n++) {
    const fp::F80& r = c.s.x87.r[(c.s.x87.top + n) & 7];
    store_as<u64>(image + head + 10 * n, r.significand);
    store_as<u16>(image + head + 10 * n + 8, r.sign_exponent);
  }
  c.store_bytes(segment(i), effective_address(c, i), image, head + kRegisterBytes);
  with_ferr(c, initialize);
}

void frstor(Cpu& c, const Insn& i) {
  check_pending_x87(c);
  u8 image[28 + kRegisterBytes];
  const unsigned head = environment_size(i);
  c.load_bytes(segment(i), effective_address(c, i), image, head + kRegisterBytes);
  with_ferr(c, [&](X87State& x) {
    read_environment(c, i, image, x);
    for (unsigned n = 0; n < 8; n++)
      x.r[(x.top + n) & 7] = {load_as<u64>(image + head + 10 * n), load_as<u16>(image + head + 10 * n + 8)};
  });
}

/// WAIT: unlike the other x87 instructions it ignores EM, and TS alone.
void fwait(Cpu& c, const Insn&) {
  if ((c.s.cr0 & kCr0Mp) && (c.s.cr0 & kCr0Ts)) raise_plain(Vector::NM, "WAIT with CR0.MP and CR0.TS");
  check_pending_x87(c);
}

}  // namespace callgate::helpers
