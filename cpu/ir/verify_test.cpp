#include <doctest/doctest.h>

#include "cpu/ir/ir.h"

using namespace callgate;
using namespace callgate::ir;

namespace {

/// A block of one instruction (or more), made by the emitter, to be broken.
struct Bench {
  Bench() { e.insn = &insn; }
  /// Ends an instruction: the ops since the last one.
  void end() {
    const u32 first = block.insns.empty() ? 0 : block.insns.back().first + block.insns.back().count;
    block.insns.push_back({insn, 0x1000, first, static_cast<u32>(block.ops.size()) - first});
  }
  std::string verify() {
    if (block.insns.empty()) end();
    return ir::verify(block);
  }
  Mem memory() const { return {.base = RBX}; }
  const OpInfo& add = op_info<std::remove_const_t<decltype(alu::add)>, u32, u32>;

  Block block;
  Insn insn;
  Emitter e{block};
};

#define CHECK_WRONG(bench, what) CHECK_MESSAGE((bench).verify().find(what) != std::string::npos, ir::verify((bench).block))

}  // namespace

TEST_CASE_FIXTURE(Bench, "an instruction as semantics make them keeps the rules of the IR") {
  const ValueId d = e.modify(memory(), 4);
  e.update(4, e.compute(add, {d, e.read_gpr(RAX, 4)}));
  end();
  e.when(e.condition(4));
  e.write_gpr(RCX, 8, e.constant(7, 8));
  e.end_when();
  end();
  CHECK(verify() == "");
}

TEST_CASE_FIXTURE(Bench, "an operand that is no value of its instruction breaks the IR's rules") {
  SUBCASE("of another instruction") {
    const ValueId v = e.read_gpr(RAX, 4);
    end();
    e.write_gpr(RCX, 4, v);
    end();
    CHECK_WRONG(*this, "no earlier value of its instruction");
  }
  SUBCASE("of a later op") {
    e.write_gpr(RCX, 4, 1);
    e.read_gpr(RAX, 4);
    CHECK_WRONG(*this, "no earlier value of its instruction");
  }
  SUBCASE("of an op that makes none") {
    e.write_gpr(RCX, 4, e.read_gpr(RAX, 4));
    e.write_gpr(RDX, 4, 1);
    CHECK_WRONG(*this, "an operand that is no value");
  }
  SUBCASE("missing") {
    e.write_gpr(RCX, 4, e.read_gpr(RAX, 4));
    block.ops[1].args[0] = kNoValue;
    CHECK_WRONG(*this, "another number of operands");
  }
  SUBCASE("too many") {
    const ValueId v = e.read_gpr(RAX, 4);
    e.write_gpr(RCX, 4, v);
    block.ops[1].args[1] = v;
    CHECK_WRONG(*this, "another number of operands");
  }
  SUBCASE("moving a memory operand") {
    Mem m = memory();
    m.moved = 1;
    e.load(m, 4);
    e.read_gpr(RAX, 8);
    CHECK_WRONG(*this, "moved by no earlier value");
  }
}

TEST_CASE_FIXTURE(Bench, "sizes that don't fit break the IR's rules") {
  const ValueId four = e.read_gpr(RAX, 4);
  SUBCASE("an operation's operands") {
    e.compute(add, {four, e.read_gpr(RCX, 8)});
    CHECK_WRONG(*this, "an operand of another size");
  }
  SUBCASE("an operation's result") {
    const ValueId v = e.compute(add, {four, four});
    block.ops[v].size = 8;
    CHECK_WRONG(*this, "a result of another size");
  }
  SUBCASE("a write") {
    e.write_gpr(RCX, 8, four);
    CHECK_WRONG(*this, "another size than its value");
  }
  SUBCASE("a store") {
    e.store(memory(), 2, four);
    CHECK_WRONG(*this, "another size than its value");
  }
  SUBCASE("an extension") {
    e.convert(Opcode::ZeroExtend, 4, four);
    CHECK_WRONG(*this, "no larger size");
  }
  SUBCASE("a truncation") {
    e.convert(Opcode::Truncate, 8, four);
    CHECK_WRONG(*this, "no smaller size");
  }
  SUBCASE("a choice") {
    e.select(e.condition(0), four, e.read_gpr(RCX, 8), 4);
    CHECK_WRONG(*this, "values of other sizes");
  }
  SUBCASE("a choice by no bool") {
    e.select(four, four, four, 4);
    CHECK_WRONG(*this, "values of other sizes");
  }
  SUBCASE("a member") {
    e.member(four, 2, 4);
    CHECK_WRONG(*this, "behind its value's end");
  }
  SUBCASE("a condition") {
    e.leave_if(four);
    CHECK_WRONG(*this, "no bool");
  }
  SUBCASE("a target") {
    e.jump(four);
    CHECK_WRONG(*this, "no address");
  }
}

