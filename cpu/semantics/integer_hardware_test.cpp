// Every integer row against the host's processor: registers, defined flags and memory after the instruction, with hard
// operands. The rows say how to encode them; what they do comes from outside.
#include "cpu/semantics/host_insn.h"

#if defined(__x86_64__)

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>

#include "cpu/semantics/host_features.h"
#include "cpu/semantics/test_cpu.h"
#include "cpu/table/encoding.h"
#include "cpu/table/table.h"
#include "cpu/table/vex_prefix.h"
#include "cpu/value_builder.h"

using namespace callgate;
using namespace callgate::test;

namespace {

using Random = std::mt19937_64;

u64 hard_value(Random& random) {
  static constexpr u64 kHard[] = {0,      1,          2,          3,          9,          0xF,
                                  0x10,   0x7F,       0x80,       0x81,       0xFF,       0x100,
                                  0x7FFF, 0x8000,     0x8001,     0xFFFF,     0x10000,    0x7FFFFFFF,
                                  ~u64{0}, 0x80000000, 0x80000001, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFFFFFF,
                                  u64{1} << 63, (u64{1} << 63) + 1, 0xFFFFFFFF80000000, 0xFFFFFFFF7FFFFFFF};
  const u64 v = kHard[random() % std::size(kHard)];
  switch (random() % 4) {
    case 0: return random();
    case 1: return v ^ random() << (random() & 63);
    default: return v;
  }
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// One instruction with its operands.
struct Case {
  const Row* row;
  unsigned width;
  bool memory;
  std::vector<u8> code;
  HostState in;
};

constexpr u64 kOperand = HostInsn::kData + 0x1000;
constexpr u64 kStackTop = HostInsn::kData + 0x5000;

Case make_case(const Row& row, unsigned width, bool memory, Random& random) {
  const Encoding e = parse_encoding(row);
  const std::string_view name = row.name;
  Case t{&row, width, memory, {}, {}};
  for (u64& r : t.in.gpr) r = hard_value(random);
  t.in.rflags = random() & kArithmetic;
  t.in.gpr[RSP] = kStackTop + random() % 16;
  // A byte in the page, or one before its end.
  t.in.gpr[RBX] = kOperand + (random() % 2 ? random() % 0x1000 : 0xFF0 + random() % 0x20);
  if (is_one_of(name, {"enter", "leave"})) t.in.gpr[RBP] = kStackTop + 0x800;
  if (is_one_of(name, {"cmpxchg16b"}) && random() % 8) t.in.gpr[RBX] &= ~u64{15};

  // Half of the divisions have a dividend that is no longer than the divisor: they don't fault.
  if (is_one_of(name, {"div", "idiv"}) && random() % 2) {
    t.in.gpr[RDX] = name == "div" ? 0 : static_cast<u64>(static_cast<i64>(t.in.gpr[RAX] << (64 - 8 * width)) >> 63);
    if (random() % 2) t.in.gpr[RAX] = sign_extend(random(), 1 + random() % 8);
  }

  u8 rex = width == 8 || e.rexw_only ? 0x48 : 0;
  if (random() % 2) rex |= 0x40 | (random() & 5);
  const auto pick_register = [&](u8 extension) {
    for (;;) {
      const unsigned r = random() & 7;
      const bool extended = rex & extension;
      if (r == RSP && !extended) continue;  // the byte registers AH to BH get their turn without REX as 5 to 7
      if (memory && r == RBX && !extended) continue;
      return r;
    }
  };
  const unsigned reg = e.extension >= 0 ? static_cast<unsigned>(e.extension) : pick_register(4);
  if (memory) rex &= 0xFE;  // the base stays RBX
  // Bit strings: an index that stays in the data. The register keeps its hard upper part.
  if (memory && is_one_of(name, {"bt", "bts", "btr", "btc"}) && e.extension < 0) {
    u64& index = t.in.gpr[reg | (rex & 4 ? 8 : 0)];
    const i64 near = static_cast<i64>(random() % 4096) - 2048;
    if (width == 8) index = static_cast<u64>(near);
    else index = (index & ~low_mask(8 * width)) | (static_cast<u64>(near) & low_mask(8 * width));
  }

  if (e.vex) {
    t.code.resize(3);
    VexFields f{bool(rex & 4), false, bool(rex & 1), width == 8, false, static_cast<u8>(random() % 16)};
    while (f.vvvv == RSP) f.vvvv = random() % 16;
    put_vex3(t.code.data(), e, f);
  } else {
    switch (e.prefix) {
      case MandatoryPrefix::P66: t.code.push_back(0x66); break;
      case MandatoryPrefix::PF2: t.code.push_back(0xF2); break;
      case MandatoryPrefix::PF3: t.code.push_back(0xF3); break;
      default: break;
    }
    if (width == 2) t.code.push_back(0x66);
    if (rex) t.code.push_back(rex);
    if (e.map != 0) t.code.push_back(0x0F);
    if (e.map > 1) t.code.push_back(e.map == 2 ? 0x38 : 0x3A);
  }
  u8 opcode = e.opcode;
  if (e.register_in_opcode) opcode |= static_cast<u8>(pick_register(1));
  if (e.condition_in_opcode) opcode |= random() & 15;
  t.code.push_back(opcode);
  if (e.has_modrm) {
    if (memory) {
      const u8 disp = static_cast<u8>(random());
      t.in.gpr[RBX] -= static_cast<u64>(static_cast<i8>(disp));
      t.code.push_back(static_cast<u8>(0x40 | reg << 3 | RBX));
      t.code.push_back(disp);
    } else {
      t.code.push_back(static_cast<u8>(0xC0 | reg << 3 | pick_register(1)));
    }
  }
  const auto immediate = [&](ImmKind kind) {
    unsigned size = 0;
    u64 v = hard_value(random);
    switch (kind) {
      case ImmKind::None: return;
      case ImmKind::Byte: size = 1; break;
      case ImmKind::Word: size = 2; v &= 0xFF; break;
      case ImmKind::OperandZ: size = width == 2 ? 2 : 4; break;
      case ImmKind::OperandV: size = width; break;
      case ImmKind::Moffs: size = 8; v = kOperand + random() % 0x1000; break;
      default: FAIL("no integer row has this immediate");
    }
    for (unsigned k = 0; k < size; k++) t.code.push_back(static_cast<u8>(v >> 8 * k));
  };
  immediate(e.imm);
  immediate(e.imm2);
  return t;
}

/// Flags that the manual leaves undefined for this case; `skip` when the result is, too.
u32 undefined_flags(const Case& t, bool& skip) {
  const std::string_view name = t.row->name;
  const std::string_view operands = t.row->operands;
  const bool once = operands.find(",1") != std::string_view::npos;
  const u8 raw = once ? 1 : operands.find("CL") != std::string_view::npos ? static_cast<u8>(t.in.gpr[RCX]) : t.code.back();
  const unsigned count = raw & (t.width == 8 ? 63 : 31);
  const unsigned width = 8 * (operands.size() > 1 && operands[1] == 'b' ? 1 : t.width);
  if (is_one_of(name, {"rol", "ror", "rcl", "rcr"})) return count <= 1 ? 0 : u32{kOF};
  if (is_one_of(name, {"shl", "shr", "sar", "shld", "shrd"})) {
    if (count == 0) return 0;
    const bool twice = operands.size() > 5;
    skip = twice && count > width;
    const bool carry = name != "sar" && count > width;
    return kAF | (count == 1 ? 0 : u32{kOF}) | (carry ? u32{kCF} : 0);
  }
  return t.row->flags.undefined;
}

std::string describe(const Case& t) {
  std::string text = std::string(t.row->encoding) + " " + t.row->name + ":";
  for (const u8 b : t.code) text += fmt::format(" {:02x}", b);
  text += fmt::format(" flags {:x}", t.in.rflags);
  for (unsigned r = 0; r < 16; r++) text += fmt::format(" r{}={:x}", r, t.in.gpr[r]);
  return text;
}

class Comparison {
 public:
  Comparison() : guest_(Mode::Long64) {
    Random random(1);
    for (u64 k = 0; k < HostInsn::kDataSize; k++) host_.data()[k] = static_cast<u8>(random());
    std::memcpy(guest_.ram() + HostInsn::kData, host_.data(), HostInsn::kDataSize);
    guest_.s().cpl = 3;
    guest_.cpu().refresh();
  }

  /// Runs the case on both; an empty string when they agree.
  std::string run(const Case& t) {
    CpuState& s = guest_.s();
    std::copy_n(t.in.gpr, 16, s.gpr);
    s.flags.set_value(static_cast<u32>(t.in.rflags) | kIF);
    s.rip = TestCpu::kCode;
    const auto fault = guest_.run(t.code);
    HostState host = t.in;
    host_.run(host, t.code);
    const bool memory_equal = std::memcmp(guest_.ram() + HostInsn::kData, host_.data(), HostInsn::kDataSize) == 0;
    std::string wrong;
    bool skip = false;
    const u32 undefined = undefined_flags(t, skip);
    if (fault.has_value() != host.faulted) {
      wrong = fault ? std::string("we raise ") + name_of(fault->vector) : "the host faults";
    } else if (!skip && !fault) {
      for (unsigned r = 0; r < 16; r++)
        if (s.gpr[r] != host.gpr[r]) wrong += fmt::format(" r{}={:x} but the host has {:x}", r, s.gpr[r], host.gpr[r]);
      const u32 differ = (s.flags.value() ^ static_cast<u32>(host.rflags)) & (kArithmetic | kDF) & ~undefined;
      if (differ) wrong += fmt::format(" flags {:x} but the host has {:x}", s.flags.value(), host.rflags);
      if (!memory_equal) wrong += " memory differs";
    } else if (fault && !memory_equal) {
      wrong = "memory changed by a fault";
    }
    if (!memory_equal) std::memcpy(guest_.ram() + HostInsn::kData, host_.data(), HostInsn::kDataSize);
    return wrong;
  }

 private:
  HostInsn host_;
  TestCpu guest_;
};

bool user_row(const Row& row) {
  if (row.attributes & (kNo64 | kBranch | kSystem)) return false;
  // PREFETCH with a register is #UD on AMD; UD0 is one byte shorter there.
  return !is_one_of(row.name, {"ud0", "ud1", "prefetch", "prefetchw"});
}

void compare_group(std::span<const Row> rows, unsigned rounds) {
  Comparison comparison;
  Random random(42);
  unsigned reported = 0;
  for (const Row& row : rows) {
    if (!user_row(row)) continue;
    if (!host_has(row.feature)) {
      MESSAGE("the host has no ", row.feature, ": ", row.name, " is not compared");
      continue;
    }
    const Encoding e = parse_encoding(row);
    const bool by_width = depends_on_width(row.operands) || (row.attributes & kWidths);
    for (const unsigned width : {2u, 4u, 8u}) {
      if (!by_width && !(row.attributes & kDef64) && width != 4) continue;
      if (e.vex && width == 2) continue;
      if ((row.attributes & kDef64) && width == 4) continue;
      for (const bool memory : {false, true}) {
        if (row.handlers.exec[1][memory] == nullptr) continue;
        if (e.has_modrm ? (memory ? !e.memory_ok : !e.register_ok) : memory) continue;
        for (unsigned k = 0; k < rounds; k++) {
          const Case t = make_case(row, width, memory, random);
          const std::string wrong = comparison.run(t);
          if (!wrong.empty() && reported++ < 20) FAIL_CHECK(describe(t) << wrong);
        }
      }
    }
  }
  CHECK(reported == 0);
}

}  // namespace

TEST_CASE("arithmetic and logic equal the host's processor") { compare_group(arithmetic_rows(), 1000); }
TEST_CASE("shifts, rotates and bit operations equal the host's processor") { compare_group(bit_rows(), 1000); }
TEST_CASE("BMI1 and BMI2 equal the host's processor") {
  if (!host_has("bmi1") || !host_has("bmi2")) {
    MESSAGE("skipped: the host's processor has no BMI1 and BMI2");
    return;
  }
  compare_group(bmi_rows(), 1000);
}
TEST_CASE("POPCNT, LZCNT, TZCNT, ADX, CRC32 and MOVBE equal the host's processor") {
  compare_group(integer_extension_rows(), 1000);
}
TEST_CASE("moves, exchanges, the stack and flag instructions equal the host's processor") {
  compare_group(data_rows(), 400);
}

// Flags are kept lazily: what one instruction leaves of them must be right for the next one that changes some of them.
TEST_CASE("sequences of flag-changing instructions equal the host's processor") {
  std::vector<const Row*> rows;
  for (const auto group : {arithmetic_rows(), bit_rows(), data_rows()})
    for (const Row& row : group)
      if (user_row(row) && row.flags.undefined == 0 && row.handlers.exec[1][0] != nullptr &&
          is_one_of(row.name, {"add", "adc", "sub", "sbb", "cmp", "inc", "dec", "neg", "not_", "rol", "ror", "rcl", "rcr", "setcc",
                               "cmovcc", "clc", "stc", "cmc", "lahf", "sahf", "xadd", "cmpxchg", "movzx"}))
        rows.push_back(&row);
  Comparison comparison;
  Random random(3);
  unsigned reported = 0;
  for (unsigned k = 0; k < 30000 && reported < 10; k++) {
    Case sequence = make_case(*rows[random() % rows.size()], 4, false, random);
    for (unsigned n = random() % 8; n != 0; n--) {
      const Case next = make_case(*rows[random() % rows.size()], 2u << random() % 3, false, random);
      sequence.code.insert(sequence.code.end(), next.code.begin(), next.code.end());
    }
    sequence.row = rows[0];
    const std::string wrong = comparison.run(sequence);
    if (!wrong.empty() && reported++ < 10) FAIL_CHECK(describe(sequence) << wrong);
  }
}

#endif
