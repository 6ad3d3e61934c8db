// Each operation of the IR, on each width and with each mask of flags that somebody wants: blocks made by hand, without the
// decoder and the semantics, with random operands in registers, memory and constants. What is emitted must do what the
// portable references do (cpu/ir/test_evaluator.h).
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>
#include <random>

#include "cpu/ir/test_evaluator.h"
#include "cpu/semantics/test_cpu.h"
#include "jit/build_block.h"
#include "jit/passes/flags_liveness.h"
#include "jit/passes/probe_groups.h"
#include "jit/translator.h"
#include "jit/x64/test_bench.h"

using namespace callgate;
using namespace callgate::jit;
using ir::Opcode;
using ir::OpInfo;
using ir::OpKind;
using ir::ValueId;

namespace {

using Random = std::mt19937_64;

/// Where blocks have their memory operands, in one page; RBP and R13 point to its middle, and nothing writes these two.
constexpr u64 kData = 0x20000, kDataMiddle = kData + kPageSize / 2;
constexpr u8 kBases[] = {RBP, R13, kGprZero};

template <class... A, class Op>
const OpInfo* info_of(const Op&) {
  return &ir::op_info<Op, A...>;
}

/// An operation on certain types.
struct Tested {
  const OpInfo* info;
  unsigned offset[3] = {};  ///< of a struct result's members
  unsigned members = 0;
};

template <class T>
void add_width(std::vector<Tested>& all) {
  const auto add = [&](const OpInfo* info) { all.push_back({info}); };
  for (const OpInfo* i : {info_of<T, T>(alu::add), info_of<T, T>(alu::adc), info_of<T, T>(alu::sub), info_of<T, T>(alu::sbb),
                          info_of<T, T>(alu::and_), info_of<T, T>(alu::or_), info_of<T, T>(alu::xor_), info_of<T>(alu::inc),
                          info_of<T>(alu::dec), info_of<T>(alu::neg), info_of<T>(alu::not_), info_of<T, T>(alu::equal),
                          info_of<T>(alu::non_zero), info_of<T>(alu::is_zero), info_of<T, u8>(alu::shl), info_of<T, u8>(alu::shr),
                          info_of<T, u8>(alu::sar), info_of<T, u8>(alu::rol), info_of<T, u8>(alu::ror), info_of<T, u8>(alu::rcl),
                          info_of<T, u8>(alu::rcr)})
    add(i);
  using P = alu::Product<T>;
  using Q = alu::Quotient<T>;
  all.push_back({info_of<T, T>(alu::mul), {offsetof(P, low), offsetof(P, high)}, 2});
  all.push_back({info_of<T, T>(alu::imul), {offsetof(P, low), offsetof(P, high)}, 2});
  all.push_back({info_of<T, T, T>(alu::div), {offsetof(Q, quotient), offsetof(Q, remainder), offsetof(Q, error)}, 3});
  all.push_back({info_of<T, T, T>(alu::idiv), {offsetof(Q, quotient), offsetof(Q, remainder), offsetof(Q, error)}, 3});
  if constexpr (sizeof(T) >= 2) {
    for (const OpInfo* i : {info_of<T>(alu::sign_fill), info_of<T, T, u8>(alu::shld), info_of<T, T, u8>(alu::shrd),
                            info_of<T, T>(alu::bt), info_of<T, T>(alu::bts), info_of<T, T>(alu::btr), info_of<T, T>(alu::btc),
                            info_of<T>(alu::bit_string_offset), info_of<T>(alu::bsf), info_of<T>(alu::bsr), info_of<T>(alu::bswap),
                            info_of<T, T>(alu::imul_low), info_of<T>(alu::popcnt), info_of<T>(alu::tzcnt), info_of<T>(alu::lzcnt)})
      add(i);
  }
  if constexpr (sizeof(T) >= 4)
    for (const OpInfo* i : {info_of<T, T>(alu::shlx), info_of<T, T>(alu::shrx), info_of<T, T>(alu::sarx), info_of<T, u8>(alu::rorx)})
      add(i);
}

std::vector<Tested> all_operations() {
  std::vector<Tested> all;
  add_width<u8>(all);
  add_width<u16>(all);
  add_width<u32>(all);
  add_width<u64>(all);
  for (const OpInfo* i : {info_of<bool>(alu::logical_not), info_of<bool>(alu::set_carry), info_of<>(alu::complement_carry),
                          info_of<>(alu::low_flags), info_of<u8>(alu::set_low_flags), info_of<>(alu::clear_flags)})
    all.push_back({i});
  return all;
}

struct FlagUse {
  u32 read = 0, written = 0;
};
FlagUse flags_of(OpKind kind) {
  using enum OpKind;
  constexpr u32 kAll = kArithmetic;
  switch (kind) {
    case adc: case sbb: return {kCF, kAll};
    case inc: case dec: return {0, kAll & ~u32{kCF}};
    case rol: case ror: return {0, kCF | kOF};
    case rcl: case rcr: return {kCF, kCF | kOF};
    case bt: case bts: case btr: case btc: return {0, kCF};
    case set_carry: return {0, kCF};
    case complement_carry: return {kCF, kCF};
    case low_flags: return {kAll & ~u32{kOF}, 0};
    case set_low_flags: return {0, kAll & ~u32{kOF}};
    case div: case idiv: return {0, kAll};  // by clear_flags behind it
    case not_: case equal: case non_zero: case is_zero: case logical_not: case sign_fill: case bit_string_offset: case bswap:
    case shlx: case shrx: case sarx: case rorx:
      return {};
    default: return {0, kAll};
  }
}

u64 random_operand(Random& random) {
  static constexpr u64 kHard[] = {0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, ~u64{0}, u64{1} << 63};
  switch (random() % 4) {
    case 0: return kHard[random() % std::size(kHard)];
    case 1: return random() % 70;
    case 2: return random() >> random() % 64;
    default: return random();
  }
}

/// Makes instructions as semantics do: operands are read, one of them perhaps from memory, then comes what may leave, then
/// results are written.
class Maker {
 public:
  Maker(ir::Block& block, Random& random) : block_(block), e_(block), random_(random) { e_.insn = &insn_; }

