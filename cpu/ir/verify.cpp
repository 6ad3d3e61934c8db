// The IR's rules (cpu/ir/ir.h), checked.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "cpu/ir/ir.h"

namespace callgate::ir {

namespace {

bool commits(Opcode o) {
  using enum Opcode;
  return o == WriteGpr || o == WriteVec || o == Update || o == SetDirection || o == Jump;
}
bool makes_value(const Op& op) {
  using enum Opcode;
  switch (op.opcode) {
    case WriteGpr: case WriteVec: case Store: case Update: case CheckAligned: case SetDirection: case When:
    case EndWhen: case LeaveIf: case Resolve: case Jump:
      return false;
    default: return op.size != 0;
  }
}
unsigned wanted_args(const Op& op) {
  using enum Opcode;
  switch (op.opcode) {
    case Constant: case ReadGpr: case ReadVec: case Address: case Load: case Modify: case CheckAligned: case Condition:
    case SetDirection: case EndWhen:
      return 0;
    case Select: return 3;
    case Compute: return op.info->args;
    default: return 1;
  }
}

/// The sizes of what an op takes and makes fit together.
const char* check_sizes(const Block& block, const Op& op) {
  using enum Opcode;
  const auto arg = [&](unsigned n) { return block.ops[op.args[n]].size; };
  switch (op.opcode) {
    case WriteGpr: case WriteVec: case Store: case Update:
      return arg(0) == op.size ? nullptr : "it writes another size than its value has";
    case ZeroExtend: case SignExtend: return arg(0) < op.size ? nullptr : "an extension to no larger size";
    case Truncate: return arg(0) > op.size ? nullptr : "a truncation to no smaller size";
    case Select: return arg(0) == 1 && arg(1) == op.size && arg(2) == op.size ? nullptr : "a choice between values of other sizes";
    case Member: return op.imm + op.size <= arg(0) ? nullptr : "a member behind its value's end";
    case When: case LeaveIf: return arg(0) == 1 ? nullptr : "a condition that is no bool";
    case Resolve: case Jump: return arg(0) == 8 ? nullptr : "a target that is no address";
    case Compute:
      if (op.size != op.info->result_size) return "a result of another size than the operation's";
      for (unsigned a = 0; a < op.info->args; a++)
        if (arg(a) != op.info->arg_size[a]) return "an operand of another size than the operation's";
      return nullptr;
    default: return nullptr;
  }
}

bool accesses_memory(Opcode o) { return o == Opcode::Load || o == Opcode::Modify || o == Opcode::Store; }
bool has_address(Opcode o) { return accesses_memory(o) || o == Opcode::CheckAligned || o == Opcode::Address; }

class Verifier {
 public:
  explicit Verifier(const Block& block) : block_(block) {}

  std::string run() {
    u32 expected = 0;
    for (const BlockInsn& b : block_.insns) {
      if (b.first != expected) return fmt::format("{:#x}: its ops don't follow the last instruction's", b.rip);
      expected = b.first + b.count;
      if (expected > block_.ops.size()) return fmt::format("{:#x}: it has ops behind the end", b.rip);
      if (std::string wrong = check(b); !wrong.empty()) return wrong;
    }
    return expected == block_.ops.size() ? "" : "ops behind the last instruction";
  }

 private:
  std::string check(const BlockInsn& b) {
    // What a handler does, a probe of before knows nothing of.
    if (b.count == 0) std::fill(std::begin(probed_), std::end(probed_), false);
    bool committed = false, modifying = false, when = false;
    for (u32 n = b.first; n < b.first + b.count; n++) {
      const Op& op = block_.ops[n];
      const auto wrong = [&](const char* what) { return fmt::format("{:#x}, v{}: {}", b.rip, n, what); };
      for (unsigned a = 0; a < kMaxOpArgs; a++) {
        if ((op.args[a] != kNoValue) != (a < wanted_args(op))) return wrong("another number of operands than its kind has");
        if (op.args[a] == kNoValue) continue;
        if (op.args[a] < b.first || op.args[a] >= n) return wrong("an operand that is no earlier value of its instruction");
        if (!makes_value(block_.ops[op.args[a]])) return wrong("an operand that is no value");
      }
      if (const char* sizes = check_sizes(block_, op)) return wrong(sizes);
      if (has_address(op.opcode)) {
        if (op.mem >= block_.mems.size()) return wrong("no such memory operand");
        const ValueId moved = block_.mems[op.mem].moved;
        if (moved != kNoValue && (moved < b.first || moved >= n || !makes_value(block_.ops[moved])))
          return wrong("a memory operand moved by no earlier value of its instruction");
      }
      if (op.group != 0) {
        if (!accesses_memory(op.opcode) || op.group > block_.groups.size()) return wrong("no such group, or nothing that could be in one");
        if (op.probes == probed_[op.group]) return wrong(op.probes ? "a second probe for a group" : "it relies on a probe that wasn't there");
        probed_[op.group] = true;
      }
      if (may_leave(op) && committed) return wrong("it may leave after something was committed");
      if (op.opcode == Opcode::Store) committed = true;
      committed |= commits(op.opcode);
      if (op.opcode == Opcode::Modify) modifying = true;
      if (op.opcode == Opcode::Update) {
        if (!modifying) return wrong("an Update without its Modify");
        modifying = false;
      }
      if (op.opcode == Opcode::When) {
        if (when) return wrong("a When inside another");
        when = true;
      }
      if (op.opcode == Opcode::EndWhen) {
        if (!when) return wrong("an EndWhen without its When");
        when = false;
      }
    }
    if (when) return fmt::format("{:#x}: a When without its end", b.rip);
    return "";
  }

  const Block& block_;
  bool probed_[256] = {};  ///< by group
};

}  // namespace

std::string verify(const Block& block) { return Verifier(block).run(); }

}  // namespace callgate::ir
