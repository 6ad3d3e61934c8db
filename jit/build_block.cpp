#include "jit/build_block.h"

#include "cpu/cpu.h"
#include "cpu/decoder.h"
#include "cpu/table/row.h"

namespace callgate::jit {

namespace {

// A shift by a constant other than 0 never keeps the flags: its row, made for any count, says that it reads them.
bool shifts_for_certain(const ir::Block& block, const ir::BlockInsn& b) {
  for (u32 n = b.first; n < b.first + b.count; n++) {
    const ir::Op& op = block.ops[n];
    if (op.opcode != ir::Opcode::Compute) continue;
    ir::ValueId by = ir::kNoValue;
    switch (op.info->kind) {
      using enum ir::OpKind;
      case shl: case shr: case sar: case rol: case ror: by = op.args[1]; break;
      case shld: case shrd: by = op.args[2]; break;
      default: continue;
    }
    const ir::Op& count = block.ops[by];
    return count.opcode == ir::Opcode::Constant && (count.imm & (op.size == 8 ? 63 : 31)) != 0;
  }
  return false;
}

// What the handler of an instruction may do to the arithmetic flags is what its row says; of those that may do anything,
// everything.
void note_flags(const ir::Block& block, ir::BlockInsn& b) {
  const Row* row = b.insn.row;
  if (row == nullptr || (b.count == 0 && (row->attributes & (kBranch | kSystem)))) {
    b.flags_read = kArithmetic;
    b.flags_written = kArithmetic;
    return;
  }
  b.flags_read = shifts_for_certain(block, b) ? 0 : row->flags.read & kArithmetic;
  b.flags_written = row->flags.written & kArithmetic;
}

void note_uses(ir::Block& block, ir::BlockInsn& b) {
  b.may_leave = b.count == 0;
  for (u32 n = b.first; n < b.first + b.count; n++) {
    ir::Op& op = block.ops[n];
    for (const ir::ValueId a : op.args)
      if (a != ir::kNoValue) block.ops[a].uses++;
    using enum ir::Opcode;
    switch (op.opcode) {
      case Load: case Modify: case Store: {
        const ir::Mem& mem = block.mems[op.mem];
        if (mem.moved != ir::kNoValue) block.ops[mem.moved].uses++;
        b.may_leave = true;
        break;
      }
      case CheckAligned: case LeaveIf: case Resolve: b.may_leave = true; break;
      default: break;
    }
  }
}

bool ends_block(const Insn& insn) { return insn.ends_block || insn.row == nullptr; }

}  // namespace

void build_block(std::span<const u8> code, unsigned most, ir::Block& block, std::size_t end) {
  block.clear();
  append_block(code, block.rip, most, block, end);
}

void append_block(std::span<const u8> code, u64 rip, unsigned most, ir::Block& block, std::size_t end) {
  std::size_t at = 0;
  while (block.insns.size() < most && at < std::min(code.size(), end)) {
    ir::BlockInsn b;
    if (decode(code.subspan(at, std::min<std::size_t>(code.size() - at, kMaxInsnLength)), block.mode.code_size, b.insn) ==
        DecodeStatus::Truncated)
      break;
    b.rip = rip;
    b.first = static_cast<u32>(block.ops.size());
    const std::size_t mems = block.mems.size();
    ir::Emitter emitter(block);
    emitter.insn = &b.insn;
    emitter.next_rip = (rip + b.insn.length) & block.mode.rip_mask();
    const unsigned width_index = b.insn.width == 2 ? 0 : b.insn.width == 8 ? 2 : 1;
    const TranslateFn translate =
        b.insn.row != nullptr ? b.insn.row->handlers.translate[width_index][b.insn.is_memory] : nullptr;
    if (translate != nullptr) translate(emitter, b.insn);
    if (translate == nullptr || !emitter.possible) {
      block.ops.resize(b.first);
      block.mems.resize(mems);
    }
    b.count = static_cast<u32>(block.ops.size()) - b.first;
    // An instruction that does nothing (NOP) has no ops either, but needs no handler.
    if (b.count == 0 && translate != nullptr && emitter.possible) {
      emitter.constant(0, 8);
      b.count = 1;
    }
    note_flags(block, b);
    note_uses(block, b);
    block.insns.push_back(b);
    rip = emitter.next_rip;
    at += b.insn.length;
    if (ends_block(b.insn)) break;
  }
}

void one_instruction(const Insn& insn, ir::Block& block) {
  block.clear();
  ir::BlockInsn b;
  b.insn = insn;
  b.rip = block.rip;
  note_flags(block, b);
  note_uses(block, b);
  block.insns.push_back(b);
}

static bool sse_usable(const Cpu& c) {
  return !(c.s.cr0 & (kCr0Em | kCr0Ts)) && (c.s.cr4 & kCr4Osfxsr) && masks_all(c.s.mxcsr);
}

static bool x87_usable(const Cpu& c) {
  return !(c.s.cr0 & (kCr0Em | kCr0Ts)) && x87_is_plain(c.s.x87.control);
}

static bool avx_usable(const Cpu& c) {
  constexpr u64 kBoth = kXcr0Sse | kXcr0Avx;
  return sse_usable(c) && (c.s.cr4 & kCr4Osxsave) && (c.s.xcr0 & kBoth) == kBoth;
}

u8 limited_segments(const Cpu& c) {
  if (c.bits64()) return 0;
  u8 limited = 0;
  for (unsigned i = 0; i < kSegCount; i++) {
    const Segment& s = c.s.seg[i];
    const bool plain = !s.unusable() && s.writable() && !s.expand_down();
    if (plain && !c.flat(static_cast<SegReg>(i))) limited |= static_cast<u8>(1u << i);
  }
  return limited;
}

ir::Mode mode_of(const Cpu& c) {
  ir::Mode m;
  m.code_size = c.code_size();
  m.long64 = c.bits64();
  m.stack_size = static_cast<u8>(c.stack_size());
  if (!m.long64) {
    m.flat_segments = limited_segments(c);
    m.zero_bases = 0;
    for (unsigned i = 0; i < kSegCount; i++) {
      if (!c.flat(static_cast<SegReg>(i))) continue;
      m.flat_segments |= static_cast<u8>(1u << i);
      if (c.s.seg[i].base == 0) m.zero_bases |= static_cast<u8>(1u << i);
    }
    m.real = c.real_or_v86();
  }
  m.sse = sse_usable(c);
  return m;
}

// What the x87 keeps of addresses is emitted for flat segments only.
static bool is_flat_code(const Cpu& c) { return c.s.seg[CS].limit == 0xFFFFFFFF && c.s.seg[CS].base == 0; }

static u32 key_of(const ir::Mode& m) {
  return static_cast<u32>(m.code_size) | u32{m.long64} << 2 | u32{m.stack_size} << 3 | u32{m.flat_segments} << 8 |
         u32{m.zero_bases} << 16 | u32{m.sse} << 24 | u32{m.real} << 28;
}

u32 mode_key(const Cpu& c) {
  const u32 units = (x87_usable(c) ? kModeX87 : 0) | (avx_usable(c) ? kModeAvx : 0);
  if (!c.bits64()) {
    const u32 limited = limited_segments(c);
    const u32 bits = (limited & 3) << 14 | (limited >> 2 & 3) << 22 | limited >> 4 << 29;
    return key_of(mode_of(c)) | bits | (limited == 0 && is_flat_code(c) ? units : units & ~kModeX87);
  }
  static constexpr ir::Mode kLong;
  ir::Mode m = kLong;
  m.sse = sse_usable(c);
  return key_of(m) | units;
}

}  // namespace callgate::jit
