// Prefixes, opcode, ModRM, displacement and immediates.
#include "tests/hwfuzz/draft.h"

#include <array>

#include "cpu/table/vex_prefix.h"

namespace callgate::hwfuzz {

void Draft::prefixes(const Encoding& e) {
  const u32 attr = e.row->attributes;
  opsize_ = asize_ = gs_ = rep_ = false;
  const bool repeat = e.prefix == MandatoryPrefix::PF2 || e.prefix == MandatoryPrefix::PF3;
  const bool plain = e.prefix == MandatoryPrefix::Any || e.prefix == MandatoryPrefix::NoRepeat ||
                     (repeat && depends_on_width(e.row->operands));
  vex_l_ = false;
  // 66 on a near branch: Intel ignores it, AMD cuts RIP to 16 bits.
  if (plain && !(attr & kForce64) && one_in(random_, 4)) opsize_ = true;
  // Instructions that look at no ModRM address take 67 as well.
  if (one_in(random_, 8)) asize_ = true;
  if (memory_ && one_in(random_, 12)) gs_ = true;
  // LOCK in vain is #UD; on AMD's system instructions not always (LOCK MOV CR0 is MOV CR8 there),
  // and UD0 and UD1 are #UD anyway.
  const bool lock = (attr & kLock) && memory_ ? one_in(random_, 4)
                                              : !(attr & kSystem) && !name_.starts_with("ud") && one_in(random_, 100);
  if (lock) byte(0xF0);
  // Ignored overrides: up to the limit of 15 bytes, and beyond.
  if (alone_ && !name_.starts_with("ud") && one_in(random_, 100))
    for (u64 n = random_.below(14); n > 0; n--) byte(0x2E);
  if (opsize_) byte(0x66);
  if (asize_) byte(0x67);
  if (gs_)
    byte(0x65);
  else if (one_in(random_, 24))
    byte(std::array<u8, 4>{0x26, 0x2E, 0x36, 0x3E}[random_.below(4)]);
  if (attr & kRep && one_in(random_, 2)) {
    rep_ = true;
    byte(one_in(random_, 3) ? 0xF2 : 0xF3);
  }
  if (e.vex) return vex(e);
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

/// VEX, whose fields come when the operands are known.
void Draft::vex(const Encoding& e) {
  // Before it, each of these is #UD; how much of the instruction must be readable for the one after REX is the processor's choice.
  if (alone_ && at_ < 4 && one_in(random_, 60)) {
    const u8 prefix = std::array<u8, 4>{0x66, 0xF2, 0xF3, 0x4F}[random_.below(4)];
    anywhere_ = prefix != 0x4F;
    byte(prefix);
  }
  rex_ = static_cast<u8>(random_.below(16));
  if (e.rexw_only) rex_ |= 8;
  if (e.rexw_never) rex_ &= 7;
  // The other W is another row, or #UD; not of these on AMD's processors.
  const bool other_w = (e.rexw_only || e.rexw_never) && !one_of(name_, {"vpermq", "vpermpd"});
  if (other_w && alone_ && at_ < 4 && one_in(random_, 100)) rex_ ^= 8;
  has_rex_ = e.rexw_only || (rex_ & 8) || e.map != kVexMaps + 1 || !one_in(random_, 2);  // the three-byte form
  if (!has_rex_) rex_ = 0;
  vex_l_ = vex_length_bit(e, one_in(random_, 2));
  // A length that isn't the row's, and a register where none is used: #UD.
  if (alone_ && one_in(random_, 100)) vex_l_ = !vex_l_;
  vvvv_ = e.uses_vvvv ? static_cast<u8>(operand_register()) : u8{0};
  if (alone_ && one_in(random_, 100)) vvvv_ = static_cast<u8>(random_.below(16));
  width_ = e.width_by_w ? (rex_ & 8 ? 8 : 4) : vex_l_ && e.vex_length != VexLength::Ignored ? 32 : 16;
  rex_at_ = at_;
  bytes(0, has_rex_ ? 3 : 2);
}

void Draft::finish_vex(const Encoding& e) {
  const VexFields f{bool(rex_ & 4), bool(rex_ & 2), bool(rex_ & 1), bool(rex_ & 8), vex_l_, vvvv_};
  if (has_rex_)
    put_vex3(c_.code + rex_at_, e, f);
  else
    put_vex2(c_.code + rex_at_, e, f);
}

void Draft::memory_operand(const Encoding& e, unsigned reg) {
  const unsigned size = memory_size(e);
  unsigned alignment = 1;
  for (unsigned n = 0; n < 4; n++)
    if (parse_operand(e.row->operands, n).size == 'a') alignment = size;
  if (size == 512 || name_ == "cmpxchg16b") alignment = 16;
  if (size == kXsaveSize) alignment = 64;
  u64 target = address(size, alignment);
  if (gs_ && asize_ && target < kGsBase) target = kGsBase + (target & 0x3F0);
  const u64 mask = asize_ ? 0xFFFFFFFF : ~u64{0};
  const u64 ea = target - (gs_ ? kGsBase : 0);
  if (e.vsib) return vector_memory_operand(e, reg, ea);
  if (name_ != "lea") fill_operand(e, target, size);

  // The forms of SDM 2, Tables 2-2 and 2-3, by how the address is put together.
  const u64 form = random_.below(16);
  const bool no_base = form < 2;  // SIB with disp32 alone
  const bool rip_relative = form == 2 || form == 3;
  rex_ &= 0xC;
  if (rip_relative) {
    byte(reg << 3 | 5);
    // The displacement counts from the end of the instruction: immediates are known by their kind.
    unsigned after = 4;
    if (e.imm == ImmKind::Byte)
      after += 1;
    else if (e.imm == ImmKind::OperandZ)
      after += width_ == 2 ? 2 : 4;
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
  if (kind == 2)
    displacement = one_in(random_, 2) ? static_cast<i32>(random_.below(4096)) - 2048 : static_cast<i32>(random_.next());
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

/// An address of a gather: a base near `ea`, and indices that keep most lanes close to it.
void Draft::vector_memory_operand(const Encoding& e, unsigned reg, u64 ea) {
  rex_ &= 0xC;
  const unsigned to = reg | (rex_ << 1 & 8);
  unsigned index = static_cast<unsigned>(random_.below(16));
  if (!one_in(random_, 30)) {  // two equal registers are #UD
    while (index == to) index = static_cast<unsigned>(random_.below(16));
    while (vvvv_ == to || vvvv_ == index) vvvv_ = static_cast<u8>(random_.below(16));
  }
  unsigned base = static_cast<unsigned>(random_.below(16));
  while (pinned(base)) base = static_cast<unsigned>(random_.below(16));
  const i32 displacement = static_cast<i8>(random_.next());
  set(base, ea - static_cast<u64>(i64{displacement}));
  u64* halves[2] = {c_.in.fx.xmm[index], c_.in.upper[index]};
  const auto near = [&] { return one_in(random_, 30) ? random_.next() : random_.below(64) - 32; };
  for (unsigned n = 0; n < 4; n++) {
    u64& indices = halves[n / 2][n % 2];
    indices = near();
    if (!(e.opcode & 1)) indices = (indices & 0xFFFFFFFF) | near() << 32;
  }
  rex_ |= static_cast<u8>(index >> 3 << 1 | base >> 3);
  byte(0x44 | reg << 3);
  byte(random_.below(4) << 6 | (index & 7) << 3 | (base & 7));
  byte(static_cast<u8>(displacement));
}

void Draft::immediate(const Encoding& e, ImmKind kind) {
  switch (kind) {
    case ImmKind::None: break;
    case ImmKind::Byte: {
      u8 value = static_cast<u8>(one_in(random_, 3) ? random_.next() : hard_integer(random_));
      if (name_ == "int")
        value = static_cast<u8>(3 + random_.below(2));  // of the others the host's kernel (or what it runs on) decides
      byte(value);
      break;
    }
    case ImmKind::Word:
      bytes(name_ == "enter" ? random_.below(256) : name_ == "ret" ? 8 * random_.below(16) : hard_integer(random_), 2);
      break;
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
  const bool can_memory =
      e.has_modrm && e.memory_ok && !e.mod_ignored && e.exact_modrm < 0 && row.handlers.exec[1][1] != nullptr;
  const bool can_register = e.has_modrm && e.register_ok && row.handlers.exec[1][0] != nullptr;
  memory_ = can_memory && (!can_register || one_in(random_, 2));
  if (e.imm == ImmKind::Moffs) memory_ = true;
  prefixes(e);
  if (first()) fixed_operands(e);
  if (e.map >= 1 && !e.vex) byte(0x0F);
  if (e.map >= 2 && !e.vex) byte(e.map == 2 ? 0x38 : 0x3A);

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
      if (memory_ && name_.starts_with("bt") && row.operands[3] == 'G' && first() && !pinned(reg) &&
          !one_in(random_, 4))
        set(reg, static_cast<u64>(static_cast<i64>(random_.below(2000)) - 1000));
      if (memory_) {
        memory_operand(e, reg & 7);
      } else {
        unsigned rm = operand_register() & (has_rex_ ? 15 : 7);
        // A selector must be one that both descriptor tables agree on: not RSP's.
        if (wants_selector(row) && pinned(rm)) rm = RCX;
        rex_ = static_cast<u8>((rex_ & 0xE) | rm >> 3);
        byte(0xC0 | (reg & 7) << 3 | (rm & 7));
        if (wants_selector(row)) set(rm, (c_.in.gpr[rm] & ~u64{0xFFFF}) | selector());
        if (one_of(name_, {"jmp", "call"}) && row.operands[0] == 'E' && !one_in(random_, 6) && rm != RSP)
          fixups_.push_back({Fixup::Register, c_.instructions, rm});
      }
    }
  }
  if (e.vex)
    finish_vex(e);
  else if (has_rex_)
    c_.code[rex_at_] = static_cast<u8>(0x40 | rex_);
  immediate(e, e.imm);
  if (e.imm2 != ImmKind::None) immediate(e, e.imm2);

  // What may be jumped over, or may keep the flags, defines none.
  if (row.flags.read == 0 && !branched_) undefined_flags_ &= ~row.flags.written;
  branched_ |= (row.attributes & kBranch) != 0;
  undefined_flags_ |= row.flags.undefined;
  c_.start[++c_.instructions] = static_cast<u8>(at_);
}

void Draft::finish() {
  // A run that crosses into the second page, or runs into the inaccessible one.
  if (one_in(random_, 30))
    c_.code_at = static_cast<u16>(kPageSize - 1 - random_.below(c_.start[1]));
  else if (alone_ && anywhere_ && one_in(random_, 60))
    c_.code_at = static_cast<u16>(2 * kPageSize - 1 - random_.below(c_.start[1]));
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

}  // namespace callgate::hwfuzz
