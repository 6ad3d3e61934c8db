#include "jit/passes/order_ops.h"

#include <doctest/doctest.h>

using namespace callgate;
using namespace callgate::ir;

namespace {

/// An instruction that adds a constant to [rbx + 2 * rcx], whose distance is a value.
void add_instruction(Block& block, u64 rip) {
  Insn insn;
  insn.length = 4;
  Emitter e(block);
  e.insn = &insn;
  const u32 first = static_cast<u32>(block.ops.size());
  Mem m{.base = RBX};
  m.moved = e.read_gpr(RCX, 8);
  const ValueId old = e.modify(m, 4);
  e.update(4, e.compute(op_info<std::remove_const_t<decltype(alu::add)>, u32, u32>, {old, e.constant(rip, 4)}));
  block.insns.push_back({insn, rip, first, static_cast<u32>(block.ops.size()) - first});
}

}  // namespace

TEST_CASE("ops of an instruction that became its handler's go away, and the others stay as they are") {
  Block block, expected;
  for (const u64 rip : {0x1000, 0x1004, 0x1008, 0x100C}) add_instruction(block, rip);
  REQUIRE(verify(block) == "");
  block.insns[0].count = 0;
  block.insns[2].count = 0;
  CHECK(verify(block) != "");
  jit::order_ops(block);
  CHECK(verify(block) == "");

  add_instruction(expected, 0x1004);
  add_instruction(expected, 0x100C);
  CHECK(print(expected, expected.insns[0]) == print(block, block.insns[1]));
  CHECK(print(expected, expected.insns[1]) == print(block, block.insns[3]));
}

TEST_CASE("an op that a backend put behind all others comes in its instruction's place") {
  Block block;
  for (const u64 rip : {0x1000, 0x1004, 0x1008}) add_instruction(block, rip);
  block.ops.push_back({.opcode = Opcode::Constant, .size = 8, .imm = 0x55});
  block.insns[1].first = static_cast<u32>(block.ops.size()) - 1;
  block.insns[1].count = 1;
  jit::order_ops(block);
  CHECK(verify(block) == "");
  CHECK(block.insns[1].first == 5);
  CHECK(block.ops[5].imm == 0x55);
  CHECK(block.ops.size() == 11);
}

TEST_CASE("ops in order are left alone") {
  Block block;
  for (const u64 rip : {0x1000, 0x1004}) add_instruction(block, rip);
  const std::string before = print(block);
  jit::order_ops(block);
  CHECK(print(block) == before);
}
