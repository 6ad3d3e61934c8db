// Instructions behind VEX, emitted for the host, against their handlers: random ones with registers and with memory, alone
// and in runs, with random masks of the flags that somebody reads behind them.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstring>
#include <map>
#include <random>
#include <string>

#include "cpu/decoder.h"
#include "cpu/semantics/test_cpu.h"
#include "cpu/table/row.h"
#include "jit/build_block.h"
#include "jit/passes/flags_liveness.h"
#include "jit/passes/order_ops.h"
#include "jit/translator.h"
#include "jit/x64/test_bench.h"

using namespace callgate;
using namespace callgate::jit;

namespace {

using Random = std::mt19937_64;
/// Where RDI points to; every memory operand is `[rdi + disp8]`.
constexpr u64 kData = 0x20000 + kPageSize / 2;
constexpr unsigned kDataBytes = 512;

u64 random_lane(Random& random) {
  static constexpr u64 kHard[] = {0, 1, 0x80, 0x3F800000, 0x3F8000003F800000, 0x3FF0000000000000, 0x7F8000007F800000,
                                  0x7FF0000000000000, 0x8000000000000000, 0x7FF8000000000001, 0x7FF0000000000001, 1ull << 20, ~u64{0}};
  switch (random() % 4) {
    case 0: return kHard[random() % std::size(kHard)];
    case 1: return random() % 70;
    case 2: return 0x3F00'0000'3F00'0000 + (random() & 0x00FF'FFFF'00FF'FFFF);
    default: return random();
  }
}

std::vector<u8> random_instruction(Random& random) {
  std::vector<u8> bytes;
  const u64 map = 1 + random() % 3;
  // R, X, B (inverted), W, vvvv (inverted), L, pp.
  bytes = {0xC4, static_cast<u8>((random() & 0x80) | 0x60 | map), static_cast<u8>(random()), static_cast<u8>(random())};
  if (random() % 2 == 0) bytes[2] |= 0x78;  // many take no second source
  if (map == 1 && bytes[3] == 0x77) return {0xC5, static_cast<u8>(random() % 2 ? 0xFC : 0xF8), 0x77};
  const bool memory = random() % 3 == 0;
  if (!memory && random() % 2) bytes[1] &= ~0x20;
  bytes.push_back(static_cast<u8>((memory ? 0x40 : 0xC0) | (random() & 0x38) | (memory ? u64{RDI} : random() % 8)));
  for (unsigned n = 0; n < 6; n++) bytes.push_back(static_cast<u8>(random()));
  if (memory && random() % 2) bytes[5] &= 0x60;
  Insn insn;
  if (decode({bytes.data(), bytes.size()}, CodeSize::Bits64, insn) != DecodeStatus::Ok || insn.row == nullptr) return {};
  bytes.resize(insn.length);
  return bytes;
}

}  // namespace

