// VMware's port and leaves: what a guest asks for, and what is not there.
#include <doctest/doctest.h>

#include "paravirt/test_host.h"

using namespace callgate;
using namespace callgate::paravirt;

namespace {

constexpr u32 kMagic = 0x564D5868;

struct Backdoor : TestHost {
  explicit Backdoor(Set set = kVmware) : TestHost(set) { long64(); }
  void ask(u32 command, u32 magic = kMagic, u16 port = 0x5658) {
    CpuState& s = TestMachine::cpu.s;
    s.rip = kCode;
    s.gpr[RAX] = magic, s.gpr[RBX] = 0xFFFFFFFF, s.gpr[RCX] = command, s.gpr[RDX] = port;
    run({0xED});  // in eax, dx
  }
  u32 eax() { return TestMachine::cpu.gpr<u32>(RAX); }
  u32 ebx() { return TestMachine::cpu.gpr<u32>(RBX); }
  u32 ecx() { return TestMachine::cpu.gpr<u32>(RCX); }
};

}  // namespace

TEST_CASE("VMware's block has its timing leaf at 0x40000010 and nothing in between") {
  TestHost m(kVmware | kCallgate);
  CHECK(m.hypervisor->cpuid(m.cpu, 0x40000000, 0).eax == 0x40000010);
  CHECK(m.hypervisor->cpuid(m.cpu, 0x40000000, 0).ebx == 0x61774D56);  // "VMwa"
  const CpuidLeaf timing = m.hypervisor->cpuid(m.cpu, 0x40000010, 0);
  CHECK(timing.eax == 1'000'000);
  CHECK(timing.ebx == 1'000'000);
  CHECK(timing.ecx == 0);
  for (u32 leaf = 0x40000001; leaf < 0x40000010; leaf++) CHECK(m.hypervisor->cpuid(m.cpu, leaf, 0).eax == 0);
}

TEST_CASE("the backdoor tells its version and the frequencies of the TSC and the local APIC") {
  Backdoor m;
  m.ask(10);
  CHECK(m.eax() == 6);
  CHECK(m.ebx() == kMagic);
  m.ask(45);
  CHECK((u64{m.ebx()} << 32 | m.eax()) == 1'000'000'000);
  CHECK(m.ecx() == 1'000'000'000);
}

TEST_CASE("the backdoor takes commands of 16 bits and knows no others") {
  Backdoor m;
  m.ask(0x10000 | 10);
  CHECK(m.ebx() == kMagic);
  for (const u32 command : {0u, 1u, 68u, 91u, 0xFFFFu}) {
    m.ask(command);
    CHECK(m.eax() == 0xFFFFFFFF);
    CHECK(m.ebx() == 0xFFFFFFFF);
  }
}

TEST_CASE("without the magic, at another port, in another size, or when it was not asked for, it is a port like any other") {
  for (const Set set : {Set{kVmware}, Set{kCallgate}, Set{0}}) {
    Backdoor m(set);
    m.platform.io_value = 0x1234;
    const bool there = set == kVmware;
    m.ask(10);
    CHECK(m.eax() == (there ? 6 : 0x1234));
    m.ask(10, kMagic + 1);
    CHECK(m.eax() == 0x1234);
    m.ask(10, kMagic, 0x5659);
    CHECK(m.eax() == 0x1234);
    m.cpu.s.rip = Backdoor::kCode;
    m.cpu.s.gpr[RAX] = kMagic, m.cpu.s.gpr[RCX] = 10, m.cpu.s.gpr[RDX] = 0x5658;
    m.run({0x66, 0xED});  // in ax, dx
    CHECK(m.cpu.gpr<u16>(RAX) == 0x1234);
  }
}

TEST_CASE("ring 3 reaches the backdoor only where the I/O permission map lets it") {
  Backdoor m;
  m.long64(3);
  m.ask(10);
  CHECK(m.ebx() == kMagic);  // the test machine's map is all zeros
  m.write<u16>(Backdoor::kTss + 0x66, 0xFFFF);
  m.ask(10);
  CHECK(m.last_fault() == "#GP(0x0)");
}
