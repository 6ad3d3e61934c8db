#include "cpu/decoder.h"

#include "base/bits.h"
#include "cpu/fault.h"
#include "cpu/table/encoding.h"

namespace callgate {

namespace {

// An invalid Insn keeps its opcode map's prefix as `imm`.
constexpr const char* kMapPrefixes[8] = {"", "0f ", "0f 38 ", "0f 3a ", "VEX ", "VEX 0f ", "VEX 0f 38 ", "VEX 0f 3a "};

void raise_no_opcode(Cpu&, const Insn& i) {
  raise_plain(Vector::UD, "no instruction has the opcode {0:t}{1:02x}", kMapPrefixes[i.imm & 7], i.opcode);
}
void raise_no_form(Cpu&, const Insn& i) {
  raise_plain(Vector::UD, "the opcode {0:t}{1:02x} with these prefixes and ModRM {2:02x} is no instruction in this mode",
              kMapPrefixes[i.imm & 7], i.opcode, i.modrm);
}
void raise_not_lockable(Cpu&, const Insn& i) {
  raise_plain(Vector::UD, "LOCK before the opcode {0:t}{1:02x}, ModRM {2:02x}, which doesn't take it",
              kMapPrefixes[i.imm & 7], i.opcode, i.modrm);
}
void raise_vex_prefixed(Cpu&, const Insn&) { raise_plain(Vector::UD, "66, F2, F3, LOCK or REX before VEX"); }
void raise_too_long(Cpu&, const Insn&) { raise(Vector::GP, 0, "an instruction of more than 15 bytes"); }

/// The bytes, read one by one; remembers running out.
class Reader {
 public:
  explicit Reader(std::span<const u8> bytes) : bytes_(bytes) {}
  u8 byte() {
    if (position_ < bytes_.size()) return bytes_[position_++];
    position_++;
    return 0;
  }
  u64 value(unsigned size) {
    u64 v = 0;
    for (unsigned i = 0; i < size; i++) v |= u64{byte()} << 8 * i;
    return v;
  }
  void back() { position_--; }
  unsigned position() const { return position_; }
  bool overrun() const { return position_ > bytes_.size(); }

