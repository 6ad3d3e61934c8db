#include "jit/x64/vex_form.h"

#include <string_view>

#include "cpu/table/encoding.h"
#include "cpu/table/operands.h"
#include "cpu/table/row.h"

namespace callgate::jit::x64 {

namespace {

// Vector instructions that stay their handlers': what hosts differ in (estimates, the order of sums in dot products), what
// accesses memory by a mask or by many addresses, what works on other registers too, and MXCSR.
bool is_left_out(const ir::Mode& mode, u8 map, u8 opcode) {
  if (map == 1 && opcode == 0x77) return mode.code_size != CodeSize::Bits64;  // VZEROUPPER knows eight registers there
  switch (map) {
    case 1: return opcode == 0x52 || opcode == 0x53 || opcode == 0xAE || opcode == 0xF7;
    case 2: return (opcode >= 0x2C && opcode <= 0x2F) || opcode == 0x8C || opcode == 0x8E || (opcode >= 0x90 && opcode <= 0x93);
    default: return opcode == 0x40 || opcode == 0x41 || (opcode >= 0x60 && opcode <= 0x63);
  }
}

u8 prefix_of(MandatoryPrefix p) {
  switch (p) {
    case MandatoryPrefix::P66: return 1;
    case MandatoryPrefix::PF3: return 2;
    case MandatoryPrefix::PF2: return 3;
    default: return 0;
  }
}

bool is_vector_row(const Encoding& e, u32 attributes) { return e.vex && (attributes & kAvx); }

// The operands of a vector instruction: at most one is in memory or in a general register.
bool place_operands(VexForm& f, const Insn& i) {
  for (unsigned n = 0; n < 4; n++) {
    const OperandSpec s = parse_operand(i.row->operands, n);
    const unsigned size = operand_bytes(s, i.width);
    switch (s.kind) {
      case 0: case 'V': case 'H': case 'L': case 'I': case 'U': break;
      case 'W': case 'M': case 'E': case 'R':
        if (i.is_memory && s.kind != 'R') {
          f.is_memory = true;
          f.stores = n == 0;
          f.size = static_cast<u8>(size);
          if (s.size == 'a') f.alignment = f.size;
        } else if (s.kind == 'E' || s.kind == 'R') {
          f.rm_is_gpr = true;
          f.writes_gpr = n == 0;
          f.gpr_size = size == 8 ? 8 : 4;
        }
        break;
      case 'G':
        f.reg_is_gpr = true;
        f.writes_gpr = n == 0;
        f.gpr_size = size == 8 ? 8 : 4;
        break;
      default: return false;
    }
  }
  return true;
}

bool is_integer_operand(char kind) { return kind == 'G' || kind == 'B' || kind == 'E' || kind == 'I' || kind == 0; }

// BMI1 and BMI2: one of B and E, or both, are read, and G, or B, is written.
bool place_integer_operands(VexForm& f, const Insn& i) {
  for (unsigned n = 0; n < 4; n++) {
    const OperandSpec s = parse_operand(i.row->operands, n);
    if (!is_integer_operand(s.kind)) return false;
    if (s.kind == 'E' && i.is_memory) f.is_memory = true;
  }
  f.size = f.gpr_size = i.width == 8 ? 8 : 4;
  return true;
}

}  // namespace

VexForm vex_form(const ir::Mode& mode, const Insn& i, const Host& host, bool avx) {
  if (i.row == nullptr || std::string_view(i.row->encoding).substr(0, 4) != "VEX.") return {};
  if (mode.real || !host.has(i.row->feature)) return {};  // there it is #UD
  if (i.is_memory && !(mode.flat_segments >> i.seg & 1)) return {};
  const Encoding e = parse_encoding(*i.row);
  VexForm f;
  f.map = static_cast<u8>(e.map - kVexMaps);
  f.prefix = prefix_of(e.prefix);
  f.has_modrm = e.has_modrm;
  f.has_imm = e.imm != ImmKind::None || e.register_in_immediate;
  // Outside 64-bit mode VEX.W doesn't say an operand's size.
  f.w = i.rex_w && !(e.width_by_w && mode.code_size != CodeSize::Bits64);
  f.writes_flags = (i.row->flags.written & kArithmetic) != 0;
  if (is_vector_row(e, i.row->attributes)) {
    if (!avx || e.vsib || is_left_out(mode, f.map, i.opcode) || !place_operands(f, i)) return {};
    f.kind = VexForm::Vector;
  } else {
    if (!place_integer_operands(f, i)) return {};
    f.kind = VexForm::Integer;
  }
  return f;
}

void note_vex(ir::Block& block, const Host& host, bool avx) {
  for (ir::BlockInsn& b : block.insns) {
    if (b.count != 0) continue;
    const VexForm f = vex_form(block.mode, b.insn, host, avx);
    if (f.kind == VexForm::None) continue;
    const u32 first = static_cast<u32>(block.ops.size());
    if (first + 8 >= ir::kNoValue) return;
    ir::Emitter emitter(block);
    emitter.insn = &b.insn;
    emitter.next_rip = (b.rip + b.insn.length) & block.mode.rip_mask();
    if (f.alignment > 1) emitter.check_aligned(emitter.operand(), f.alignment);
    if (f.is_memory && f.stores) emitter.modify(emitter.operand(), f.size);
    else if (f.is_memory) emitter.load(emitter.operand(), f.size);
    const ir::ValueId value = emitter.constant(0, f.gpr_size);  // stands for whatever is written
    if (f.kind == VexForm::Vector && f.writes_gpr) emitter.write_gpr(f.gpr(b.insn), f.gpr_size, value);
    if (f.kind == VexForm::Integer) {
      for (unsigned n = 0; n < 2; n++) {
        const char kind = parse_operand(b.insn.row->operands, n).kind;
        // MULX writes both; of the others the second operand is a source.
        if (n == 1 && b.insn.opcode != 0xF6) break;
        emitter.write_gpr(kind == 'G' ? b.insn.reg : b.insn.vvvv, f.gpr_size, value);
      }
    }
    b.first = first;
    b.count = static_cast<u32>(block.ops.size()) - first;
    b.may_leave = f.is_memory;
  }
}

}  // namespace callgate::jit::x64