  void instruction(const Tested& t) {
    const OpInfo& info = *t.info;
    begin();
    bool constant_count = false;
    std::vector<ValueId> args;
    const bool modifies = has_memory_form(info.kind) && random_() % 4 == 0;
    if (info.kind == OpKind::logical_not) {
      args.push_back(e_.compute(*info_of<u32>(alu::is_zero), {operand(4, false)}));
    } else if (info.kind == OpKind::set_carry) {
      args.push_back(e_.constant(random_() % 2, 1));
    } else {
      for (unsigned a = 0; a < info.args; a++) {
        const bool count = a == info.args - 1u && is_shift(info.kind);
        const bool must_be_constant = info.kind == OpKind::rorx && a == 1;
        if (a == 0 && modifies) args.push_back(modify(info.arg_size[0]));
        else if (must_be_constant || (count && random_() % 2 == 0)) args.push_back(e_.constant(random_operand(random_), info.arg_size[a]));
        else args.push_back(operand(info.arg_size[a], a != 0 && t.members != 3));
        if (count) constant_count = e_.op(args[a]).opcode == Opcode::Constant && (e_.op(args[a]).imm & (info.result_size == 8 ? 63 : 31)) != 0;
      }
    }
    const ValueId value = compute(info, args);
    FlagUse flags = flags_of(info.kind);
    if (is_shift(info.kind) && info.flags && !constant_count) flags.read = kArithmetic;  // a count of 0 keeps them
    if (t.members != 0) {
      if (t.members == 3) {
        e_.leave_if(e_.member(value, t.offset[2], 1));
        e_.compute(*info_of<>(alu::clear_flags), {});
      }
      const unsigned size = info.arg_size[0];
      const u8 low = any_register(), high = static_cast<u8>(low ^ 1);  // two registers
      e_.write_gpr(low, size, e_.member(value, t.offset[0], size));
      if (!fixed(high)) e_.write_gpr(high, size, e_.member(value, t.offset[1], size));
    } else if (modifies) {
      e_.update(info.result_size, value);
    } else if (info.kind == OpKind::equal || info.kind == OpKind::non_zero || info.kind == OpKind::is_zero || info.kind == OpKind::logical_not) {
      const unsigned size = 1u << random_() % 4;
      const ValueId yes = operand(size, true), no = e_.read_gpr(any_register(), size);
      e_.write_gpr(any_register(), size, e_.select(value, yes, no, size));
    } else if (info.kind == OpKind::bsf || info.kind == OpKind::bsr) {
      // What a scan of 0 gives is not to be used.
      e_.when(e_.compute(*non_zero_of(info.result_size), {args[0]}));
      e_.write_gpr(any_register(), info.result_size, value);
      e_.end_when();
    } else if (info.result_size != 0) {
      const bool dropped = (info.kind == OpKind::sub || info.kind == OpKind::and_) && random_() % 4 == 0;
      if (!dropped) write(value, info.result_size);
    }
    end(flags);
  }

