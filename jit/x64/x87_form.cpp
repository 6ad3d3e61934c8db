#include "jit/x64/x87_form.h"

#include <string_view>

#include "cpu/table/row.h"

namespace callgate::jit::x64 {

namespace {

// Bits of ModRM's low six: the register forms that the host executes, by opcode from D8. Left out: the transcendentals
// (rounded correctly here, not so by processors), FPREM, FSCALE and FXTRACT, FINIT, and undocumented aliases.
constexpr u64 range(unsigned first, unsigned last) {
  u64 bits = 0;
  for (unsigned n = first; n <= last; n++) bits |= u64{1} << (n & 0x3F);
  return bits;
}
constexpr u64 kRegisterForms[8] = {
    /*D8*/ ~u64{0},
    /*D9: FLD, FXCH; FNOP; FCHS, FABS; FTST, FXAM; constants; FDECSTP, FINCSTP; FSQRT; FRNDINT*/
    range(0xC0, 0xCF) | range(0xD0, 0xD0) | range(0xE0, 0xE1) | range(0xE4, 0xE5) | range(0xE8, 0xEE) |
        range(0xF6, 0xF7) | range(0xFA, 0xFA) | range(0xFC, 0xFC),
    /*DA: FCMOVcc; FUCOMPP*/ range(0xC0, 0xDF) | range(0xE9, 0xE9),
    /*DB: FCMOVcc; FNCLEX; FUCOMI, FCOMI*/ range(0xC0, 0xDF) | range(0xE2, 0xE2) | range(0xE8, 0xF7),
    /*DC*/ range(0xC0, 0xCF) | range(0xE0, 0xFF),
    /*DD: FFREE; FST, FSTP, FUCOM, FUCOMP*/ range(0xC0, 0xC7) | range(0xD0, 0xEF),
    /*DE*/ range(0xC0, 0xCF) | range(0xD9, 0xD9) | range(0xE0, 0xFF),
    /*DF: FNSTSW AX; FUCOMIP, FCOMIP*/ range(0xE0, 0xE0) | range(0xE8, 0xF7),
};

// Memory forms by opcode from D8 and ModRM.reg: bytes loaded, or, negative, stored; 0: the handler's (environments, packed
// BCD, and what doesn't exist).
constexpr i8 kMemoryForms[8][8] = {
    /*D8*/ {4, 4, 4, 4, 4, 4, 4, 4},
    /*D9*/ {4, 0, -4, -4, 0, 2, 0, -2},
    /*DA*/ {4, 4, 4, 4, 4, 4, 4, 4},
    /*DB*/ {4, -4, -4, -4, 0, 10, 0, -10},
    /*DC*/ {8, 8, 8, 8, 8, 8, 8, 8},
    /*DD*/ {8, -8, -8, -8, 0, 0, 0, -2},
    /*DE*/ {2, 2, 2, 2, 2, 2, 2, 2},
    /*DF*/ {2, -2, -2, -2, 0, 8, 0, -8},
};

X87Form memory_form(const ir::Mode& mode, const Insn& i, X87Form f) {
  const unsigned extension = f.modrm >> 3 & 7;
  const int bytes = kMemoryForms[f.opcode & 7][extension];
  // An access that needs the checks of its segment is the handler's.
  if (bytes == 0 || !(mode.flat_segments >> i.seg & 1)) return {};
  f.kind = bytes > 0 ? X87Form::Load : X87Form::Store;
  f.size = static_cast<u8>(bytes > 0 ? bytes : -bytes);
  const bool control = (f.opcode == 0xD9 && extension >= 5) || (f.opcode == 0xDD && extension == 7);
  f.pointers = !control;
  if (control && bytes > 0) f.kind = X87Form::LoadControl;
  return f;
}

// The memory operand of `i`, which is at `rip`.
ir::Mem operand(const ir::Mode& mode, const Insn& i, u64 rip) {
  ir::Mem m{i.base, i.index, i.scale, i.asize, i.seg, i.disp, ir::kNoValue};
  if (m.base == kGprRip) {
    m.base = kGprZero;
    m.disp += static_cast<i64>((rip + i.length) & mode.rip_mask());
  }
  return m;
}

}  // namespace

X87Form x87_form(const ir::Mode& mode, const Insn& i) {
  if (i.row == nullptr) return {};
  X87Form f;
  if (i.opcode == 0x9B && std::string_view(i.row->encoding) == "9B") {
    f.kind = X87Form::Wait;
    return f;
  }
  if (!(i.row->attributes & kX87) || i.opcode < 0xD8 || i.opcode > 0xDF) return {};
  f.opcode = i.opcode;
  f.modrm = i.modrm;
  if (i.is_memory) return memory_form(mode, i, f);
  if (!(kRegisterForms[f.opcode & 7] >> (f.modrm & 0x3F) & 1)) return {};
  f.kind = X87Form::Register;
  const bool clear_exceptions = f.opcode == 0xDB && f.modrm == 0xE2, status = f.opcode == 0xDF && f.modrm == 0xE0;
  if (status) f.kind = X87Form::StatusToAx;
  f.pointers = !clear_exceptions && !status;
  f.reads_flags = (f.opcode == 0xDA || f.opcode == 0xDB) && f.modrm < 0xE0;
  f.writes_flags = (f.opcode == 0xDB || f.opcode == 0xDF) && f.modrm >= 0xE8;
  return f;
}

void note_x87(ir::Block& block, const Host& host) {
  if (!host.x87) return;
  for (ir::BlockInsn& b : block.insns) {
    if (b.count != 0) continue;
    const X87Form f = x87_form(block.mode, b.insn);
    if (f.kind == X87Form::None) continue;
    ir::Op op{.opcode = ir::Opcode::Constant, .size = 8};
    if (f.is_memory()) {
      using enum ir::Opcode;
      op.opcode = f.kind == X87Form::Load ? Load : f.kind == X87Form::Store ? Modify : CheckAligned;
      op.size = f.size;
      op.imm = 1;
      op.mem = static_cast<u16>(block.mems.size());
      block.mems.push_back(operand(block.mode, b.insn, b.rip));
    }
    b.first = static_cast<u32>(block.ops.size());
    b.count = 1;
    b.may_leave = f.is_memory();
    block.ops.push_back(op);
  }
}

}  // namespace callgate::jit::x64
