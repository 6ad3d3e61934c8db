#include "jit/passes/probe_groups.h"

#include <algorithm>

#include "jit/passes/register_steps.h"

namespace callgate::jit {

namespace {

/// The most bytes that one probe covers: the more, the likelier a page crossing that needn't be.
constexpr i64 kMostSpan = 192;

/// A register's value as its value at some earlier moment (the version) and a constant.
struct Tracked {
  u32 version = 0;
  i64 delta = 0;
};

struct Open {
  u8 base, index, scale;
  u32 base_version, index_version;
  i64 origin;     ///< the first access's place, in the versions' terms
  i64 low, high;  ///< of all accesses
  bool write;
  u32 first;      ///< op
  std::vector<u32> ops;
};

class Grouper {
 public:
  explicit Grouper(ir::Block& block) : block_(block) {}

  void run() {
    for (ir::BlockInsn& b : block_.insns) {
      if (b.count == 0) {
        forget_all();
        continue;
      }
      bool conditional = false;
      for (u32 n = b.first; n < b.first + b.count; n++) {
        const ir::Op& op = block_.ops[n];
        using enum ir::Opcode;
        switch (op.opcode) {
          case Load: access(n, false); break;
          case Modify: case Store: access(n, true); break;
          case When: conditional = true; break;
          case EndWhen: conditional = false; break;
          case WriteGpr: write(op, conditional); break;
          default: break;
        }
      }
    }
    forget_all();
    for (ir::BlockInsn& b : block_.insns) {
      if (b.count == 0) continue;
      b.may_leave = false;
      for (u32 n = b.first; n < b.first + b.count; n++) b.may_leave |= ir::may_leave(block_.ops[n]);
    }
  }

 private:
  void access(u32 n, bool write) {
    const ir::Op& op = block_.ops[n];
    const ir::Mem& m = block_.mems[op.mem];
    if (m.moved != ir::kNoValue || m.asize != 8 || m.disp != static_cast<i32>(m.disp) || !(block_.mode.zero_bases >> m.seg & 1)) return;
    const Tracked &base = registers_[m.base], &index = registers_[m.index];
    const i64 at = base.delta + (index.delta << m.scale) + m.disp;
    for (Open& g : open_) {
      if (g.base != m.base || g.index != m.index || g.scale != m.scale || g.base_version != base.version ||
          g.index_version != index.version)
        continue;
      const i64 low = std::min(g.low, at), high = std::max(g.high, at + op.size);
      if (high - low > kMostSpan) continue;
      g.low = low;
      g.high = high;
      g.write |= write;
      g.ops.push_back(n);
      return;
    }
    open_.push_back({m.base, m.index, m.scale, base.version, index.version, at, at, at + op.size, write, n, {n}});
  }

  // rsp = rsp + 8, rbx = rbx - 16: the register's new value is known by the old one.
  void write(const ir::Op& w, bool conditional) {
    Tracked& r = registers_[w.reg];
    if (!conditional)
      if (const auto by = constant_step(block_, w)) {
        r.delta += *by;
        return;
      }
    r.version = ++versions_;
    r.delta = 0;
  }

  void forget_all() {
    for (const Open& g : open_) {
      if (g.ops.size() < 2 || block_.groups.size() == ir::kMostGroups) continue;
      const u8 number = static_cast<u8>(block_.groups.size() + 1);
      block_.groups.push_back({static_cast<i32>(g.low - g.origin), static_cast<u32>(g.high - g.low), g.write});
      for (const u32 n : g.ops) block_.ops[n].group = number;
      block_.ops[g.first].probes = true;
    }
    open_.clear();
    for (Tracked& r : registers_) r = {++versions_, 0};
  }

  ir::Block& block_;
  Tracked registers_[kGprSlots];
  u32 versions_ = 0;
  std::vector<Open> open_;
};

}  // namespace

void probe_groups(ir::Block& block) { Grouper(block).run(); }

}  // namespace callgate::jit
