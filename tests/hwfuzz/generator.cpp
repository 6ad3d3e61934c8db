#include "tests/hwfuzz/generator.h"

#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>

#include "cpu/table/table.h"
#include "cpu/value_builder.h"
#include "tests/hwfuzz/operands.h"

namespace callgate::hwfuzz {

namespace {

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  for (const auto n : names)
    if (n == name) return true;
  return false;
}

/// Bytes that an operand of no fixed size moves.
unsigned odd_size(std::string_view name, unsigned width) {
  if (name.starts_with("fx")) return 512;
  if (name.starts_with("xs") || name.starts_with("xr")) return 576;
  if (one_of(name, {"fldenv", "fnstenv"})) return width == 2 ? 14 : 28;
  if (one_of(name, {"frstor", "fnsave"})) return width == 2 ? 94 : 108;
  if (one_of(name, {"fld", "fstp", "fbld", "fbstp"})) return 10;
  return 16;
}

/// Instructions whose result depends on what earlier ones left in memory or in a fixed register: first in a run, or alone.
bool wants_to_be_first(const Row& row) {
  if (row.attributes & kSystem) return true;
  return one_of(mnemonic(row), {"ret", "popf", "leave", "enter", "fxrstor", "fxrstor64", "xrstor", "xrstor64", "xsave", "xsave64",
                                "maskmovq", "maskmovdqu", "xlat", "ldmxcsr", "div", "idiv"}) ||
         (row.attributes & kRep) || (one_of(mnemonic(row), {"jmp", "call"}) && row.operands[0] == 'E');
}

/// Instructions whose E operand is a selector.
bool wants_selector(const Row& row) {
  return one_of(mnemonic(row), {"lar", "lsl", "verr", "verw"}) || std::string_view(row.operands) == "Sw,Ew";
}

/// How a displacement or an address is set once the whole run is known.
struct Fixup {
  enum Kind : u8 { Rel8, Rel32, RipRelative, Register, Memory } kind;
  u8 instruction;  ///< the one that jumps
  unsigned at;     ///< place in the code, register, or number of the patch
};

}  // namespace

const char* not_runnable(const Row& row) {
  if (row.attributes & kNo64) return "exists outside 64-bit mode only, and a case runs in 64-bit mode";
  if (!(row.attributes & kSystem)) return nullptr;
  const std::string name = mnemonic(row);
  if (one_of(name, {"syscall", "sysenter"})) return "would call the child's kernel";
  if (one_of(name, {"cpuid", "rdtsc", "rdtscp", "xgetbv"})) return "tells about the machine itself";
  if (one_of(name, {"sgdt", "sidt", "sldt", "str", "smsw"})) return "is emulated by Linux when UMIP is on";
  if (one_of(name, {"rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase", "lfs", "lgs", "lss"}) || (name == "pop" && row.operands[0] == 0))
    return "would change the segments that the child lives on";
  return nullptr;
}

/// A case while it is made.
class Draft {
 public:
  Draft(Case& c, Random& random, bool alone) : c_(c), random_(random), alone_(alone) {
    c_.patches = 0;
    c_.instructions = 0;
    c_.start[0] = 0;
    c_.memory_seed = one_in(random, 2) ? 0 : 1 + random.below(1000);
    c_.code_at = kUsualCodeAt;
    random_state(random, c_.in);
    pin(RSP);
  }

  /// True when the flags that the row reads are defined at this point.
  bool flags_fit(const Row& row) const { return (row.flags.read & undefined_flags_) == 0; }
  void add(const Encoding& e);
  void finish();
  bool first() const { return c_.instructions == 0; }

 private:
  void pin(unsigned reg) { pinned_ |= 1u << reg; }
  bool pinned(unsigned reg) const { return pinned_ >> reg & 1; }
  void set(unsigned reg, u64 value) {
    c_.in.gpr[reg] = value;
    pin(reg);
  }
  void byte(unsigned b) { c_.code[at_++] = static_cast<u8>(b); }
  void bytes(u64 v, unsigned size) {
    for (unsigned i = 0; i < size; i++) byte(static_cast<u8>(v >> 8 * i));
  }
  u64 address(unsigned size, unsigned alignment) {
    return pick_address(random_, size, alignment, first() ? Place::Anywhere : Place::Good);
  }
  /// A register for an operand: mostly one that no address needs.
  unsigned operand_register() {
    unsigned reg = static_cast<unsigned>(random_.below(16));
    for (unsigned tries = 0; tries < 4 && pinned(reg); tries++) reg = static_cast<unsigned>(random_.below(16));
    return reg;
  }
  void prefixes(const Encoding& e);
  void memory_operand(const Encoding& e, unsigned reg);
  void fixed_operands(const Encoding& e);
  void fill_operand(const Encoding& e, u64 at, unsigned size);
  void image(u64 at, unsigned size);
  void immediate(const Encoding& e, ImmKind kind);
  unsigned memory_size(const Encoding& e) const;
  u64 selector() { return kSelectors[random_.below(std::size(kSelectors))]; }
  void far_frame();