  /// Moves, extensions, conditions: what has no OpInfo.
  void instruction_without_operation() {
    begin();
    const unsigned size = 1u << random_() % 4;
    FlagUse flags;
    switch (random_() % 7) {
      case 0: write(operand(size, true), size); break;
      case 1: {
        const unsigned wide = std::min(8u, size * 2);
        if (wide != size) write(e_.convert(random_() % 2 ? Opcode::ZeroExtend : Opcode::SignExtend, wide, operand(size, false)), wide);
        break;
      }
      case 2: {
        const unsigned narrow = std::max(1u, size / 2);
        if (narrow != size) write(e_.convert(Opcode::Truncate, narrow, operand(size, false)), narrow);
        break;
      }
      case 3: {
        const unsigned cc = random_() % 16;
        flags.read = kArithmetic;
        const ValueId condition = e_.condition(cc), yes = operand(size, false), no = e_.read_gpr(any_register(), size);
        e_.write_gpr(any_register(), size, e_.select(condition, yes, no, size));
        break;
      }
      case 4: flags.read = kArithmetic; write(e_.condition(random_() % 16), 1); break;
      case 5: e_.store(memory(size), size, random_() % 2 ? e_.read_gpr(any_register(), size) : e_.constant(random_operand(random_), size)); break;
      default: {
        ir::Mem m{any_register(), random_() % 2 ? any_register() : u8{kGprZero}, static_cast<u8>(random_() % 4),
                  static_cast<u8>(random_() % 3 == 0 ? 4 : 8), DS, static_cast<i32>(random_operand(random_)), ir::kNoValue};
        if (m.index == RSP) m.index = kGprZero;
        e_.write_gpr(any_register(), std::max(4u, size), e_.address(m, std::max(4u, size)));
      }
    }
    end(flags);
  }

 private:
  static bool is_shift(OpKind kind) {
    using enum OpKind;
    return kind == shl || kind == shr || kind == sar || kind == rol || kind == ror || kind == rcl || kind == rcr || kind == shld || kind == shrd;
  }
  /// x86 has it with memory as its destination.
  static bool has_memory_form(OpKind kind) {
    using enum OpKind;
    switch (kind) {
      case add: case adc: case sub: case sbb: case and_: case or_: case xor_: case inc: case dec: case neg: case not_: case bts:
      case btr: case btc:
        return true;
      default: return is_shift(kind);
    }
  }
  static const OpInfo* non_zero_of(unsigned size) {
    return size == 2 ? info_of<u16>(alu::non_zero) : size == 4 ? info_of<u32>(alu::non_zero) : info_of<u64>(alu::non_zero);
  }
  static bool fixed(u8 reg) { return reg == RBP || reg == R13; }
  u8 any_register() {
    for (;;)
      if (const u8 reg = random_() % 16; !fixed(reg)) return reg;
  }

  void begin() {
    const u64 rip = block_.insns.empty() ? block_.rip : block_.insns.back().rip + block_.insns.back().insn.length;
    insn_ = {};
    insn_.length = 4;
    b_ = {insn_, rip, static_cast<u32>(block_.ops.size())};
    e_.next_rip = rip + 4;
    has_memory_ = false;
  }
  void end(FlagUse flags) {
    b_.count = static_cast<u32>(block_.ops.size()) - b_.first;
    if (b_.count == 0) {
      e_.constant(0, 8);
      b_.count = 1;
    }
    for (u32 n = b_.first; n < b_.first + b_.count; n++) {
      const ir::Op& op = block_.ops[n];
      for (const ValueId a : op.args)
        if (a != ir::kNoValue) block_.ops[a].uses++;
      const bool access = op.opcode == Opcode::Load || op.opcode == Opcode::Modify || op.opcode == Opcode::Store;
      b_.may_leave |= access || op.opcode == Opcode::LeaveIf;
      if (access && block_.mems[op.mem].moved != ir::kNoValue) block_.ops[block_.mems[op.mem].moved].uses++;
    }
    b_.flags_read = flags.read;
    b_.flags_written = flags.written;
    block_.insns.push_back(b_);
  }

