// CPUID: consistent with itself, with the instruction table, and with what software concludes from it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "cpu/model.h"
#include "cpu/system/test_machine.h"
#include "cpu/table/table.h"

using namespace callgate;

namespace {

CpuidLeaf leaf(u32 number, u32 subleaf = 0, unsigned cpus = 1, unsigned index = 0) {
  CpuModel model;
  model.cpu_count = cpus;
  return cpuid(model, index, number, subleaf, false, 1);
}

void append(std::string& text, u32 word) {
  char c[4];
  std::memcpy(c, &word, 4);
  text.append(c, 4);
}

}  // namespace

TEST_CASE("CPUID: vendor, brand and signature") {
  const CpuidLeaf zero = leaf(0);
  std::string vendor;
  for (const u32 w : {zero.ebx, zero.edx, zero.ecx}) append(vendor, w);
  CHECK(vendor == "GenuineIntel");
  std::string brand;
  for (u32 n = 2; n <= 4; n++) {
    const CpuidLeaf r = leaf(0x80000000 + n);
    for (const u32 w : {r.eax, r.ebx, r.ecx, r.edx}) append(brand, w);
  }
  CHECK(std::string(brand.c_str()) == "Callgate virtual CPU");
  CHECK(leaf(1).eax == kCpuidSignature);
  // Linux reads family 6, model 36h: an in-order Atom.
  CHECK((kCpuidSignature >> 8 & 15) == 6);
  CHECK((((kCpuidSignature >> 16 & 15) << 4) | (kCpuidSignature >> 4 & 15)) == 0x36);
}

TEST_CASE("CPUID beyond the last leaf answers like the last basic one") {
  const CpuidLeaf last = leaf(leaf(0).eax), beyond = leaf(leaf(0).eax + 1), extended = leaf(leaf(0x80000000).eax + 1);
  CHECK(last.eax == beyond.eax);
  CHECK(last.ecx == beyond.ecx);
  CHECK(last.eax == extended.eax);
  CHECK(leaf(0x40000000).eax == last.eax);
}

TEST_CASE("CPUID claims x86-64-v1") {
  const CpuidLeaf one = leaf(1), extended = leaf(0x80000001);
  constexpr u32 kV1 = 1u << 0 | 1u << 8 | 1u << 15 | 1u << 23 | 1u << 24 | 1u << 25 | 1u << 26;  // FPU to SSE2
  CHECK((one.edx & kV1) == kV1);
  CHECK((extended.edx & (1u << 11 | 1u << 29)) == (1u << 11 | 1u << 29));  // SYSCALL, LM
  CHECK((one.ecx & 1u << 31) == 0);                                        // not a hypervisor's guest
}

TEST_CASE("every row's feature is one that the model has") {
  const CpuModel model;
  for (const Row* row : all_rows()) CHECK_MESSAGE(has_feature(model, row->feature), row->encoding, " ", row->feature);
  CHECK(has_feature(model, ""));
  CHECK_FALSE(has_feature(model, "avx512f"));
  const auto names = feature_names(model);
  CHECK(std::find(names.begin(), names.end(), "sse2") != names.end());
}

TEST_CASE("the plain model keeps quiet about what buys speed, and has all that programs need") {
  CpuModel plain;
  plain.name = "plain";
  const auto leaf_of = [&](u32 number) { return cpuid(plain, 0, number, 0, false, 1); };
  CHECK(leaf_of(0).eax == 0xD);
  CHECK((leaf_of(1).eax >> 4 & 0xF) == 0xA);
  CHECK((leaf_of(1).ecx & (1u << 17 | 1u << 21 | 1u << 24)) == 0);  // PCID, x2APIC, TSC deadline
  CHECK((leaf_of(6).eax & 4) == 0);                                  // ARAT
  CHECK((leaf_of(7).ebx & (1u << 1 | 1u << 9 | 1u << 10)) == 0);     // TSC_ADJUST, ERMS, INVPCID
  CHECK((leaf_of(7).edx & (1u << 4 | 1u << 29)) == 0);               // FSRM, ARCH_CAPABILITIES
  CHECK((leaf_of(0x80000007).edx & 1u << 8) == 0);                   // invariant TSC
  CHECK(leaf_of(0x15).eax == leaf_of(0xD).eax);                      // beyond the last leaf
  for (const Row* row : all_rows())
    if (!has_feature(plain, row->feature)) CHECK_MESSAGE(std::string(row->feature) == "invpcid", row->encoding);
}

