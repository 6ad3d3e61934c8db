// Which instructions this backend has native code for; the others are executed by their handlers.
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

namespace {

bool can_compute(const ir::Block& block, const ir::Op& op, const Host& host) {
  using enum ir::OpKind;
  const unsigned size = op.info->arg_size[0];
  switch (op.info->kind) {
    case add: case adc: case sub: case sbb: case inc: case dec: case neg: case not_: case equal: case non_zero:
    case is_zero: case logical_not: case imul_low: case bswap: case bit_string_offset: case clear_flags: case low_flags:
    case set_low_flags: case set_carry: case complement_carry: case mul: case imul:
      return true;
    case and_: case or_: case xor_: return host.logic_flags;
    case sign_fill: return size != 1;
    case shl: case shr: case sar: return host.shift_flags;
    case shld: case shrd: return host.shift_flags && size != 2;
    case rol: case ror: return host.rotate_flags;
    case rcl: case rcr: {
      const ir::Op& count = block.ops[op.args[1]];
      return host.carry_rotate_flags || (host.rotate_flags && count.opcode == ir::Opcode::Constant && count.imm == 1);
    }
    case bt: case bts: case btr: case btc: return host.bit_test_flags;
    case bsf: case bsr: case popcnt: case tzcnt: return true;
    case lzcnt: return host.lzcnt;
    case shlx: case shrx: case sarx: case rorx: return true;
    case div: case idiv: return true;
    default: break;
  }
  switch (extension_of(op.info)) {
    case Extension::ReverseBytes: return true;
    case Extension::Crc32: return host.has("sse4.2");
    case Extension::Adcx: case Extension::Adox: return host.has("adx");
    default: return is_code_bytes(op.info);
  }
}

}  // namespace

bool can_lower(const ir::Block& block, const ir::BlockInsn& insn, const Host& host) {
  bool vectors = false, computes = true;
  for (u32 n = insn.first; n < insn.first + insn.count; n++) {
    const ir::Op& op = block.ops[n];
    using enum ir::Opcode;
    switch (op.opcode) {
      case Compute: computes &= can_compute(block, op, host); break;
      case ReadVec: case WriteVec: case CheckAligned: vectors = true; break;
      case Load: case Store: case Modify: vectors |= op.size > 8; break;
      default: break;
    }
  }
  return vectors ? vector_form(block, insn).kind != VectorForm::None : computes;
}

}  // namespace callgate::jit::x64