  /// What both descriptor tables have: null, Linux's kernel and user segments with different RPLs, and what neither has.
  static constexpr u16 kSelectors[] = {0,    3,    1,    0x10, 0x13, 0x18, 0x2B, 0x2B, 0x2B,
                                       0x28, 0x2A, 0x33, 0x33, 0x33, 0x30, 0x31, 0xFFF8, 0xFFFC};

  Case& c_;
  Random& random_;
  const bool alone_;
  u32 pinned_ = 0;
  u32 undefined_flags_ = 0;
  unsigned at_ = 0;
  std::vector<Fixup> fixups_;
  // Of the instruction being made:
  bool opsize_ = false, asize_ = false, gs_ = false, rep_ = false, memory_ = false;
  unsigned rex_at_ = 0;  ///< where REX stands
  u8 rex_ = 0;
  bool has_rex_ = false;
  unsigned width_ = 4;
  std::string name_;
};

unsigned Draft::memory_size(const Encoding& e) const {
  for (unsigned n = 0; n < 4; n++) {
    const OperandSpec s = parse_operand(e.row->operands, n);
    if (std::string_view("EMWQO").find(s.kind) == std::string_view::npos || s.kind == 0) continue;
    return s.size == 0 ? odd_size(name_, width_) : operand_bytes(s, width_);
  }
  return 16;
}

