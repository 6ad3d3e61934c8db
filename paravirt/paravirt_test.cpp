// The hypervisor that a guest finds: CPUID's leaves, and what instructions do with and without one.
#include "paravirt/paravirt.h"

#include <doctest/doctest.h>

#include <cstring>

#include "paravirt/test_host.h"

using namespace callgate;
using namespace callgate::paravirt;

namespace {

std::string name_of(const CpuidLeaf& leaf) {
  char text[13] = {};
  std::memcpy(text, &leaf.ebx, 4);
  std::memcpy(text + 4, &leaf.ecx, 4);
  std::memcpy(text + 8, &leaf.edx, 4);
  return text;
}

}  // namespace

TEST_CASE("a list of interfaces is a set and a set is a list") {
  CHECK(*parse("none") == 0);
  CHECK(*parse("callgate") == kCallgate);
  CHECK(text_of(0) == "none");
  CHECK(text_of(*parse(text_of(available()))) == text_of(available()));
  for (const char* wrong : {"", "xen", "callgate,", ",callgate", "callgate,none", "Callgate"}) CHECK_FALSE(parse(wrong));
}

TEST_CASE("every interface has a block of leaves, its signature in the first, and nothing lies behind them") {
  TestHost m(available());
  u32 base = kHypervisorLeaves;
  std::vector<std::string> names;
  for (; base < kHypervisorLeaves + 0x1000; base += kBlockLeaves) {
    const CpuidLeaf first = m.hypervisor->cpuid(m.cpu, base, 0);
    if (first.eax == 0) break;
    CHECK(first.eax >= base);
    CHECK(first.eax < base + kBlockLeaves);
    names.push_back(name_of(first));
    const CpuidLeaf behind = m.hypervisor->cpuid(m.cpu, first.eax + 1, 0);
    CHECK((behind.eax | behind.ebx | behind.ecx | behind.edx) == 0);
  }
  CHECK(names.size() >= 1);
  CHECK(names.back() == "CallgatePort");
  CHECK(m.hypervisor->cpuid(m.cpu, kLastHypervisorLeaf, 0).eax == 0);
}

TEST_CASE("CPUID shows a hypervisor, and its leaves, only when there is one") {
  const std::initializer_list<u8> kCpuid = {0x0F, 0xA2};
  for (const bool there : {false, true}) {
    TestHost m(there ? Set{kCallgate} : Set{0});
    m.long64();
    m.cpu.s.gpr[RAX] = 1;
    m.run(kCpuid);
    CHECK((m.cpu.s.gpr[RCX] >> 31 & 1) == there);
    m.cpu.s.gpr[RAX] = kHypervisorLeaves;
    m.run(kCpuid);
    const CpuidLeaf got{m.cpu.gpr<u32>(RAX), m.cpu.gpr<u32>(RBX), m.cpu.gpr<u32>(RCX), m.cpu.gpr<u32>(RDX)};
    CHECK((name_of(got) == "CallgatePort") == there);
  }
}

TEST_CASE("VMCALL and VMMCALL are #UD on bare metal, and where no interface takes them") {
  for (const Set set : {Set{0}, Set{kCallgate}}) {
    TestHost m(set);
    for (const u8 last : {0xC1, 0xD9}) {
      m.long64();
      m.run({0x0F, 0x01, last});
      CHECK(m.last_fault() == "#UD");
    }
  }
}

TEST_CASE("a register that no interface has is #GP, with a hypervisor or without") {
  for (const Set set : {Set{0}, Set{kCallgate}}) {
    TestHost m(set);
    for (const u8 last : {0x30, 0x32}) {
      m.long64();
      m.cpu.s.gpr[RCX] = 0x4000F000;
      m.run({0x0F, last});
      CHECK(m.last_fault() == "#GP(0x0)");
    }
  }
}

TEST_CASE("the port answers when it is there, and else reads as ones like any other") {
  for (const bool there : {false, true}) {
    TestHost m(there ? Set{kCallgate} : Set{0});
    m.platform.io_value = 0xFFFFFFFF;
    m.long64();
    m.cpu.s.gpr[RAX] = 0;
    m.run({0xE5, 0xE4});  // in eax, 0xE4
    CHECK(m.cpu.s.gpr[RAX] == (there ? 0 : 0xFFFFFFFF));
    CHECK(m.cpu.gpr<u32>(RBX) == (there ? 0x10001 : 0));
    m.cpu.s.gpr[RAX] = 0;
    m.run({0x66, 0xE5, 0xE4});  // in ax, 0xE4: no call
    CHECK(m.cpu.s.gpr[RAX] == 0xFFFF);
  }
}
