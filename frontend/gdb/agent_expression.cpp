#include "frontend/gdb/agent_expression.h"

#include <array>

#include "base/bits.h"

namespace callgate::gdb {

namespace {

enum Op : u8 {
  kAdd = 0x02, kSub, kMul, kDivSigned, kDivUnsigned, kRemSigned, kRemUnsigned, kLsh, kRshSigned, kRshUnsigned,
  kLogNot = 0x0E, kBitAnd, kBitOr, kBitXor, kBitNot, kEqual, kLessSigned, kLessUnsigned, kExt, kRef8, kRef16, kRef32, kRef64,
  kIfGoto = 0x20, kGoto, kConst8, kConst16, kConst32, kConst64, kReg, kEnd, kDup, kPop, kZeroExt, kSwap,
  kPick = 0x32, kRot,
};
constexpr unsigned kMostSteps = 10'000;

/// The stack machine.
class Evaluation {
 public:
  Evaluation(std::span<const u8> code, const AgentContext& context) : code_(code), context_(context) {}

  std::optional<u64> run() {
    for (unsigned steps = 0; steps < kMostSteps && good_ && at_ < code_.size(); steps++) {
      const u8 op = code_[at_++];
      if (op == kEnd) return depth_ != 0 ? std::optional(pop()) : std::nullopt;
      execute(op);
    }
    return std::nullopt;
  }

 private:
  void push(u64 value) {
    if (depth_ == stack_.size()) good_ = false;
    else stack_[depth_++] = value;
  }
  u64 pop() {
    if (depth_ == 0) {
      good_ = false;
      return 0;
    }
    return stack_[--depth_];
  }
  /// An operand: big-endian.
  u64 immediate(unsigned bytes) {
    u64 value = 0;
    if (code_.size() - at_ < bytes) {
      good_ = false;
      at_ = code_.size();
      return 0;
    }
    for (unsigned i = 0; i < bytes; i++) value = value << 8 | code_[at_++];
    return value;
  }
  void push_if(std::optional<u64> value) {
    if (value) push(*value);
    else good_ = false;
  }

  void execute(u8 op) {
    switch (op) {
      case kAdd: case kSub: case kMul: case kDivSigned: case kDivUnsigned: case kRemSigned: case kRemUnsigned: case kLsh:
      case kRshSigned: case kRshUnsigned: case kBitAnd: case kBitOr: case kBitXor: case kEqual: case kLessSigned:
      case kLessUnsigned: {
        const u64 b = pop(), a = pop();
        push_if(combine(op, a, b));
        break;
      }
      case kLogNot: push(pop() == 0); break;
      case kBitNot: push(~pop()); break;
      case kExt:
      case kZeroExt: {
        const u64 bits = immediate(1), value = pop();
        if (bits == 0 || bits > 64) good_ = false;
        else if (bits == 64) push(value);
        else push(op == kExt ? sign_extend(value, static_cast<unsigned>(bits)) : value & low_mask(static_cast<unsigned>(bits)));
        break;
      }
      case kRef8: case kRef16: case kRef32: case kRef64: push_if(context_.memory(pop(), 1u << (op - kRef8))); break;
      case kIfGoto: {
        const u64 target = immediate(2);
        if (pop() != 0) at_ = target;
        break;
      }
      case kGoto: at_ = immediate(2); break;
      case kConst8: push(immediate(1)); break;
      case kConst16: push(immediate(2)); break;
      case kConst32: push(immediate(4)); break;
      case kConst64: push(immediate(8)); break;
      case kReg: push_if(context_.reg(static_cast<unsigned>(immediate(2)))); break;
      case kDup: {
        const u64 value = pop();
        push(value);
        push(value);
        break;
      }
      case kPop: pop(); break;
      case kSwap: {
        const u64 b = pop(), a = pop();
        push(b);
        push(a);
        break;
      }
      case kPick: {
        const u64 n = immediate(1);
        if (n < depth_) push(stack_[depth_ - 1 - n]);
        else good_ = false;
        break;
      }
      case kRot: {
        const u64 c = pop(), b = pop(), a = pop();
        push(c);
        push(a);
        push(b);
        break;
      }
      default: good_ = false;
    }
  }

  static std::optional<u64> combine(u8 op, u64 a, u64 b) {
    const i64 sa = static_cast<i64>(a), sb = static_cast<i64>(b);
    switch (op) {
      case kAdd: return a + b;
      case kSub: return a - b;
      case kMul: return a * b;
      case kDivSigned:
        if (b == 0) return std::nullopt;
        return sb == -1 ? 0 - a : static_cast<u64>(sa / sb);
      case kDivUnsigned: return b != 0 ? std::optional(a / b) : std::nullopt;
      case kRemSigned:
        if (b == 0) return std::nullopt;
        return sb == -1 ? 0 : static_cast<u64>(sa % sb);
      case kRemUnsigned: return b != 0 ? std::optional(a % b) : std::nullopt;
      case kLsh: return b < 64 ? a << b : 0;
      case kRshSigned: return static_cast<u64>(sa >> (b < 64 ? b : 63));
      case kRshUnsigned: return b < 64 ? a >> b : 0;
      case kBitAnd: return a & b;
      case kBitOr: return a | b;
      case kBitXor: return a ^ b;
      case kEqual: return a == b;
      case kLessSigned: return sa < sb;
      default: return a < b;
    }
  }

  std::span<const u8> code_;
  const AgentContext& context_;
  std::array<u64, 64> stack_{};
  std::size_t depth_ = 0, at_ = 0;
  bool good_ = true;
};

}  // namespace

std::optional<u64> evaluate(std::span<const u8> code, const AgentContext& context) { return Evaluation(code, context).run(); }

}  // namespace callgate::gdb
