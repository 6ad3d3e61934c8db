// What instructions find in memory and in the registers that they don't name.
#include "tests/hwfuzz/draft.h"

namespace callgate::hwfuzz {

namespace {

/// Bytes that an operand of no fixed size moves.
unsigned odd_size(std::string_view name, unsigned width) {
  if (name.starts_with("fx")) return 512;
  if (name.starts_with("xs") || name.starts_with("xr")) return kXsaveSize;
  if (one_of(name, {"fldenv", "fnstenv"})) return width == 2 ? 14 : 28;
  if (one_of(name, {"frstor", "fnsave"})) return width == 2 ? 94 : 108;
  if (one_of(name, {"fld", "fstp", "fbld", "fbstp"})) return 10;
  return 16;
}

}  // namespace

bool wants_selector(const Row& row) {
  return one_of(mnemonic(row), {"lar", "lsl", "verr", "verw"}) || std::string_view(row.operands) == "Sw,Ew";
}

unsigned Draft::memory_size(const Encoding& e) const {
  for (unsigned n = 0; n < 4; n++) {
    const OperandSpec s = parse_operand(e.row->operands, n);
    if (std::string_view("EMWQO").find(s.kind) == std::string_view::npos || s.kind == 0) continue;
    return s.size == 0 ? odd_size(name_, width_) : operand_bytes(s, width_);
  }
  return 16;
}

/// The image of FXSAVE or XSAVE, or of FSAVE and FSTENV, at `at`.
void Draft::image(u64 at, unsigned size) {
  FxImage fx;
  random_fx(random_, fx);
  if (one_in(random_, 20)) fx.mxcsr |= 1u << (18 + random_.below(14));  // bit 17 is AMD's
  if (size >= sizeof fx) {
    c_.put(at, &fx, sizeof fx);
    if (size > sizeof fx) {
      u64 header[8] = {};
      header[0] = random_.below(8);
      if (one_in(random_, 3)) header[1] = u64{1} << 63 | random_.below(8) | header[0];  // the compacted format
      // What no processor takes: a component that none has, or a header that is neither standard nor compacted.
      if (one_in(random_, 4)) header[1] = u64{1} << 63 | (one_in(random_, 4) ? random_.below(4) : 3);  // XSAVEC's format
      if (one_in(random_, 20)) header[0] |= u64{1} << 62;
      if (one_in(random_, 20)) header[1 + random_.below(7)] = hard_integer(random_) >> 1;
      c_.put(at + 512, header, sizeof header);
      u8 upper[256];
      hard_bytes(random_, upper, sizeof upper);
      c_.put(at + 576, upper, 32);
    }
    return;
  }
  u8 env[108];
  hard_bytes(random_, env, sizeof env);
  const unsigned word = size == 14 || size == 94 ? 2 : 4;
  store_as<u16>(env, fx.control);
  store_as<u16>(env + word, fx.status);
  store_as<u16>(env + 2 * word, static_cast<u16>(random_.next()));
  for (unsigned i = 0; i < 8; i++) {
    store_as<u64>(env + 7 * word + 10 * i, fx.st[i].significand);
    store_as<u16>(env + 7 * word + 10 * i + 8, fx.st[i].sign_exponent);
  }
  c_.put(at, env, size);
}

void Draft::fill_operand(const Encoding& e, u64 at, unsigned size) {
  if (one_of(name_, {"fxrstor", "fxrstor64", "xrstor", "xrstor64", "fldenv", "frstor"})) return image(at, size);
  if (name_ == "ldmxcsr" || name_ == "vldmxcsr") {
    const u32 value = static_cast<u32>(random_.next() & (one_in(random_, 10) ? 0xFFFDFFFF : 0xFFFF));
    return c_.put(at, &value, 4);
  }
  if (name_ == "fbld" && !one_in(random_, 4)) {
    u8 bcd[10];
    for (u8& b : bcd) b = static_cast<u8>(random_.below(10) << 4 | random_.below(10));
    bcd[9] = static_cast<u8>(random_.next() & 0x80);
    return c_.put(at, bcd, sizeof bcd);
  }
  if (one_of(name_, {"jmp", "call"}) && !one_in(random_, 6)) {
    const u64 later = 0;
    c_.put(at, &later, 8);
    if (c_.patches > 0 && c_.patch[c_.patches - 1].size == 8)
      fixups_.push_back({Fixup::Memory, c_.instructions, c_.patches - 1u});
    return;
  }
  u8 value[32];
  hard_bytes(random_, value, sizeof value);
  if (one_of(name_, {"ljmp", "lcall"})) {
    store_as<u16>(value + width_, static_cast<u16>(selector()));
    c_.put(at, value, width_ + 2);
    if (!one_in(random_, 6) && width_ != 2 && c_.patches > 0 && c_.patch[c_.patches - 1].size == width_ + 2)
      fixups_.push_back({Fixup::Memory, c_.instructions, c_.patches - 1u});
    return;
  }
  if (wants_selector(*e.row)) store_as<u16>(value, static_cast<u16>(selector()));
  if (name_ == "cmpxchg" && !one_in(random_, 2)) store_as<u64>(value, c_.in.gpr[RAX]);
  if (name_ == "cmpxchg8b" && !one_in(random_, 2)) {
    store_as<u32>(value, static_cast<u32>(c_.in.gpr[RAX]));
    store_as<u32>(value + 4, static_cast<u32>(c_.in.gpr[RDX]));
  }
  if (name_ == "cmpxchg16b" && !one_in(random_, 2)) {
    store_as<u64>(value, c_.in.gpr[RAX]);
    store_as<u64>(value + 8, c_.in.gpr[RDX]);
  }
  if (e.row->attributes & kX87) {
    if (name_ == "fld" && size == 10 && !one_in(random_, 4)) {
      const fp::F80 v = fp::random_operand<fp::F80>(random_);
      store_as<u64>(value, v.significand);
      store_as<u16>(value + 8, v.sign_exponent);
    }
  }
  c_.put(at, value, std::min<unsigned>(size, sizeof value));
}

/// What RETF and IRET pop: mostly something that they take.
void Draft::far_frame() {
  u64 frame[5] = {0, 0x33, 0x202 | (random_.next() & kArithmetic), c_.in.gpr[RSP], 0x2B};
  frame[3] = pick_address(random_, 8, 1, Place::Good);
  if (one_in(random_, 4)) frame[1] = selector();
  if (one_in(random_, 4)) frame[4] = selector();
  if (one_in(random_, 4)) frame[2] = random_.next() & ~u64{one_in(random_, 4) ? 0u : u32{kTF | kAC | kNT}};
  const bool returns = !one_in(random_, 8);
  if (!returns) frame[0] = hard_integer(random_);
  const u64 at = c_.in.gpr[RSP];
  for (unsigned i = 0; i < 5; i++) c_.put(at + i * width_, &frame[i], width_);
  // The patch of the return address is the first of the five (if the stack is in the data pages at all).
  if (!returns || c_.patches < 5 || c_.patch[c_.patches - 5].size != width_) return;
  fixups_.push_back({Fixup::Memory, c_.instructions, c_.patches - 5u});
}

/// Registers and memory that the instruction uses without naming them.
void Draft::fixed_operands(const Encoding& e) {
  const u32 attr = e.row->attributes;
  if (attr & kRep) {
    if (first() || !pinned(RSI)) set(RSI, address(8, 1));
    if (first() || !pinned(RDI)) set(RDI, address(8, 1));
    if (rep_) set(RCX, one_in(random_, 12) ? hard_integer(random_) : random_.below(40));
    if (asize_ && one_in(random_, 2)) {
      c_.in.gpr[RSI] |= random_.next() << 32;
      c_.in.gpr[RDI] |= random_.next() << 32;
      c_.in.gpr[RCX] |= random_.next() << 32;
    }
  }
  if (name_ == "xlat") set(RBX, address(1, 1) - (c_.in.gpr[RAX] & 0xFF));
  if (name_.starts_with("maskmov") || name_ == "vmaskmovdqu") set(RDI, address(name_ == "maskmovq" ? 8 : 16, 1));
  if (name_ == "leave" || name_ == "enter") set(RBP, address(8, 1));
  if (name_.starts_with("xs") || name_.starts_with("xr")) {
    set(RAX, (c_.in.gpr[RAX] & ~u64{0xFFFFFFFF}) | random_.below(8));
    set(RDX, c_.in.gpr[RDX] & ~u64{0xFFFFFFFF});
  }
  if ((name_ == "div" || name_ == "idiv") && !one_in(random_, 3)) {
    const unsigned bits = e.row->operands[1] == 'b' ? 8 : width_ * 8;
    if (bits == 8)
      c_.in.gpr[RAX] = (c_.in.gpr[RAX] & ~u64{0xFFFF}) | random_.below(0x2000);
    else
      c_.in.gpr[RDX] = one_in(random_, 2) ? random_.below(3)
                                          : static_cast<u64>(static_cast<i64>(c_.in.gpr[RAX] << (64 - bits)) >> 63);
  }
  if (name_ == "iret" || name_ == "retf") far_frame();
  if (name_ == "ret" && !one_in(random_, 8)) {
    const u64 later = 0;
    c_.put(c_.in.gpr[RSP], &later, 8);
    if (c_.patches > 0 && c_.patch[c_.patches - 1].size == 8)
      fixups_.push_back({Fixup::Memory, c_.instructions, c_.patches - 1u});
  } else if (name_ == "popf") {
    u64 flags = random_.next();
    if (!one_in(random_, 8)) flags &= ~u64{kTF};
    if (!one_in(random_, 8)) flags &= ~u64{kAC};
    if (!one_in(random_, 8)) flags &= ~u64{kNT};
    c_.put(c_.in.gpr[RSP], &flags, 8);
  } else if (first() && one_of(name_, {"pop", "leave"})) {
    const u64 value = hard_integer(random_);
    c_.put(name_ == "leave" ? c_.in.gpr[RBP] : c_.in.gpr[RSP], &value, 8);
  }
  if (one_of(name_, {"loop", "loope", "loopne", "jcxz"}) && !one_in(random_, 3)) c_.in.gpr[RCX] = random_.below(3);
}

}  // namespace callgate::hwfuzz
