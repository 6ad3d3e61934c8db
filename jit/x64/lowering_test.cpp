// Each native lowering against the portable semantic: random instructions with registers and immediates, of every width,
// are emitted as blocks of one to four and run, with random masks of the flags that somebody reads behind them. Registers
// and those flags must be as the handlers leave them; who leaves in the middle leaves all as it was.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <random>

#include "cpu/decoder.h"
#include "cpu/semantics/test_cpu.h"
#include "cpu/table/row.h"
#include "jit/build_block.h"
#include "jit/passes/flags_liveness.h"
#include "jit/translator.h"
#include "jit/x64/test_bench.h"

using namespace callgate;
using namespace callgate::jit;

namespace {

using Random = std::mt19937_64;

/// Opcodes, and which ModRM.reg they need: -1 any, -2 no ModRM.
struct Form {
  std::vector<u8> opcode;
  int first_reg = -1, last_reg = -1;
  bool prefixed = false;  ///< 66, F3 or F2 belong to the opcode
};

std::vector<Form> forms() {
  std::vector<Form> f;
  for (unsigned op = 0; op < 8; op++)
    for (unsigned way = 0; way < 6; way++) f.push_back({{static_cast<u8>(op << 3 | way)}, way < 4 ? -1 : -2});
  for (const u8 op : {0x69, 0x6B, 0x63, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B}) f.push_back({{op}});
  for (const u8 op : {0x80, 0x81, 0x83, 0xC0, 0xC1, 0xD0, 0xD1, 0xD2, 0xD3}) f.push_back({{op}, 0, 7});
  f.push_back({{0xF6}, 0, 7});
  f.push_back({{0xF7}, 0, 7});
  f.push_back({{0xFE}, 0, 1});
  f.push_back({{0xFF}, 0, 1});
  for (const u8 op : {0x98, 0x99, 0x9E, 0x9F, 0xF5, 0xF8, 0xF9, 0xA8, 0xA9, 0x91, 0x93, 0x97, 0xB3, 0xBA, 0xB4}) f.push_back({{op}, -2});
  for (const u8 op : {0xA3, 0xAB, 0xB3, 0xBB, 0xA4, 0xA5, 0xAC, 0xAD, 0xAF, 0xBC, 0xBD, 0xB0, 0xB1, 0xC0, 0xC1, 0xB6, 0xB7, 0xBE, 0xBF})
    f.push_back({{0x0F, op}});
  f.push_back({{0x0F, 0xBA}, 4, 7});
  for (u8 cc = 0; cc < 16; cc++) {
    f.push_back({{0x0F, static_cast<u8>(0x40 | cc)}});
    f.push_back({{0x0F, static_cast<u8>(0x90 | cc)}, 0, 0});
  }
  for (const u8 op : {0xC8, 0xC9, 0xCA, 0xCE}) f.push_back({{0x0F, op}, -2});
  f.push_back({{0x0F, 0x38, 0xF6}, -1, 0, true});                     // ADCX, ADOX by their prefix
  for (const u8 op : {0xF0, 0xF1}) f.push_back({{0x0F, 0x38, op}, -1, 0, true});  // CRC32
  return f;
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

std::vector<u8> random_instruction(Random& random, const std::vector<Form>& all) {
  const Form& f = all[random() % all.size()];
  std::vector<u8> bytes;
  if (f.prefixed) bytes.push_back(std::array<u8, 3>{0x66, 0xF3, 0xF2}[random() % 3]);
  if (random() % 4 == 0) bytes.push_back(0x66);
  if (random() % 2 == 0) bytes.push_back(static_cast<u8>(0x40 | random() % 16));
  for (const u8 byte : f.opcode) bytes.push_back(byte);
  if (f.first_reg != -2) {
    const u64 reg = f.first_reg == -1 ? random() % 8 : static_cast<u64>(f.first_reg) + random() % static_cast<u64>(f.last_reg - f.first_reg + 1);
    bytes.push_back(static_cast<u8>(0xC0 | reg << 3 | random() % 8));
  }
  for (unsigned n = 0; n < 8; n++) bytes.push_back(static_cast<u8>(random_operand(random)));
  Insn insn;
  if (decode({bytes.data(), bytes.size()}, CodeSize::Bits64, insn) != DecodeStatus::Ok) return {};
  bytes.resize(insn.length);
  return bytes;
}

}  // namespace

TEST_CASE("every lowering does what the portable semantic does, for every width and mask of flags") {
  if (!translator_supported()) return;
  x64::TestBench bench;
  test::TestCpu t(test::Mode::Long64);
  Cpu& c = t.cpu();
  Random random(11);
  const auto all = forms();
  unsigned compared = 0, reported = 0;
  for (unsigned n = 0; n < 400'000 && reported < 10; n++) {
    std::vector<u8> code;
    for (u64 k = 1 + random() % 4; k != 0; k--) {
      const auto bytes = random_instruction(random, all);
      for (const u8 byte : bytes) code.push_back(byte);
    }
    ir::Block block;
    block.mode = mode_of(c);
    block.rip = test::TestCpu::kCode;
    build_block(code, kMostInsns, block);
    bool native = !block.insns.empty();
    for (const auto& b : block.insns) native = native && b.count != 0 && x64::can_lower(block, b, bench.host);
    if (!native) continue;
    const std::string wrong = ir::verify(block);
    REQUIRE_MESSAGE(wrong.empty(), wrong, "\n", ir::print(block));
    const u32 live = random() % 4 == 0 ? u32{kArithmetic} : static_cast<u32>(random()) & kArithmetic;
    flags_liveness(block, live);

    for (unsigned r = 0; r < 16; r++) c.s.gpr[r] = random_operand(random);
    c.s.flags.set_value(kFlagsFixed | (static_cast<u32>(random()) & kArithmetic));
    const CpuState before = c.s;
    bool faulted = false;
    try {
      for (const auto& b : block.insns) b.insn.exec(c, b.insn);
    } catch (const Fault&) {
      faulted = true;
    }
    const CpuState expected = c.s;
    c.s = before;

    const Exit why = bench.run(block, c);
    if (why == Exit::Bail) continue;  // a division that faults, or might: the interpreter's
    const u32 flags_differ = (c.s.flags.value() ^ expected.flags.value()) & live;
    bool same = why == Exit::Link && !faulted && flags_differ == 0;
    for (unsigned r = 0; r < 16; r++) same = same && c.s.gpr[r] == expected.gpr[r];
    compared++;
    if (same) continue;
    reported++;
    std::string text = fmt::format("live {:#x}, flags differ {:#x}, exit {}{}\n{}", live, flags_differ, static_cast<unsigned>(why),
                       faulted ? ", it should fault" : "", ir::print(block));
    for (unsigned r = 0; r < 16; r++)
      if (c.s.gpr[r] != expected.gpr[r]) text += fmt::format("r{}: {:#x}, expected {:#x}, before {:#x}\n", r, c.s.gpr[r], expected.gpr[r], before.gpr[r]);
    FAIL_CHECK(text);
  }
  CHECK(compared > 250'000);
}
