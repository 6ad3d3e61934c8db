// String instructions against the host's processor: all operand and address sizes, both directions, every REP, overlaps.
#include "cpu/semantics/host_insn.h"

#if defined(__x86_64__)

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "cpu/semantics/test_cpu.h"

using namespace callgate;
using namespace callgate::test;

TEST_CASE("string instructions equal the host's processor") {
  HostInsn host;
  TestCpu guest(Mode::Long64);
  std::mt19937_64 random(7);
  unsigned reported = 0;
  for (unsigned round = 0; round < 8000 && reported < 10; round++) {
    static constexpr u8 kOpcodes[] = {0xA4, 0xA6, 0xAA, 0xAC, 0xAE};
    std::vector<u8> code;
    const unsigned rep = random() % 4;  // two of four with F3
    const bool address32 = random() % 4 == 0;
    const unsigned width = 1u << random() % 4;
    if (rep != 0) code.push_back(rep == 1 ? 0xF2 : 0xF3);
    if (address32) code.push_back(0x67);
    if (width == 2) code.push_back(0x66);
    if (width == 8) code.push_back(0x48);
    code.push_back(static_cast<u8>(kOpcodes[random() % 5] | (width != 1)));

    // Few different bytes, so that comparisons go on for a while.
    for (u64 k = 0; k < HostInsn::kDataSize; k++) host.data()[k] = random() % 64 == 0 ? static_cast<u8>(random() % 2) : 0;
    std::memcpy(guest.ram() + HostInsn::kData, host.data(), HostInsn::kDataSize);
    HostState in;
    for (u64& r : in.gpr) r = random();
    in.gpr[RSP] = HostInsn::kData + 0x7F00;
    in.gpr[RAX] = random() % 2 ? 0 : random();
    in.gpr[RCX] = random() % 3 == 0 ? random() % 8 : random() % (0x1800 / width);
    const u64 middle = HostInsn::kData + 0x3800;  // room for 0x1800 bytes each way
    in.gpr[RSI] = middle - 0x800 + random() % 0x1000;
    in.gpr[RDI] = random() % 2 ? middle - 0x800 + random() % 0x1000 : in.gpr[RSI] - 24 + random() % 48;
    if (address32 && rep != 0 && in.gpr[RCX] != 0) in.gpr[RCX] |= random() << 32;
    in.rflags = (random() & kArithmetic) | (random() % 2 ? u32{kDF} : 0);

    CpuState& s = guest.s();
    std::copy_n(in.gpr, 16, s.gpr);
    s.flags.set_value(static_cast<u32>(in.rflags) | kIF);
    s.rip = TestCpu::kCode;
    const auto fault = guest.run(code);
    HostState out = in;
    host.run(out, code);
    std::string wrong;
    if (fault || out.faulted) wrong = "a fault";
    for (unsigned r = 0; r < 16; r++)
      if (s.gpr[r] != out.gpr[r]) wrong += fmt::format(" r{}={:x} but the host has {:x}", r, s.gpr[r], out.gpr[r]);
    if ((s.flags.value() ^ static_cast<u32>(out.rflags)) & (kArithmetic | kDF))
      wrong += fmt::format(" flags {:x} but the host has {:x}", s.flags.value(), out.rflags);
    if (std::memcmp(guest.ram() + HostInsn::kData, host.data(), HostInsn::kDataSize) != 0) wrong += " memory differs";
    if (!wrong.empty()) {
      reported++;
      std::string text;
      for (const u8 b : code) text += fmt::format(" {:02x}", b);
      FAIL_CHECK(text << fmt::format(": rcx={:x} rsi={:x} rdi={:x} flags={:x}:", in.gpr[RCX], in.gpr[RSI], in.gpr[RDI], in.rflags) << wrong);
    }
  }
}

#endif
