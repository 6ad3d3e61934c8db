// What all MMX and SSE instructions share, end to end: who may use the units, alignment, faults that leave everything alone,
// prefixes. Results of single instructions are in hardware_test.cpp.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <string>

#include "cpu/decoder.h"
#include "cpu/system/test_machine.h"
#include "cpu/table/table.h"

using namespace callgate;

namespace {

constexpr u64 kData = 0x40000;
constexpr u64 kHole = 0x400000;  ///< a page that tests unmap

struct Machine : test::TestMachine {
  Machine() {
    long64(0);
    cpu.s.cr4 |= kCr4Osxmmexcpt;
    cpu.s.gpr[RDI] = kData;
  }
  V128& xmm(unsigned n) { return cpu.s.vec[n].lo; }
  /// Takes away the 2 MiB page of `address`.
  void unmap(u64 address) { write<u64>(kTables + 0x2000 + 8 * (address >> 21), 0); }
};

/// The mnemonic of an encoding in 64-bit mode, or "invalid".
std::string name_of_bytes(std::initializer_list<u8> bytes) {
  Insn i;
  if (decode({bytes.begin(), bytes.size()}, CodeSize::Bits64, i) != DecodeStatus::Ok) return "invalid";
  return mnemonic(*i.row);
}

}  // namespace

TEST_CASE("SSE needs CR4.OSFXSR, no CR0.EM and no CR0.TS") {
  Machine m;
  SUBCASE("OSFXSR") {
    m.cpu.s.cr4 &= ~u64{kCr4Osfxsr};
    m.run({0x0F, 0x58, 0xC1});
    CHECK(m.last_fault() == "#UD");
  }
  SUBCASE("EM, even with TS") {
    m.cpu.s.cr0 |= kCr0Em | kCr0Ts;
    m.run({0x0F, 0x58, 0xC1});
    CHECK(m.last_fault() == "#UD");
  }
  SUBCASE("TS") {
    m.cpu.s.cr0 |= kCr0Ts;
    m.run({0x66, 0x0F, 0xEF, 0xC0});
    CHECK(m.last_fault() == "#NM");
  }
}

TEST_CASE("MMX does not need CR4.OSFXSR, but no pending x87 exception") {
  Machine m;
  m.cpu.s.cr4 &= ~u64{kCr4Osfxsr};
  m.run({0x0F, 0xEF, 0xC0});  // pxor mm0, mm0
  CHECK(m.handling() == -1);
  m.cpu.s.x87.status = 1;
  m.cpu.s.x87.control = 0x37E;
  m.cpu.s.x87.top = 3;
  m.run({0x0F, 0xEF, 0xC0});
  CHECK(m.last_fault() == "#MF");
  CHECK(m.cpu.s.x87.top == 3);
}

TEST_CASE("an unmasked SSE exception is #XM, or #UD without CR4.OSXMMEXCPT; MXCSR tells, the destination is kept") {
  Machine m;
  m.cpu.s.mxcsr = 0x1F80 & ~(1u << 9);  // division by zero
  m.xmm(0) = V128{{0x3F8000003F800000, 0x3F8000003F800000}};
  SUBCASE("#XM") {
    m.run({0x0F, 0x5E, 0xC1});
    CHECK(m.last_fault() == "#XM");
  }
  SUBCASE("#UD") {
    m.cpu.s.cr4 &= ~u64{kCr4Osxmmexcpt};
    m.run({0x0F, 0x5E, 0xC1});
    CHECK(m.last_fault() == "#UD");
  }
  CHECK((m.cpu.s.mxcsr & 0x3F) == fp::kDivZero);
  CHECK(m.xmm(0).q[0] == 0x3F8000003F800000);
}

TEST_CASE("misalignment is #GP before the page is looked at; scalars and unaligned moves don't care") {
  Machine m;
  m.cpu.s.gpr[RDI] = kHole + 8;
  m.unmap(kHole);
  m.run({0x0F, 0x28, 0x07});  // movaps
  CHECK(m.last_fault() == "#GP(0x0)");
  m.long64(0);
  m.cpu.s.gpr[RDI] = kData + 1;
  m.run({0x0F, 0x10, 0x07});  // movups
  CHECK(m.handling() == -1);
  m.run({0xF3, 0x0F, 0x58, 0x07});  // addss
  CHECK(m.handling() == -1);
  m.run({0x0F, 0x58, 0x07});  // addps
  CHECK(m.last_fault() == "#GP(0x0)");
}

TEST_CASE("a store across a page that is missing writes nothing") {
  Machine m;
  m.unmap(kHole);
  m.write<u64>(kHole - 8, 0x1234);
  m.cpu.s.gpr[RDI] = kHole - 8;
  m.xmm(0).q[0] = 0x5555;
  m.run({0x0F, 0x11, 0x07});
  CHECK(m.last_fault().starts_with("#PF"));
  CHECK(m.read<u64>(kHole - 8) == 0x1234);
}