TEST_CASE_FIXTURE(Bench, "leaving after something was committed breaks the IR's rules") {
  const ValueId v = e.read_gpr(RAX, 4);
  SUBCASE("a register, then a load") {
    e.write_gpr(RCX, 4, v);
    e.load(memory(), 4);
  }
  SUBCASE("memory, then another store") {
    e.store(memory(), 4, v);
    e.store(memory(), 4, v);
  }
  SUBCASE("an update, then a load") {
    e.modify(memory(), 4);
    e.update(4, v);
    e.load(memory(), 4);
  }
  SUBCASE("a register, then a check") {
    e.write_gpr(RCX, 4, v);
    e.leave_if(e.condition(4));
  }
  SUBCASE("a register, then the alignment") {
    e.write_gpr(RCX, 4, v);
    e.check_aligned(memory(), 16);
  }
  SUBCASE("the direction, then a jump's resolution") {
    e.set_direction(true);
    e.resolve(e.read_gpr(RAX, 8));
  }
  CHECK_WRONG(*this, "it may leave after something was committed");
}

TEST_CASE_FIXTURE(Bench, "an update without its modification breaks the IR's rules") {
  const ValueId v = e.read_gpr(RAX, 4);
  SUBCASE("none") { e.update(4, v); }
  SUBCASE("a second one") {
    e.modify(memory(), 4);
    e.update(4, v);
    e.update(4, v);
  }
  CHECK_WRONG(*this, "an Update without its Modify");
}

TEST_CASE_FIXTURE(Bench, "conditional parts that don't pair break the IR's rules") {
  SUBCASE("open") {
    e.when(e.condition(1));
    CHECK_WRONG(*this, "a When without its end");
  }
  SUBCASE("closed twice") {
    e.when(e.condition(1));
    e.end_when();
    e.end_when();
    CHECK_WRONG(*this, "an EndWhen without its When");
  }
  SUBCASE("nested") {
    e.when(e.condition(1));
    e.when(e.condition(1));
    e.end_when();
    CHECK_WRONG(*this, "a When inside another");
  }
}

TEST_CASE_FIXTURE(Bench, "memory operands and groups that aren't there break the IR's rules") {
  e.load(memory(), 4);
  e.load(memory(), 4);
  SUBCASE("no memory operand") {
    block.ops[0].mem = 2;
    CHECK_WRONG(*this, "no such memory operand");
  }
  SUBCASE("no group") {
    block.ops[0].group = 1;
    CHECK_WRONG(*this, "no such group");
  }
  SUBCASE("no access") {
    block.groups.push_back({});
    block.ops[block.ops.size() - 1].group = 1;
    block.ops.back().opcode = Opcode::Address;
    CHECK_WRONG(*this, "no such group");
  }
  SUBCASE("nobody probes") {
    block.groups.push_back({});
    block.ops[1].group = 1;
    CHECK_WRONG(*this, "a probe that wasn't there");
  }
  SUBCASE("two probe") {
    block.groups.push_back({});
    for (Op& op : block.ops) op.group = 1, op.probes = true;
    CHECK_WRONG(*this, "a second probe");
  }
  SUBCASE("a handler between") {
    block.groups.push_back({});
    for (Op& op : block.ops) op.group = 1;
    block.ops[0].probes = true;
    block.insns = {{insn, 0x1000, 0, 1}, {insn, 0x1004, 1, 0}, {insn, 0x1008, 1, 1}};
    CHECK_WRONG(*this, "a probe that wasn't there");
  }
}

TEST_CASE_FIXTURE(Bench, "instructions whose ops don't follow each other break the IR's rules") {
  e.read_gpr(RAX, 4);
  end();
  e.read_gpr(RCX, 4);
  end();
  REQUIRE(ir::verify(block) == "");
  SUBCASE("a gap") {
    block.insns[1].first = 2;
    CHECK_WRONG(*this, "don't follow the last instruction's");
  }
  SUBCASE("too few ops") {
    block.insns[1].count = 2;
    CHECK_WRONG(*this, "ops behind the end");
  }
  SUBCASE("too many ops") {
    e.read_gpr(RDX, 4);
    CHECK_WRONG(*this, "ops behind the last instruction");
  }
}