  ir::Mem memory(unsigned size) {
    has_memory_ = true;
    ir::Mem m;
    m.base = kBases[random_() % std::size(kBases)];
    // Somewhere in the page, far enough from its ends for a bit string.
    m.disp = static_cast<i64>(random_() % (kPageSize - 256 - size)) + 128 - static_cast<i64>(kPageSize / 2);
    if (m.base == kGprZero) m.disp += kDataMiddle;
    return m;
  }
  ValueId modify(unsigned size) { return e_.modify(memory(size), size); }
  /// An operand of the instruction.
  ValueId operand(unsigned size, bool may_be_constant) {
    const u64 choice = random_() % 8;
    if (choice == 0 && !has_memory_) return e_.load(memory(size), size);
    if (choice == 1 && may_be_constant) return e_.constant(random_operand(random_), size);
    if (choice == 2 && size == 1) return e_.read_gpr(random_() % 4, 1, true);
    if (choice == 3 && size < 8) return e_.convert(Opcode::Truncate, size, e_.read_gpr(any_register(), 2 * size));
    return e_.read_gpr(static_cast<unsigned>(random_() % 16), size);
  }
  void write(ValueId value, unsigned size) {
    if (size == 1 && random_() % 4 == 0) e_.write_gpr(random_() % 4, 1, value, true);
    else e_.write_gpr(any_register(), size, value);
  }
  ValueId compute(const OpInfo& info, const std::vector<ValueId>& args) {
    switch (args.size()) {
      case 0: return e_.compute(info, {});
      case 1: return e_.compute(info, {args[0]});
      case 2: return e_.compute(info, {args[0], args[1]});
      default: return e_.compute(info, {args[0], args[1], args[2]});
    }
  }

  ir::Block& block_;
  ir::Emitter e_;
  Random& random_;
  Insn insn_;
  ir::BlockInsn b_;
  bool has_memory_ = false;
};

/// A processor with memory in its TLB, beside a bench.
struct Fixture {
  Fixture() {
    c.tlb.fill(c.data_context(), kData, Access::Read);
    c.tlb.fill(c.data_context(), kData, Access::Write);
  }
  test::TestCpu t{test::Mode::Long64};
  Cpu& c = t.cpu();
  x64::TestBench bench;
  Random random{17};
  unsigned compared = 0, left = 0, reported = 0;

  std::string compare(const ir::Block& block, u32 live) {
    for (unsigned r = 0; r < 16; r++) c.s.gpr[r] = random_operand(random);
    c.s.gpr[RBP] = c.s.gpr[R13] = kDataMiddle;
    c.s.flags.set_value(kFlagsFixed | (static_cast<u32>(random()) & kArithmetic));
    u8* const data = t.ram() + kData;
    for (unsigned at = 0; at < kPageSize; at += 8) store_as<u64>(data + at, random_operand(random));
    const CpuState before = c.s;
    const std::vector<u8> memory_before(data, data + kPageSize);

    const Exit why = bench.run(block, c);
    const CpuState found = c.s;
    const std::vector<u8> memory_found(data, data + kPageSize);

    // The evaluator goes as far as emitted code did.
    CpuState expected = before;
    std::copy(memory_before.begin(), memory_before.end(), data);
    ir::Evaluator evaluator(block, expected, t.ram());
    const bool bailed = why == Exit::Bail;
    const u64 end = bailed ? bench.sites[c.engine.slot[kExit]].rip : block.next_rip();
    bool may_bail = false, must_bail = false;
    for (const ir::BlockInsn& b : block.insns) {
      if (b.rip == end) {
        for (u32 n = b.first; n < b.first + b.count; n++) may_bail |= block.ops[n].opcode == Opcode::LeaveIf;
        break;
      }
      if (!evaluator.execute(b)) {
        must_bail = true;
        break;
      }
    }
    const u32 shown = bailed ? u32{kArithmetic} : live;
    std::string wrong;
    if (bailed ? !may_bail : why != Exit::Link || must_bail) wrong += fmt::format("it came back for reason {}\n", static_cast<unsigned>(why));
    if (const u32 differ = (found.flags.value() ^ expected.flags.value()) & shown; differ != 0)
      wrong += fmt::format("flags {:#x}, expected {:#x}, before {:#x}; {:#x} differ\n", found.flags.value(), expected.flags.value(),
                           before.flags.value(), differ);
    for (unsigned r = 0; r < 16; r++)
      if (found.gpr[r] != expected.gpr[r])
        wrong += fmt::format("r{}: {:#x}, expected {:#x}, before {:#x}\n", r, found.gpr[r], expected.gpr[r], before.gpr[r]);
    for (unsigned at = 0; at < kPageSize; at++)
      if (memory_found[at] != data[at]) wrong += fmt::format("memory +{:#x}: {:#x}, expected {:#x}\n", at, memory_found[at], data[at]);
    compared++;
    left += bailed;
    return wrong;
  }