 private:
  std::span<const u8> bytes_;
  unsigned position_ = 0;
};

struct Prefixes {
  bool opsize = false, asize = false, lock = false;
  u8 rep = 0;  ///< F2, F3 or 0; the last one
  u8 rex = 0;  ///< or what VEX has of it
  bool vex = false, vex_l = false;
  bool before_vex = false;  ///< 66, F2, F3 or LOCK
  u8 vvvv = 0;
  i8 seg = -1;
  /// In 64-bit mode overrides other than FS and GS are ignored: they don't even undo an FS or GS before them.
  void set_segment(SegReg s, CodeSize size) {
    if (size != CodeSize::Bits64 || s >= FS) seg = static_cast<i8>(s);
  }
};

/// Reads prefixes up to the first opcode byte, which is returned.
u8 read_prefixes(Reader& r, CodeSize size, Prefixes& p) {
  for (;;) {
    const u8 b = r.byte();
    if (r.overrun() || r.position() > kMaxInsnLength) return 0;
    switch (b) {
      case 0x26: p.set_segment(ES, size); break;
      case 0x2E: p.set_segment(CS, size); break;
      case 0x36: p.set_segment(SS, size); break;
      case 0x3E: p.set_segment(DS, size); break;
      case 0x64: p.set_segment(FS, size); break;
      case 0x65: p.set_segment(GS, size); break;
      case 0x66: p.opsize = true; break;
      case 0x67: p.asize = true; break;
      case 0xF0: p.lock = true; break;
      case 0xF2:
      case 0xF3: p.rep = b; break;
      default:
        if (size == CodeSize::Bits64 && (b & 0xF0) == 0x40) {
          p.rex = b;
          continue;  // counts only when the opcode follows at once
        }
        return b;
    }
    p.rex = 0;
  }
}

/// Reads the rest of a VEX prefix that begins with `first`, C5 or C4. Its fields are inverted. Gives the opcode map.
/// SDM 2, Vector Extension (VEX).
u8 read_vex(Reader& r, u8 first, CodeSize size, Prefixes& p) {
  u8 b = r.byte(), map = 1, rex = ~b >> 5 & 4;
  if (first == 0xC4) {
    map = b & 31;
    rex = ~b >> 5 & 7;
    b = r.byte();
    rex |= b >> 4 & 8;
  }
  p.vex = true;
  p.vex_l = b & 4;
  p.vvvv = ~b >> 3 & 15;
  if (size != CodeSize::Bits64) {
    // There are eight registers: R and X are as they tell VEX from LES and LDS; B and the top bit of vvvv are ignored.
    rex &= 8;
    p.vvvv &= 7;
  }
  p.before_vex = p.opsize || p.rep != 0 || p.lock;
  p.rex = 0x40 | rex;
  constexpr u8 kRep[4] = {0, 0, 0xF3, 0xF2};
  p.opsize = (b & 3) == 1;
  p.rep = kRep[b & 3];
  return map >= 1 && map <= 3 ? kVexMaps + map : kVexMaps;  // there are no rows in map kVexMaps
}

u8 byte_register_offset(unsigned reg, bool has_rex) {
  if (!has_rex && reg >= 4 && reg < 8) return static_cast<u8>((reg - 4) * 8 + 1);
  return static_cast<u8>(reg * 8);
}

void read_memory_operand_16(Reader& r, unsigned mod, unsigned rm, Insn& out) {
  static constexpr u8 kBase[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
  static constexpr u8 kIndex[8] = {RSI, RDI, RSI, RDI, kGprZero, kGprZero, kGprZero, kGprZero};
  out.base = kBase[rm];
  out.index = kIndex[rm];
  if (mod == 0 && rm == 6) {
    out.base = kGprZero;
    out.disp = static_cast<i16>(r.value(2));
  } else if (mod == 1) {
    out.disp = static_cast<i8>(r.byte());
  } else if (mod == 2) {
    out.disp = static_cast<i16>(r.value(2));
  }
  if (out.base == RBP) out.seg = SS;
}

void read_memory_operand(Reader& r, unsigned mod, unsigned rm, u8 rex, bool vector_index, CodeSize size, Insn& out) {
  unsigned base = rm;
  bool no_base = false;
  if (rm == 4) {
    const u8 sib = r.byte();
    base = sib & 7;
    out.scale = sib >> 6;
    const unsigned index = (sib >> 3 & 7) | (rex & 2) << 2;
    if (index != 4 || vector_index) out.index = static_cast<u8>(index);
    else out.scale = 0;
    no_base = mod == 0 && base == 5;
  } else if (mod == 0 && rm == 5) {
    no_base = true;
    if (size == CodeSize::Bits64) out.base = kGprRip;
  }
  if (!no_base) {
    out.base = static_cast<u8>(base | (rex & 1) << 3);
    if (out.base == RSP || out.base == RBP) out.seg = SS;
  }
  if (mod == 1) out.disp = static_cast<i8>(r.byte());
  else if (mod == 2 || no_base) out.disp = static_cast<i32>(r.value(4));
}

bool prefix_matches(MandatoryPrefix want, const Prefixes& p) {
  switch (want) {
    case MandatoryPrefix::Any: return true;
    case MandatoryPrefix::NoRepeat: return p.rep == 0;
    case MandatoryPrefix::None: return !p.opsize && p.rep == 0;
    case MandatoryPrefix::P66: return p.opsize && p.rep == 0;
    case MandatoryPrefix::PF3: return p.rep == 0xF3;
    case MandatoryPrefix::PF2: return p.rep == 0xF2;
  }
  return false;
}

bool vex_matches(const Encoding& e, const Prefixes& p) {
  if ((e.vex_length == VexLength::Only128 && p.vex_l) || (e.vex_length == VexLength::Only256 && !p.vex_l)) return false;
  if ((e.rexw_only && !(p.rex & 8)) || (e.rexw_never && (p.rex & 8))) return false;
  return e.uses_vvvv || p.vvvv == 0;
}

/// The row. Where VEX.L, VEX.W or VEX.vvvv alone are wrong, the row is found all the same: the processor looks at them when it knows
/// the length.
const Encoding* match(u8 map, u8 opcode, u8 modrm, CodeSize size, const Prefixes& p) {
  const Encoding* wrong_vex = nullptr;
  for (const Encoding& e : opcode_maps()[map][opcode]) {
    if (!prefix_matches(e.prefix, p)) continue;
    if (e.row->attributes & (size == CodeSize::Bits64 ? kNo64 : kOnly64)) continue;
    const bool rex_w = p.rex & 8;
    if (!p.vex && ((e.rexw_only && !rex_w) || (e.rexw_never && rex_w))) continue;
    if (e.has_modrm) {
      const bool memory = modrm < 0xC0 && !e.mod_ignored;
      if (e.exact_modrm >= 0 && e.exact_modrm != modrm) continue;
      if (e.extension >= 0 && e.extension != (modrm >> 3 & 7)) continue;
      if (memory ? !e.memory_ok : !e.register_ok) continue;
      if (e.vsib && (modrm & 7) != 4) continue;
      if (e.row->handlers.exec[1][memory] == nullptr) continue;
    }
    if (!p.vex || vex_matches(e, p)) return &e;
    wrong_vex = &e;
  }
  return wrong_vex;
}

u8 operand_width(const Encoding& e, CodeSize size, const Prefixes& p) {
  const u32 attr = e.row->attributes;
  if (e.vex && !e.width_by_w) return p.vex_l && e.vex_length != VexLength::Ignored ? 32 : 16;
  if (e.vex) return size == CodeSize::Bits64 && (p.rex & 8) ? 8 : 4;
  const bool opsize = p.opsize && e.prefix != MandatoryPrefix::P66 && !(attr & kNo66);
  if (size == CodeSize::Bits64) {
    if (attr & (kForce64 | kForce32)) return 8;
    if (p.rex & 8) return 8;
    if (attr & kDef64) return opsize ? 2 : 8;
    return opsize ? 2 : 4;
  }
  if (attr & kForce32) return 4;
  return (size == CodeSize::Bits16) != opsize ? 2 : 4;
}

void read_immediate(Reader& r, ImmKind kind, Insn& out) {
  switch (kind) {
    case ImmKind::None: break;
    case ImmKind::Byte:
    case ImmKind::RelByte: out.imm = sign_extend(r.byte(), 8); break;
    case ImmKind::Word: out.imm = r.value(2); break;
    case ImmKind::Dword: out.imm = sign_extend(r.value(4), 32); break;
    case ImmKind::OperandZ:
    case ImmKind::RelZ: out.imm = out.width == 2 ? sign_extend(r.value(2), 16) : sign_extend(r.value(4), 32); break;
    case ImmKind::OperandV: out.imm = sign_extend(r.value(out.width), out.width * 8u); break;
    case ImmKind::FarPointer:
      out.imm = r.value(out.width == 2 ? 2 : 4);
      out.imm2 = static_cast<u16>(r.value(2));
      break;
    case ImmKind::Moffs: out.imm = r.value(out.asize); break;
  }
}

DecodeStatus invalid(Insn& out, ExecFn raise, u8 map, u8 opcode, u8 modrm, unsigned length) {
  out.exec = raise;
  out.row = nullptr;
  out.imm = map;
  out.opcode = opcode;
  out.modrm = modrm;
  out.length = static_cast<u8>(length < kMaxInsnLength ? length : kMaxInsnLength);
  out.ends_block = true;
  return DecodeStatus::Invalid;
}

}  // namespace

DecodeStatus decode(std::span<const u8> bytes, CodeSize size, Insn& out) {
  if (bytes.size() > kMaxInsnLength + 1) bytes = bytes.first(kMaxInsnLength + 1);
  out = Insn{};
  out.code_size = size;
  Reader r(bytes);
  const auto ran_out = [&]() -> DecodeStatus {
    // Bytes that are missing come first: fetching them may fault.
    if (r.position() <= kMaxInsnLength || bytes.size() < kMaxInsnLength) return DecodeStatus::Truncated;
    out = Insn{};
    out.exec = raise_too_long;
    out.length = kMaxInsnLength;
    out.ends_block = true;
    return DecodeStatus::TooLong;
  };

  Prefixes p;
  u8 opcode = read_prefixes(r, size, p);
  if (r.overrun() || r.position() > kMaxInsnLength) return ran_out();
  u8 map = 0;
  // Outside 64-bit mode C4 and C5 are LES and LDS, but with what would be a register as their memory operand.
  bool vex = opcode == 0xC4 || opcode == 0xC5;
  if (vex && size != CodeSize::Bits64) {
    vex = r.byte() >= 0xC0;
    if (r.overrun()) return ran_out();
    r.back();
  }
  if (vex) {
    // REX ends the search for the opcode; the others are found wrong when the length is known. (Seen on a processor.)
    if (p.rex != 0) return invalid(out, raise_vex_prefixed, kVexMaps, opcode, 0, r.position());
    map = read_vex(r, opcode, size, p);
    opcode = r.byte();
  } else if (opcode == 0x0F) {
    opcode = r.byte();
    map = 1;
    if (opcode == 0x38 || opcode == 0x3A) {
      map = opcode == 0x38 ? 2 : 3;
      opcode = r.byte();
    }
  }
  if (r.overrun()) return ran_out();

  const auto& candidates = opcode_maps()[map][opcode];
  if (candidates.empty()) return invalid(out, raise_no_opcode, map, opcode, 0, r.position());
  bool needs_modrm = false;
  for (const Encoding& e : candidates)
    needs_modrm |= e.has_modrm && !(e.row->attributes & (size == CodeSize::Bits64 ? kNo64 : kOnly64));
  u8 modrm = 0;
  if (needs_modrm) {
    modrm = r.byte();
    if (r.overrun()) return ran_out();
  }
  const Encoding* e = match(map, opcode, modrm, size, p);
  if (e == nullptr) return invalid(out, raise_no_form, map, opcode, modrm, r.position());
  if (needs_modrm && !e->has_modrm) r.back();

  const Row& row = *e->row;
  const bool has_rex = p.rex != 0;
  out.row = &row;
  out.opcode = opcode;
  out.has_rex = has_rex;
  out.rex_w = p.rex & 8;
  out.opsize_prefix = p.opsize && !p.vex;
  out.vex_l = p.vex_l;
  out.vvvv = p.vvvv;
  out.lock = p.lock;
  out.width = operand_width(*e, size, p);
  const u8 native = size == CodeSize::Bits64 ? 8 : size == CodeSize::Bits32 ? 4 : 2;
  out.asize = !p.asize ? native : native == 4 ? u8{2} : u8{4};
  out.ea_shift = static_cast<u8>(64 - 8 * out.asize);
  if (row.attributes & kRep) out.rep = p.rep == 0xF3 ? Rep::RepE : p.rep == 0xF2 ? Rep::RepNe : Rep::None;
  out.ends_block = (row.attributes & kBranch) || out.rep != Rep::None;

  if (e->has_modrm) {
    out.modrm = modrm;
    const unsigned mod = modrm >> 6, rm = modrm & 7;
    out.is_memory = mod != 3 && !e->mod_ignored;
    out.reg = static_cast<u8>((modrm >> 3 & 7) | (p.rex & 4) << 1);
    if (out.is_memory) {
      if (out.asize == 2) read_memory_operand_16(r, mod, rm, out);
      else read_memory_operand(r, mod, rm, p.rex, e->vsib, size, out);
    } else {
      out.rm = static_cast<u8>(rm | (p.rex & 1) << 3);
    }
  } else {
    out.rm = static_cast<u8>((opcode & 7) | (p.rex & 1) << 3);
  }
  out.reg_byte = byte_register_offset(out.reg, has_rex);
  out.rm_byte = byte_register_offset(out.rm, has_rex);
  if (p.seg >= 0) {
    out.seg = static_cast<u8>(p.seg);
    out.has_seg_override = true;
  }
  read_immediate(r, e->imm, out);
  if (e->imm2 == ImmKind::Byte) out.imm2 = r.byte();
  else if (e->imm2 == ImmKind::Word) out.imm2 = static_cast<u16>(r.value(2));

  if (r.overrun() || r.position() > kMaxInsnLength) return ran_out();
  if (e->register_in_immediate && size != CodeSize::Bits64) out.imm &= ~u64{0x80};  // there are eight
  if (p.lock && !((row.attributes & kLock) && out.is_memory))
    return invalid(out, raise_not_lockable, map, opcode, modrm, r.position());
  if (p.before_vex) return invalid(out, raise_vex_prefixed, map, opcode, modrm, r.position());
  if (p.vex && !vex_matches(*e, p)) return invalid(out, raise_no_form, map, opcode, modrm, r.position());
  const unsigned by_width = out.width == 2 ? 0 : out.width == 4 || out.width == 16 ? 1 : 2;
  out.exec = row.handlers.exec[by_width][out.is_memory];
  if (out.exec == nullptr || (e->vsib && out.asize == 2)) return invalid(out, raise_no_form, map, opcode, modrm, r.position());
  out.length = static_cast<u8>(r.position());
  return DecodeStatus::Ok;
}

}  // namespace callgate