void Draft::prefixes(const Encoding& e) {
  const u32 attr = e.row->attributes;
  opsize_ = asize_ = gs_ = rep_ = false;
  const bool plain = e.prefix == MandatoryPrefix::Any;
  // 66 on a near branch: Intel ignores it, AMD cuts RIP to 16 bits.
  if (plain && !(attr & kForce64) && one_in(random_, 4)) opsize_ = true;
  // Instructions that look at no ModRM address take 67 as well.
  if (one_in(random_, 8)) asize_ = true;
  if (memory_ && one_in(random_, 12)) gs_ = true;
  // LOCK in vain is #UD; on AMD's system instructions not always (LOCK MOV CR0 is MOV CR8 there),
  // and UD0 and UD1 are #UD anyway.
  const bool lock = (attr & kLock) && memory_ ? one_in(random_, 4) : !(attr & kSystem) && !name_.starts_with("ud") && one_in(random_, 100);
  if (lock) byte(0xF0);
  if (opsize_) byte(0x66);
  if (asize_) byte(0x67);
  if (gs_) byte(0x65);
  else if (one_in(random_, 24)) byte(std::array<u8, 4>{0x26, 0x2E, 0x36, 0x3E}[random_.below(4)]);
  if (attr & kRep && one_in(random_, 2)) {
    rep_ = true;
    byte(one_in(random_, 3) ? 0xF2 : 0xF3);
  }
  switch (e.prefix) {
    case MandatoryPrefix::P66: byte(0x66); break;
    case MandatoryPrefix::PF3: byte(0xF3); break;
    case MandatoryPrefix::PF2: byte(0xF2); break;
    default: break;
  }
  rex_ = static_cast<u8>(random_.below(16));
  const bool by_width = depends_on_width(e.row->operands) || (attr & (kWidths | kRep));
  if (!by_width && !one_in(random_, 6)) rex_ &= 7;
  if (e.rexw_only) rex_ |= 8;
  if (e.rexw_never) rex_ &= 7;
  // Far pointers with 64-bit offsets are Intel's.
  if (one_of(name_, {"ljmp", "lcall"})) rex_ &= 7;
  has_rex_ = e.rexw_only || !one_in(random_, 3);
  if (!has_rex_) rex_ = 0;
  rex_at_ = at_;
  if (has_rex_) byte(0x40);  // its bits come when the operands are known
  width_ = rex_ & 8 || (attr & kForce64) ? 8 : opsize_ ? 2 : attr & kDef64 ? 8 : 4;
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
      header[0] = random_.below(4);
      // What no processor takes: a component that none has, or a header that is neither standard nor compacted.
      if (one_in(random_, 20)) header[0] |= u64{1} << 62;
      if (one_in(random_, 20)) header[1 + random_.below(7)] = hard_integer(random_) >> 1;
      c_.put(at + 512, header, sizeof header);
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
  if (name_ == "ldmxcsr") {
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
  u8 value[16];
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
  c_.put(at, value, std::min(size, 16u));
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

void Draft::memory_operand(const Encoding& e, unsigned reg) {
  const unsigned size = memory_size(e);
  unsigned alignment = 1;
  for (unsigned n = 0; n < 4; n++)
    if (parse_operand(e.row->operands, n).size == 'a') alignment = 16;
  if (size == 512 || name_ == "cmpxchg16b") alignment = 16;
  if (size == 576) alignment = 64;
  u64 target = address(size, alignment);
  if (gs_ && asize_ && target < kGsBase) target = kGsBase + (target & 0x3F0);
  const u64 mask = asize_ ? 0xFFFFFFFF : ~u64{0};
  const u64 ea = target - (gs_ ? kGsBase : 0);
  if (name_ != "lea") fill_operand(e, target, size);

  // The forms of SDM 2, Tables 2-2 and 2-3, by how the address is put together.
  const u64 form = random_.below(16);
  const bool no_base = form < 2;                  // SIB with disp32 alone
  const bool rip_relative = form == 2 || form == 3;
  rex_ &= 0xC;
  if (rip_relative) {
    byte(reg << 3 | 5);
    // The displacement counts from the end of the instruction: immediates are known by their kind.
    unsigned after = 4;
    if (e.imm == ImmKind::Byte) after += 1;
    else if (e.imm == ImmKind::OperandZ) after += width_ == 2 ? 2 : 4;
    fixups_.push_back({Fixup::RipRelative, c_.instructions, at_});
    bytes((ea - (kCode + c_.code_at + at_ + after)) & 0xFFFFFFFF, 4);
    return;
  }
  const bool with_index = no_base ? one_in(random_, 2) : one_in(random_, 2);
  unsigned index = 4, scale = 0;
  u64 index_value = 0;
  if (with_index) {
    do index = static_cast<unsigned>(random_.below(has_rex_ ? 16 : 8));
    while (index == 4);
    scale = static_cast<unsigned>(random_.below(4));
    if (!pinned(index)) set(index, one_in(random_, 3) ? hard_integer(random_) : random_.below(64));
    index_value = c_.in.gpr[index] << scale;
  }
  if (no_base) {
    byte(reg << 3 | 4);
    byte(scale << 6 | (index & 7) << 3 | 5);
    rex_ |= static_cast<u8>((index >> 3) << 1 | random_.below(2) * has_rex_);
    // Without a base only what 32 bits reach can be hit: an unpinned index could be chosen to fit, a pinned one can't.
    bytes((ea - index_value) & 0xFFFFFFFF, 4);
    return;
  }
  unsigned base = static_cast<unsigned>(random_.below(has_rex_ ? 16 : 8));
  for (unsigned tries = 0; tries < 8 && (pinned(base) || base == index); tries++)
    base = static_cast<unsigned>(random_.below(has_rex_ ? 16 : 8));
  i32 displacement = 0;
  const u64 kind = random_.below(3);
  if (kind == 1) displacement = static_cast<i8>(random_.next());
  if (kind == 2) displacement = one_in(random_, 2) ? static_cast<i32>(random_.below(4096)) - 2048 : static_cast<i32>(random_.next());
  bool wide = kind == 2;
  if (pinned(base) || base == index) {
    displacement = static_cast<i32>(ea - index_value - c_.in.gpr[base]);
    wide = true;
  } else {
    u64 value = ea - index_value - static_cast<u64>(i64{displacement});
    if (asize_) value = (value & mask) | (one_in(random_, 2) ? random_.next() << 32 : 0);
    set(base, value);
  }
  const unsigned mod = wide ? 2 : kind == 1 || (base & 7) == 5 ? 1 : 0;
  if (with_index || (base & 7) == 4) {
    byte(mod << 6 | reg << 3 | 4);
    byte(scale << 6 | (index & 7) << 3 | (base & 7));
    rex_ |= static_cast<u8>(index >> 3 << 1);
  } else {
    byte(mod << 6 | reg << 3 | (base & 7));
  }
  rex_ |= static_cast<u8>(base >> 3);
  if (mod == 1) byte(static_cast<u8>(displacement));
  if (mod == 2) bytes(static_cast<u32>(displacement), 4);
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
  if (name_.starts_with("maskmov")) set(RDI, address(name_ == "maskmovq" ? 8 : 16, 1));
  if (name_ == "leave" || name_ == "enter") set(RBP, address(8, 1));
  if (name_.starts_with("xs") || name_.starts_with("xr")) {
    set(RAX, (c_.in.gpr[RAX] & ~u64{0xFFFFFFFF}) | random_.below(4));
    set(RDX, c_.in.gpr[RDX] & ~u64{0xFFFFFFFF});
  }
  if ((name_ == "div" || name_ == "idiv") && !one_in(random_, 3)) {
    const unsigned bits = e.row->operands[1] == 'b' ? 8 : width_ * 8;
    if (bits == 8) c_.in.gpr[RAX] = (c_.in.gpr[RAX] & ~u64{0xFFFF}) | random_.below(0x2000);
    else c_.in.gpr[RDX] = one_in(random_, 2) ? random_.below(3) : static_cast<u64>(static_cast<i64>(c_.in.gpr[RAX] << (64 - bits)) >> 63);
  }
  if (name_ == "iret" || name_ == "retf") far_frame();
  if (name_ == "ret" && !one_in(random_, 8)) {
    const u64 later = 0;
    c_.put(c_.in.gpr[RSP], &later, 8);
    if (c_.patches > 0 && c_.patch[c_.patches - 1].size == 8) fixups_.push_back({Fixup::Memory, c_.instructions, c_.patches - 1u});
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

void Draft::immediate(const Encoding& e, ImmKind kind) {
  switch (kind) {
    case ImmKind::None: break;
    case ImmKind::Byte: {
      u8 value = static_cast<u8>(one_in(random_, 3) ? random_.next() : hard_integer(random_));
      if (name_ == "int") value = static_cast<u8>(3 + random_.below(2));  // of the others the host's kernel (or what it runs on) decides
      byte(value);
      break;
    }
    case ImmKind::Word: bytes(name_ == "enter" ? random_.below(256) : name_ == "ret" ? 8 * random_.below(16) : hard_integer(random_), 2); break;
    case ImmKind::Dword: bytes(hard_integer(random_), 4); break;
    case ImmKind::OperandZ: bytes(hard_integer(random_), width_ == 2 ? 2 : 4); break;
    case ImmKind::OperandV: bytes(hard_integer(random_), width_); break;
    case ImmKind::RelByte:
      fixups_.push_back({Fixup::Rel8, c_.instructions, at_});
      byte(0);
      break;
    case ImmKind::RelZ:
      fixups_.push_back({Fixup::Rel32, c_.instructions, at_});
      bytes(0, 4);
      break;
    case ImmKind::FarPointer: bytes(0, 6); break;
    case ImmKind::Moffs: {
      const u64 target = address(memory_size(e), 1);
      fill_operand(e, target, memory_size(e));
      bytes(target - (gs_ ? kGsBase : 0), asize_ ? 4 : 8);
      break;
    }
  }
}

void Draft::add(const Encoding& e) {
  const Row& row = *e.row;
  name_ = mnemonic(row);
  const bool can_memory = e.has_modrm && e.memory_ok && !e.mod_ignored && e.exact_modrm < 0 && row.handlers.exec[1][1] != nullptr;
  const bool can_register = e.has_modrm && e.register_ok && row.handlers.exec[1][0] != nullptr;
  memory_ = can_memory && (!can_register || one_in(random_, 2));
  if (e.imm == ImmKind::Moffs) memory_ = true;
  prefixes(e);
  if (first()) fixed_operands(e);
  if (e.map >= 1) byte(0x0F);
  if (e.map >= 2) byte(e.map == 2 ? 0x38 : 0x3A);

  unsigned opcode = e.opcode;
  if (e.condition_in_opcode) opcode |= static_cast<unsigned>(random_.below(16));
  if (e.register_in_opcode) {
    const unsigned reg = operand_register() & (has_rex_ ? 15 : 7);
    opcode |= reg & 7;
    rex_ = static_cast<u8>((rex_ & 0xE) | reg >> 3);
  }
  byte(opcode);
  if (e.has_modrm) {
    unsigned reg = operand_register() & (has_rex_ ? 15 : 7);
    if (e.extension >= 0) reg = static_cast<unsigned>(e.extension) | (rex_ << 1 & 8);
    if (std::string_view(row.operands) == "Sw,Ew") {  // not FS and GS, which the child needs
      static constexpr u8 kLoadable[] = {ES, CS, SS, SS, DS, DS, 6, 7};
      reg = kLoadable[random_.below(std::size(kLoadable))] | (reg & 8);
    }
    if (e.exact_modrm >= 0) {
      byte(static_cast<unsigned>(e.exact_modrm));
    } else {
      rex_ = static_cast<u8>((rex_ & 0xB) | (reg >> 3 << 2));
      // A bit string in memory: mostly a bit within reach.
      if (memory_ && name_.starts_with("bt") && row.operands[3] == 'G' && first() && !pinned(reg) && !one_in(random_, 4))
        set(reg, static_cast<u64>(static_cast<i64>(random_.below(2000)) - 1000));
      if (memory_) {
        memory_operand(e, reg & 7);
      } else {
        const unsigned rm = operand_register() & (has_rex_ ? 15 : 7);
        rex_ = static_cast<u8>((rex_ & 0xE) | rm >> 3);
        byte(0xC0 | (reg & 7) << 3 | (rm & 7));
        if (wants_selector(row) && !pinned(rm)) set(rm, (c_.in.gpr[rm] & ~u64{0xFFFF}) | selector());
        if (one_of(name_, {"jmp", "call"}) && row.operands[0] == 'E' && !one_in(random_, 6) && rm != RSP)
          fixups_.push_back({Fixup::Register, c_.instructions, rm});
      }
    }
  }
  if (has_rex_) c_.code[rex_at_] = static_cast<u8>(0x40 | rex_);
  immediate(e, e.imm);
  if (e.imm2 != ImmKind::None) immediate(e, e.imm2);

  const bool conditional = row.flags.read != 0;
  if (!conditional) undefined_flags_ &= ~row.flags.written;
  undefined_flags_ |= row.flags.undefined;
  c_.start[++c_.instructions] = static_cast<u8>(at_);
}

void Draft::finish() {
  // A run that crosses into the second page, or runs into the inaccessible one.
  if (one_in(random_, 30)) c_.code_at = static_cast<u16>(kPageSize - 1 - random_.below(c_.start[1]));
  else if (alone_ && one_in(random_, 60)) c_.code_at = static_cast<u16>(2 * kPageSize - 1 - random_.below(c_.start[1]));
  finish_code(c_);
  c_.in.rip = c_.address_of(0);
  const u32 moved = static_cast<u32>(c_.code_at) - kUsualCodeAt;
  for (const Fixup& f : fixups_) {
    const unsigned to = f.instruction + 1 + static_cast<unsigned>(random_.below(c_.instructions - f.instruction));
    const u64 target = c_.address_of(to);
    const u64 next = c_.address_of(f.instruction + 1u);
    switch (f.kind) {
      case Fixup::Rel8: c_.code[f.at] = static_cast<u8>(target - next); break;
      case Fixup::Rel32: store_as<u32>(c_.code + f.at, static_cast<u32>(target - next)); break;
      case Fixup::RipRelative: store_as<u32>(c_.code + f.at, load_as<u32>(c_.code + f.at) - moved); break;
      case Fixup::Register: c_.in.gpr[f.at] = target; break;
      case Fixup::Memory: store_as<u64>(c_.patch[f.at].bytes, target); break;
    }
  }
}

Generator::Generator(u64 seed) : random_(seed) {
  for (const Row* row : all_rows()) {
    if (not_runnable(*row) != nullptr) continue;
    rows_.push_back(row);
    encodings_.push_back(parse_encoding(*row));
  }
}

void Generator::make(Case& c, unsigned row, unsigned count) {
  Draft draft(c, random_, count == 1);
  draft.add(encodings_[row]);
  while (c.instructions < count) {
    const std::size_t n = random_.below(rows_.size());
    if (wants_to_be_first(*rows_[n]) || !draft.flags_fit(*rows_[n])) continue;
    draft.add(encodings_[n]);
  }
  draft.finish();
}

}  // namespace callgate::hwfuzz