  /// Runs the passes as the translator does, and compares.
  void check(ir::Block& block, u32 live) {
    const std::string rules = ir::verify(block);
    REQUIRE_MESSAGE(rules.empty(), rules, "\n", ir::print(block));
    if (random() % 2 == 0) probe_groups(block);
    if (random() % 8 != 0) flags_liveness(block, live);
    else all_flags_live(block);
    const std::string wrong = compare(block, live);
    if (wrong.empty()) return;
    reported++;
    FAIL_CHECK(fmt::format("live {:#x}\n{}{}", live, wrong, ir::print(block)));
  }
  bool can_lower(const ir::Block& block) const {
    for (const ir::BlockInsn& b : block.insns)
      if (!x64::can_lower(block, b, bench.host)) return false;
    return true;
  }
  ir::Block new_block() {
    ir::Block block;
    block.mode = mode_of(c);
    block.rip = test::TestCpu::kCode;
    return block;
  }
};

/// The mask of arithmetic flags number n of 64.
u32 mask_of(unsigned n) {
  static constexpr u32 kFlags[6] = {kCF, kPF, kAF, kZF, kSF, kOF};
  u32 mask = 0;
  for (unsigned i = 0; i < 6; i++)
    if (n >> i & 1) mask |= kFlags[i];
  return mask;
}

}  // namespace

TEST_CASE("what the test says about an operation's flags is what its reference does") {
  Random random(3);
  for (const Tested& t : all_operations()) {
    if (!t.info->flags) continue;
    const FlagUse use = flags_of(t.info->kind);
    for (unsigned n = 0; n < 300; n++) {
      ir::OpValue args[3], result;
      for (auto& a : args)
        for (unsigned k = 0; k < 16; k += 8) store_as<u64>(a.bytes + k, random_operand(random));
      if (t.info->kind == OpKind::set_carry) args[0].bytes[0] &= 1;
      Flags before;
      before.set_arithmetic(static_cast<u32>(random()) & kArithmetic);
      Flags after = before;
      t.info->reference(args, &result, &after, nullptr);
      CHECK_MESSAGE(((before.arithmetic() ^ after.arithmetic()) & ~use.written) == 0, std::string(name_of(t.info->kind)));
    }
  }
}

TEST_CASE("every operation's lowering does what its portable reference does, on every width and for every mask of flags") {
  if (!translator_supported()) return;
  Fixture f;
  const auto all = all_operations();
  std::map<OpKind, unsigned> done;
  for (const Tested& t : all) {
    for (unsigned mask = 0; mask < 64 && f.reported < 10; mask++) {
      for (unsigned n = 0; n < 6; n++) {
        ir::Block block = f.new_block();
        Maker maker(block, f.random);
        // Alone, behind another one, and in front of one.
        if (n % 3 == 1) maker.instruction(all[f.random() % all.size()]);
        maker.instruction(t);
        if (n % 3 == 2) maker.instruction_without_operation();
        if (!f.can_lower(block)) continue;
        f.check(block, mask_of(mask));
        done[t.info->kind]++;
      }
    }
  }
  unsigned kinds = 0;
  for (unsigned kind = 1; kind < static_cast<unsigned>(OpKind::count); kind++) {
    const auto k = static_cast<OpKind>(kind);
    const bool lowered = done.contains(k);
    // RCL and RCR are their handlers'; of the others only what the host does differently.
    const bool may_be_missing = k == OpKind::rcl || k == OpKind::rcr || k == OpKind::lzcnt || !f.bench.host.logic_flags ||
                                !f.bench.host.shift_flags || !f.bench.host.rotate_flags || !f.bench.host.bit_test_flags;
    CHECK_MESSAGE((lowered || may_be_missing), std::string(name_of(k)));
    kinds += lowered;
  }
  MESSAGE(f.compared << " blocks of " << kinds << " kinds of operations, " << f.left << " of them left by a division");
}

TEST_CASE("random blocks of hand-made instructions do what the portable references do") {
  if (!translator_supported()) return;
  Fixture f;
  const auto all = all_operations();
  while (f.compared < 60'000 && f.reported < 10) {
    ir::Block block = f.new_block();
    Maker maker(block, f.random);
    for (u64 n = 2 + f.random() % 7; n != 0; n--) {
      if (f.random() % 3 == 0) maker.instruction_without_operation();
      else maker.instruction(all[f.random() % all.size()]);
    }
    if (f.can_lower(block)) f.check(block, static_cast<u32>(f.random()) & kArithmetic);
  }
}
