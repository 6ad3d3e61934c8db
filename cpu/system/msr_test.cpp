// Model-specific registers: what they hold, what they refuse.
#include <doctest/doctest.h>

#include "cpu/system/msr.h"
#include "cpu/system/test_machine.h"

using namespace callgate;

namespace {

bool writes(test::TestMachine& m, u32 index, u64 value) {
  try {
    write_msr(m.cpu, index, value);
    return true;
  } catch (const Fault& f) {
    CHECK(f.vector == Vector::GP);
    CHECK(f.error_code == 0);
    return false;
  }
}
bool reads(test::TestMachine& m, u32 index) {
  try {
    read_msr(m.cpu, index);
    return true;
  } catch (const Fault&) {
    return false;
  }
}

}  // namespace

TEST_CASE("addresses in MSRs must be canonical") {
  test::TestMachine m;
  m.long64();
  for (const u32 index : {0x175u, 0x176u, 0xC0000082u, 0xC0000083u, 0xC0000100u, 0xC0000101u, 0xC0000102u}) {
    CHECK(writes(m, index, 0xFFFF800000000000));
    CHECK(read_msr(m.cpu, index) == 0xFFFF800000000000);
    CHECK_FALSE(writes(m, index, 0x0000800000000000));
    CHECK(read_msr(m.cpu, index) == 0xFFFF800000000000);
  }
  CHECK(m.cpu.s.seg[FS].base == 0xFFFF800000000000);
}

TEST_CASE("PAT and MTRRs take the memory types that exist") {
  test::TestMachine m;
  CHECK(writes(m, 0x277, 0x0007040600070406));
  CHECK_FALSE(writes(m, 0x277, 0x0207040600070406));
  CHECK_FALSE(writes(m, 0x277, 0x0807040600070406));
  CHECK(writes(m, 0x2FF, 0xC06));
  CHECK_FALSE(writes(m, 0x2FF, 0xC07));
  CHECK_FALSE(writes(m, 0x2FF, 0x1C06));
  CHECK(writes(m, 0x200, 0xC0000000 | 6));
  CHECK_FALSE(writes(m, 0x200, 0xC0000000 | 2));
  CHECK_FALSE(writes(m, 0x200, 0xC0000100));
  CHECK(writes(m, 0x201, (low_mask(kPhysicalBits) & ~u64{0xFFF}) | 0x800));
  CHECK_FALSE(writes(m, 0x201, u64{1} << kPhysicalBits));
  CHECK_FALSE(writes(m, 0x201, 0x400));
  CHECK(writes(m, 0x250, 0x0606060606060606));
  CHECK_FALSE(writes(m, 0x26F, 0x0606060306060606));
  const u64 cap = read_msr(m.cpu, 0xFE);
  CHECK((cap & 0xFF) == 8);
  CHECK_FALSE(reads(m, 0x200 + 16));
  CHECK_FALSE(writes(m, 0xFE, cap));
}

TEST_CASE("writing the TSC moves IA32_TSC_ADJUST, and the other way round") {
  test::TestMachine m;
  m.platform.time = 5000;
  CHECK(read_msr(m.cpu, 0x10) == 5000);
  CHECK(writes(m, 0x10, 1000));
  CHECK(read_msr(m.cpu, 0x3B) == static_cast<u64>(-4000));
  m.platform.time = 6000;
  CHECK(read_msr(m.cpu, 0x10) == 2000);
  CHECK(writes(m, 0x3B, 10));
  CHECK(read_msr(m.cpu, 0x10) == 6010);
}

TEST_CASE("MSRs that do not exist are #GP(0), read and written; read-only ones when written") {
  test::TestMachine m;
  for (const u32 index :
       {0x0u, 0x48u, 0x49u, 0x3Au, 0xC1u, 0x186u, 0x570u, 0xDA0u, 0xC0010015u, 0x4B564D00u, 0xFFFFFFFFu}) {
    CHECK_FALSE(reads(m, index));
    CHECK_FALSE(writes(m, index, 0));
  }
  for (const u32 index : {0x17u, 0x10Au, 0x179u}) {
    CHECK(reads(m, index));
    CHECK_FALSE(writes(m, index, 0));
  }
}

TEST_CASE("IA32_ARCH_CAPABILITIES names no weakness") {
  test::TestMachine m;
  const u64 v = read_msr(m.cpu, 0x10A);
  CHECK((v & 1) != 0);       // RDCL_NO
  CHECK((v & 1 << 5) != 0);  // MDS_NO
  CHECK((v & 1 << 2) == 0);  // RSBA: it has no return stack to underflow
}

TEST_CASE("IA32_MISC_ENABLE and IA32_DEBUGCTL take the bits that work") {
  test::TestMachine m;
  CHECK(read_msr(m.cpu, 0x1A0) == 0x1801);
  CHECK(writes(m, 0x1A0, 0x1801 | 1u << 18));
  CHECK_FALSE(writes(m, 0x1A0, u64{1} << 34));
  CHECK(writes(m, 0x1D9, 2));
  CHECK_FALSE(writes(m, 0x1D9, 1));
}

TEST_CASE("RDMSR and WRMSR clear the upper halves and need ring 0") {
  test::TestMachine m;
  m.long64();
  m.cpu.s.gpr[RCX] = ~u64{0} << 32 | 0xC0000081;
  m.cpu.s.gpr[RAX] = m.cpu.s.gpr[RDX] = ~u64{0};
  m.cpu.s.msr.star = 0x0023001000000000;
  m.run({0x0F, 0x32});
  CHECK(m.cpu.s.gpr[RAX] == 0);
  CHECK(m.cpu.s.gpr[RDX] == 0x00230010);
  m.long64(3);
  m.run({0x0F, 0x32});
  CHECK(m.last_fault() == "#GP(0x0)");
}