TEST_CASE("CPUID gives the frequencies, so that nothing is calibrated") {
  const CpuidLeaf clock = leaf(0x15);
  CHECK(u64{clock.ecx} * clock.ebx / clock.eax == 1000000000);
  CHECK(leaf(0x16).eax == 1000);
  CHECK((leaf(6).eax & 4) != 0);                 // ARAT
  CHECK((leaf(1).ecx & 1u << 24) != 0);          // TSC deadline
  CHECK((leaf(0x80000007).edx & 1u << 8) != 0);  // invariant TSC
}

TEST_CASE("CPUID topology: the APIC ID, and as many cores as processors") {
  for (const unsigned cpus : {1u, 2u, 3u, 8u, 64u}) {
    for (const unsigned index : {0u, cpus - 1}) {
      const CpuidLeaf core = leaf(0xB, 1, cpus, index);
      CHECK(core.edx == index);
      CHECK(core.ebx == cpus);
      CHECK((index >> core.eax) == 0);  // one package
      CHECK((core.ecx >> 8 & 0xFF) == 2);
      CHECK((leaf(0xB, 2, cpus, index).ecx >> 8 & 0xFF) == 0);
      CHECK((leaf(1, 0, cpus, index).ebx >> 24) == index);
    }
    CHECK(((leaf(1, 0, cpus).edx >> 28 & 1) != 0) == (cpus > 1));
  }
}

TEST_CASE("CPUID caches: sizes multiply out, and the list ends") {
  const auto bytes = [](const CpuidLeaf& r) {
    return u64{(r.ebx >> 22) + 1} * ((r.ebx >> 12 & 0x3FF) + 1) * ((r.ebx & 0xFFF) + 1) * (r.ecx + 1);
  };
  CHECK(bytes(leaf(4, 0)) == 32 << 10);
  CHECK(bytes(leaf(4, 1)) == 32 << 10);
  CHECK(bytes(leaf(4, 2)) == 1 << 20);
  CHECK(bytes(leaf(4, 3)) == 32 << 20);
  CHECK((leaf(4, 4).eax & 31) == 0);
  CHECK((leaf(0x80000006).ecx >> 16) == 1024);
}

TEST_CASE("CPUID describes the XSAVE area and the address sizes") {
  const CpuModel model;
  const auto area = [&](u32 subleaf, u64 xcr0) { return cpuid(model, 0, 0xD, subleaf, true, xcr0); };
  CHECK(area(0, 1).eax == 7);
  CHECK(area(0, 3).ebx == 576);  // for what XCR0 enables now
  CHECK(area(0, 7).ebx == 832);
  CHECK(area(0, 1).ecx == 832);  // for all that there is
  CHECK(area(1, 7).eax == 7);    // XSAVEOPT, XSAVEC, XGETBV of 1; no XSAVES
  CHECK(area(1, 3).ebx == 576);
  CHECK(area(1, 7).ebx == 832);
  CHECK(area(2, 7).eax == 256);  // AVX
  CHECK(area(2, 7).ebx == 576);
  CHECK(area(3, 7).eax == 0);
  CHECK(leaf(0x80000008).eax == (kPhysicalBits | kLinearBits << 8));
}

TEST_CASE("the CPUID instruction shows OSXSAVE, the APIC's enable and MONITOR as they are now") {
  test::TestMachine m;
  m.long64(3);
  const auto one = [&] {
    m.cpu.s.gpr[RAX] = ~u64{0} << 32 | 1;
    m.cpu.s.rip = test::TestMachine::kCode;
    m.run({0x0F, 0xA2});
    return CpuidLeaf{m.cpu.gpr<u32>(RAX), m.cpu.gpr<u32>(RBX), m.cpu.gpr<u32>(RCX), m.cpu.gpr<u32>(RDX)};
  };
  CHECK((one().ecx & 1u << 27) == 0);
  CHECK(m.cpu.s.gpr[RAX] == kCpuidSignature);
  CHECK((one().edx & 1u << 9) != 0);
  CHECK((one().ecx & 1u << 3) == 0);
  m.cpu.s.cr4 |= kCr4Osxsave;
  m.platform.apic_base &= ~u64{0x800};
  m.cpu.s.msr.misc_enable |= 1u << 18;
  CHECK((one().ecx & 1u << 27) != 0);
  CHECK((one().edx & 1u << 9) == 0);
  CHECK((one().ecx & 1u << 3) != 0);
}
