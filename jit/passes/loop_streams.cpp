#include "jit/passes/loop_streams.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "jit/passes/flags_liveness.h"
#include "jit/passes/last_jump.h"
#include "jit/passes/register_steps.h"

namespace callgate::jit {

namespace {

/// All that the rounds touch of a stream: not much of a page, or they'd seldom lie in one.
constexpr i64 kMostBytes = 1024;
constexpr unsigned kFewestRounds = 8, kMostRounds = 64;

constexpr std::array<u8, kGprSlots> none_of_them() {
  std::array<u8, kGprSlots> none{};
  none.fill(kGprZero);
  return none;
}

class Planner {
 public:
  explicit Planner(ir::Block& block) : block_(block) {}

  std::optional<LoopPlan> plan() {
    if (!jumps_to_itself(block_) || !defines_its_flags()) return std::nullopt;
    for (const ir::BlockInsn& b : block_.insns)
      if (!walk(b)) return std::nullopt;
    if (!finish_streams()) return std::nullopt;
    for (ir::BlockInsn& b : block_.insns) b.may_leave = false;
    flags_liveness(block_);
    return std::move(plan_);
  }

 private:
  /// A round reads no flags that another one left, and leaves none of those that it found.
  bool defines_its_flags() const {
    u32 defined = 0;
    for (const ir::BlockInsn& b : block_.insns) {
      if (b.flags_read & ~defined) return false;
      defined |= b.flags_written;
      if (b.exits && defined != kArithmetic) return false;
    }
    return defined == kArithmetic;
  }

  bool walk(const ir::BlockInsn& b) {
    if (b.count == 0) return false;
    bool conditional = false;
    unsigned alignment = 1;
    for (u32 n = b.first; n < b.first + b.count; n++) {
      ir::Op& op = block_.ops[n];
      using enum ir::Opcode;
      switch (op.opcode) {
        case LeaveIf: case Resolve: return false;
        case CheckAligned:
          alignment = static_cast<unsigned>(op.imm);
          op.group = 1;  // whichever: it is checked in front
          break;
        case Load: case Modify: case Store:
          if (conditional || !access(op, alignment)) return false;
          alignment = 1;
          break;
        case When: conditional = true; break;
        case EndWhen: conditional = false; break;
        case WriteGpr: {
          const std::optional<i64> by = conditional ? std::nullopt : constant_step(block_, op);
          const u8 by_register = conditional || by ? kGprZero : register_step(block_, op);
          ever_moved_ |= 1u << op.reg;
          if (by) moved_[op.reg] += *by;
          else if (by_register != kGprZero) move_by(op.reg, by_register);
          else lost_ |= 1u << op.reg;
          break;
        }
        default: break;
      }
    }
    return true;
  }

  bool access(ir::Op& op, unsigned alignment) {
    const ir::Mem& m = block_.mems[op.mem];
    if (m.moved != ir::kNoValue || m.asize != 8 || m.disp != static_cast<i32>(m.disp) || !(block_.mode.zero_bases >> m.seg & 1)) return false;
    const i64 at = moved_[m.base] + (moved_[m.index] << m.scale) + m.disp;
    const bool write = op.opcode != ir::Opcode::Load;
    auto s = std::find_if(plan_.streams.begin(), plan_.streams.end(), [&](const LoopStream& x) {
      const i64 low = std::min(x.low, at), high = std::max(x.low + x.span, at + op.size);
      return x.base == m.base && x.index == m.index && x.scale == m.scale && high - low <= kMostBytes / 2;
    });
    if (s == plan_.streams.end()) {
      if (plan_.streams.size() == ir::kMostGroups) return false;
      LoopStream fresh;
      fresh.base = m.base;
      fresh.index = m.index;
      fresh.scale = m.scale;
      fresh.low = at;
      s = plan_.streams.insert(s, fresh);
    }
    const i64 low = std::min(s->low, at), high = std::max(s->low + s->span, at + op.size);
    s->low = low;
    s->span = static_cast<u32>(high - low);
    s->write |= write;
    s->steps_before = std::max({s->steps_before, moved_times_[m.base], moved_times_[m.index]});
    if (alignment > 1) {
      if (s->alignment > 1 && (s->alignment != alignment || (at - s->aligned_at) % alignment != 0)) return false;
      s->alignment = alignment;
      s->aligned_at = at;
    }
    op.group = static_cast<u8>(s - plan_.streams.begin() + 1);
    op.probes = false;
    return true;
  }

  bool finish_streams() {
    i64 most = 1;
    for (LoopStream& s : plan_.streams) {
      if ((lost_ >> s.base | lost_ >> s.index) & 1) return false;
      if (!take_register_step(s)) return false;
      s.step = moved_[s.base] + (moved_[s.index] << s.scale);
      s.base_moves = ever_moved_ >> s.base & 1;
      s.index_moves = ever_moved_ >> s.index & 1;
      if (s.step % s.alignment != 0 || std::abs(s.step) > kMostBytes) return false;
      if (std::abs(s.low) > i64{1} << 30) return false;
      most = std::max(most, std::abs(s.step));
    }
    plan_.rounds = static_cast<unsigned>(std::min<i64>(kMostRounds, kMostBytes / 2 / most));
    return plan_.rounds >= kFewestRounds;
  }

  void move_by(unsigned reg, u8 by) {
    if (moved_times_[reg] != 0 && moved_by_[reg] != by) lost_ |= 1u << reg;
    moved_by_[reg] = by;
    moved_times_[reg]++;
  }

  /// A stream that moves by a register moves by nothing else, and that register stays as it is.
  bool take_register_step(LoopStream& s) {
    const u8 base = moved_by_[s.base], index = moved_by_[s.index];
    if (base == kGprZero && index == kGprZero) return true;
    const u8 by = base != kGprZero ? base : index;
    const bool both = base != kGprZero && index != kGprZero;
    if (both || s.alignment > 1 || moved_[s.base] != 0 || moved_[s.index] != 0) return false;
    if (lost_ >> by & 1 || moved_[by] != 0 || moved_by_[by] != kGprZero) return false;
    s.step_register = by;
    s.step_scale = index != kGprZero ? s.scale : 0;
    s.steps = moved_times_[base != kGprZero ? s.base : s.index];
    plan_.steps_by_registers = true;
    return true;
  }

  ir::Block& block_;
  i64 moved_[kGprSlots] = {};  ///< what has been added to a register in this round
  std::array<u8, kGprSlots> moved_by_ = none_of_them();  ///< the register that is added to one
  unsigned moved_times_[kGprSlots] = {};                     ///< how often, so far
  u32 lost_ = 0;               ///< bit per register: written otherwise
  u32 ever_moved_ = 0;         ///< bit per register: written at all, be it there and back again (PUSH and POP)
  LoopPlan plan_;
};

}  // namespace

bool jumps_to_itself(const ir::Block& block) {
  const LastJump jump = last_jump(block);
  return jump.kind == LastJump::Conditional && jump.target == block.rip;
}

std::optional<LoopPlan> plan_loop(ir::Block& block) { return Planner(block).plan(); }

}  // namespace callgate::jit