TEST_CASE("instructions behind VEX do what their handlers do") {
  if (!translator_supported()) return;
  x64::TestBench bench;
  if (!bench.host.has("avx2")) return;
  test::TestCpu t(test::Mode::Long64);
  Cpu& c = t.cpu();
  c.s.cr4 |= kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Osxsave;
  c.s.xcr0 = 7;
  c.refresh();
  c.tlb.fill(c.data_context(), kData, Access::Read);
  c.tlb.fill(c.data_context(), kData, Access::Write);
  u8* const data = t.ram() + kData - kDataBytes / 2;
  Random random(5);
  std::map<std::string, unsigned> rows;
  unsigned compared = 0, reported = 0;
  for (unsigned n = 0; n < 1'500'000 && reported < 10; n++) {
    std::vector<u8> code;
    for (u64 k = 1 + random() % 3; k != 0; k--) {
      const auto bytes = random_instruction(random);
      code.insert(code.end(), bytes.begin(), bytes.end());
    }
    ir::Block block;
    block.mode = mode_of(c);
    block.rip = test::TestCpu::kCode;
    build_block(code, kMostInsns, block);
    x64::note_vex(block, bench.host, true);
    bool native = !block.insns.empty();
    for (const auto& b : block.insns)
      native = native && x64::vex_form(block.mode, b.insn, bench.host, true).kind != x64::VexForm::None;
    if (!native) continue;
    order_ops(block);
    const u32 live = random() % 4 == 0 ? u32{kArithmetic} : static_cast<u32>(random()) & kArithmetic;
    flags_liveness(block, live);
    const std::string wrong = ir::verify(block);
    REQUIRE_MESSAGE(wrong.empty(), wrong, "\n", ir::print(block));

    for (unsigned r = 0; r < 16; r++) c.s.gpr[r] = random_lane(random);
    c.s.gpr[RDI] = kData;
    for (VectorRegister& v : c.s.vec) {
      v.lo.q[0] = random_lane(random), v.lo.q[1] = random_lane(random);
      v.hi.q[0] = random_lane(random), v.hi.q[1] = random_lane(random);
    }
    c.s.mxcsr = 0x1F80 | (static_cast<u32>(random()) & 0xE07F);
    c.s.flags.set_value(kFlagsFixed | (static_cast<u32>(random()) & kArithmetic));
    u64 bytes_before[kDataBytes / 8], bytes_after[kDataBytes / 8];
    for (u64& v : bytes_before) v = random_lane(random);
    std::memcpy(data, bytes_before, kDataBytes);
    const CpuState before = c.s;
    bool faulted = false;
    try {
      for (const auto& b : block.insns) {
        if (c.s.gpr[RDI] != kData && b.insn.is_memory) throw Fault{};
        b.insn.exec(c, b.insn);
      }
    } catch (const Fault&) {
      faulted = true;
    }
    if (faulted) continue;  // misaligned, or RDI was written
    const CpuState expected = c.s;
    std::memcpy(bytes_after, data, kDataBytes);
    c.s = before;
    std::memcpy(data, bytes_before, kDataBytes);

    const Exit why = bench.run(block, c);
    const u32 flags_differ = (c.s.flags.value() ^ expected.flags.value()) & live;
    bool same = why == Exit::Link && flags_differ == 0 && c.s.mxcsr == expected.mxcsr &&
                std::memcmp(c.s.gpr, expected.gpr, sizeof c.s.gpr) == 0 && std::memcmp(c.s.vec, expected.vec, sizeof c.s.vec) == 0 &&
                std::memcmp(data, bytes_after, kDataBytes) == 0;
    compared++;
    for (const auto& b : block.insns) rows[b.insn.row->encoding]++;
    if (same) continue;
    reported++;
    std::string text = fmt::format("live {:#x}, flags differ {:#x}, mxcsr {:#x} instead of {:#x}, exit {}\n{}", live, flags_differ, c.s.mxcsr,
                                   expected.mxcsr, static_cast<unsigned>(why), ir::print(block));
    for (unsigned r = 0; r < 16; r++)
      if (c.s.gpr[r] != expected.gpr[r]) text += fmt::format("r{}: {:#x}, expected {:#x}, before {:#x}\n", r, c.s.gpr[r], expected.gpr[r], before.gpr[r]);
    for (unsigned r = 0; r < 16; r++)
      if (std::memcmp(&c.s.vec[r], &expected.vec[r], sizeof(VectorRegister)) != 0) text += fmt::format("ymm{}: {:#x} {:#x} {:#x} {:#x}, expected {:#x} {:#x} {:#x} {:#x}\n", r, c.s.vec[r].lo.q[0], c.s.vec[r].lo.q[1], c.s.vec[r].hi.q[0],
                            c.s.vec[r].hi.q[1], expected.vec[r].lo.q[0], expected.vec[r].lo.q[1], expected.vec[r].hi.q[0], expected.vec[r].hi.q[1]);
    FAIL_CHECK(text);
  }
  CHECK(compared > 50'000);
  CHECK(rows.size() > 300);
}

TEST_CASE("a host without an extension leaves its instructions to their handlers") {
  const Insn vaddps = [] {
    static constexpr u8 kCode[] = {0xC5, 0xFC, 0x58, 0xC1};
    Insn insn;
    decode(kCode, CodeSize::Bits64, insn);
    return insn;
  }();
  const Insn andn = [] {
    static constexpr u8 kCode[] = {0xC4, 0xE2, 0xF8, 0xF2, 0xC1};
    Insn insn;
    decode(kCode, CodeSize::Bits64, insn);
    return insn;
  }();
  const auto kind = [](const Insn& insn, const x64::Host& host, bool avx, bool real = false) {
    ir::Mode mode;
    mode.real = real;
    return x64::vex_form(mode, insn, host, avx).kind;
  };
  constexpr x64::Host kBest = x64::Host::best();
  CHECK(kind(vaddps, kBest, true) == x64::VexForm::Vector);
  CHECK(kind(vaddps, kBest, false) == x64::VexForm::None);
  CHECK(kind(vaddps, {}, true) == x64::VexForm::None);
  CHECK(kind(andn, kBest, false) == x64::VexForm::Integer);
  CHECK(kind(andn, {}, false) == x64::VexForm::None);
  CHECK(kind(andn, kBest, true, true) == x64::VexForm::None);
}