TEST_CASE("a faulting MMX load leaves the x87's tags and top alone") {
  Machine m;
  m.unmap(kHole);
  m.cpu.s.gpr[RDI] = kHole;
  m.cpu.s.x87.top = 2;
  m.cpu.s.x87.empty = 0xFF;
  m.run({0x0F, 0x6F, 0x07});
  CHECK(m.last_fault().starts_with("#PF"));
  CHECK(m.cpu.s.x87.top == 2);
  CHECK(m.cpu.s.x87.empty == 0xFF);
}

TEST_CASE("MASKMOVDQU accesses the bytes that the mask selects, and no others") {
  Machine m;
  m.unmap(kHole);
  m.cpu.s.gpr[RDI] = kHole - 8;
  m.write<u64>(kHole - 8, 0);
  m.xmm(0) = V128{{0x1122334455667788, 0x99AABBCCDDEEFF00}};
  m.xmm(1) = V128{{0x80FF7F0000000080, 0}};
  m.run({0x66, 0x0F, 0xF7, 0xC1});
  CHECK(m.handling() == -1);
  CHECK(m.read<u64>(kHole - 8) == 0x1122000000000088);
  m.xmm(1).b[8] = 0x80;
  m.xmm(1).b[1] = 0x80;
  m.run({0x66, 0x0F, 0xF7, 0xC1});
  CHECK(m.last_fault().starts_with("#PF"));
  CHECK(m.read<u64>(kHole - 8) == 0x1122000000000088);
}

TEST_CASE("MASKMOVQ stores at DS:EDI with an address-size prefix, and through an override") {
  Machine m;
  m.cpu.s.seg[FS].base = 0x1000;
  m.cpu.refresh();
  m.cpu.s.gpr[RDI] = 0xFFFFFFFF00000000 | kData;
  m.cpu.s.x87.r[0].significand = 0x77;
  m.cpu.s.x87.r[1].significand = 0x80;
  m.run({0x64, 0x67, 0x0F, 0xF7, 0xC1});
  CHECK(m.handling() == -1);
  CHECK(m.read<u8>(kData + 0x1000) == 0x77);
}

TEST_CASE("the mandatory prefix is the last of F2 and F3, then 66") {
  CHECK(name_of_bytes({0x0F, 0x58, 0xC1}) == "addps");
  CHECK(name_of_bytes({0x66, 0x0F, 0x58, 0xC1}) == "addpd");
  CHECK(name_of_bytes({0x66, 0xF3, 0x0F, 0x58, 0xC1}) == "addss");
  CHECK(name_of_bytes({0xF2, 0x66, 0x0F, 0x58, 0xC1}) == "addsd");
  CHECK(name_of_bytes({0xF2, 0xF3, 0x0F, 0x58, 0xC1}) == "addss");
  CHECK(name_of_bytes({0xF3, 0x0F, 0x2E, 0xC1}) == "invalid");
  CHECK(name_of_bytes({0x66, 0x0F, 0x12, 0xC1}) == "invalid");  // movlpd has no register form
  CHECK(name_of_bytes({0x0F, 0x12, 0xC1}) == "movhlps");
  CHECK(name_of_bytes({0x0F, 0x13, 0xC1}) == "invalid");
  CHECK(name_of_bytes({0x0F, 0x50, 0x07}) == "invalid");
  CHECK(name_of_bytes({0x0F, 0xE7, 0xC1}) == "invalid");
  CHECK(name_of_bytes({0x66, 0x0F, 0xD4, 0xC1}) == "paddq");
  CHECK(name_of_bytes({0x66, 0x0F, 0x73, 0xF9, 4}) == "pslldq");
  CHECK(name_of_bytes({0x0F, 0x73, 0xF9, 4}) == "invalid");  // no pslldq for MMX
  CHECK(name_of_bytes({0xF0, 0x0F, 0x58, 0x07}) == "invalid");
}

TEST_CASE("RCPPS and RSQRTPS are within the manual's error") {
  Machine m;
  m.xmm(1) = V128{{0x4040000040000000, 0x3F80000041200000}};  // 2, 3, 10, 1
  m.run({0x0F, 0x53, 0xC1});
  const auto lane = [&](unsigned n) { return static_cast<double>(std::bit_cast<float>(m.xmm(0).d[n])); };
  const double values[] = {2, 3, 10, 1};
  for (unsigned n = 0; n < 4; n++) CHECK(std::abs(lane(n) * values[n] - 1) <= 1.5 / 4096);
  m.run({0x0F, 0x52, 0xC1});
  for (unsigned n = 0; n < 4; n++) CHECK(std::abs(lane(n) * std::sqrt(values[n]) - 1) <= 1.5 / 4096);
}
