// The IR's rules (cpu/ir/ir.h), checked.
#include <fmt/format.h>

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
  std::string check(const BlockInsn& b) const {
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
      if (op.opcode == Opcode::Compute)
        for (unsigned a = 0; a < op.info->args; a++)
          if (block_.ops[op.args[a]].size != op.info->arg_size[a]) return wrong("an operand of another size than the operation's");
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
      if (op.mem >= block_.mems.size() && op.mem != 0) return wrong("no such memory operand");
    }
    return when ? fmt::format("{:#x}: a When without its end", b.rip) : "";
  }

  const Block& block_;
};

}  // namespace

std::string verify(const Block& block) { return Verifier(block).run(); }

}  // namespace callgate::ir
