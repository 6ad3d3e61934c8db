// Blocks in words: one line an op, for traces and failures.
#include <fmt/format.h>

#include "cpu/ir/ir.h"
#include "cpu/table/row.h"

namespace callgate::ir {

namespace {

constexpr const char* kOpcodes[] = {"constant", "gpr", "write_gpr", "vec", "write_vec", "address", "load", "modify",
                                    "store", "update", "check_aligned", "compute", "zero_extend", "sign_extend",
                                    "truncate", "select", "member", "condition", "set_direction", "when", "end_when",
                                    "leave_if", "resolve", "jump"};
constexpr const char* kRegisters[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr const char* kSegments[kSegCount] = {"es", "cs", "ss", "ds", "fs", "gs"};

std::string print_mem(const Mem& m) {
  std::string s = fmt::format(" {}:[", kSegments[m.seg]);
  if (m.base < 16) s += kRegisters[m.base];
  if (m.index < 16) s += fmt::format(" + {} << {}", kRegisters[m.index], m.scale);
  s += fmt::format(" {:+#x}]", m.disp);
  if (m.moved != kNoValue) s += fmt::format(" + v{}", m.moved);
  if (m.asize != 8) s += fmt::format(" cut to {}", m.asize);
  return s;
}

}  // namespace

std::string print(const Block& block) {
  std::string s;
  for (const BlockInsn& b : block.insns)
    s += fmt::format("{:#x}: {}{}  live {:#x}\n{}", b.rip, b.insn.row != nullptr ? b.insn.row->name : "(invalid)",
                     b.count == 0 ? " (by its handler)" : "", b.flags_live, print(block, b));
  return s;
}

std::string print(const Block& block, const BlockInsn& b) {
  std::string s;
  for (u32 n = b.first; n < b.first + b.count; n++) {
    const Op& op = block.ops[n];
    s += fmt::format("    v{} = {}", n, kOpcodes[static_cast<unsigned>(op.opcode)]);
    if (op.opcode == Opcode::Compute) s += fmt::format(" {}", name_of(op.info->kind));
    if (op.size != 0) s += fmt::format(".{}", op.size);
    if (op.opcode == Opcode::ReadGpr || op.opcode == Opcode::WriteGpr)
      s += fmt::format(" {}{}", kRegisters[op.reg & 15], op.high ? ".high" : "");
    if (op.opcode == Opcode::ReadVec || op.opcode == Opcode::WriteVec) s += fmt::format(" xmm{}", op.reg);
    if (op.opcode == Opcode::Condition) s += fmt::format(" cc{}", op.cc);
    if (op.opcode == Opcode::Constant || op.opcode == Opcode::SetDirection || op.opcode == Opcode::Member ||
        op.opcode == Opcode::CheckAligned)
      s += fmt::format(" {:#x}", op.imm);
    switch (op.opcode) {
      case Opcode::Address: case Opcode::Load: case Opcode::Modify: case Opcode::Store: case Opcode::CheckAligned:
        s += print_mem(block.mems[op.mem]);
        break;
      default: break;
    }
    if (op.group != 0) s += fmt::format(" group {}{}", op.group, op.probes ? " probes" : "");
    for (const ValueId a : op.args)
      if (a != kNoValue) s += fmt::format(" v{}", a);
    if (op.opcode == Opcode::Compute && op.info->flags) s += fmt::format(" flags {:#x}", op.flags_needed);
    s += '\n';
  }
  return s;
}

}  // namespace callgate::ir
