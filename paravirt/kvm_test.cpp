// KVM's interface: what it keeps in the guest's memory, what its calls do, and what each refuses.
#include <doctest/doctest.h>

#include "paravirt/test_host.h"

using namespace callgate;
using namespace callgate::paravirt;

namespace {

constexpr u64 kAt = 0x200000, kNowhere = u64{1} << 45, kRegisters = 0xFEE00000;
constexpr u32 kWallClock = 0x4b564d00, kSystemTime = 0x4b564d01, kSteal = 0x4b564d03, kEoi = 0x4b564d04;

struct Guest : TestHost {
  explicit Guest(Set set = kKvm, unsigned cpus = 1) : TestHost(set, cpus) { long64(); }
  i64 call(u64 number, u64 a0 = 0, u64 a1 = 0, u64 a2 = 0, u64 a3 = 0) {
    s.rip = kCode;
    s.gpr[RAX] = number, s.gpr[RBX] = a0, s.gpr[RCX] = a1, s.gpr[RDX] = a2, s.gpr[RSI] = a3;
    if (amd) run({0x0F, 0x01, 0xD9});
    else run({0x0F, 0x01, 0xC1});
    return static_cast<i64>(s.gpr[RAX]);
  }
  bool amd = false;
  CpuState& s = TestMachine::cpu.s;
};

}  // namespace

TEST_CASE("KVM's leaves offer what there is") {
  Guest m;
  const CpuidLeaf first = m.hypervisor->cpuid(m.cpu, 0x40000000, 0), features = m.hypervisor->cpuid(m.cpu, 0x40000001, 0);
  CHECK(first.eax == 0x40000001);
  CHECK(first.ebx == 0x4B4D564B);
  CHECK(first.ecx == 0x564B4D56);
  CHECK(first.edx == 0x4D);
  // Not the old clock's registers, MMU operations, asynchronous page faults, polling, or extended destinations of MSIs.
  CHECK(features.eax == 0x01002AEA);
  CHECK(features.edx == 0);
}

TEST_CASE("the clock is a line that the TSC draws, with an even version after every change") {
  Guest m;
  m.write<u32>(kAt, 7);
  CHECK(m.wrmsr(kSystemTime, kAt | 1));
  CHECK(m.rdmsr(kSystemTime) == (kAt | 1));
  CHECK(m.read<u32>(kAt) == 10);
  const u64 tsc = m.read<u64>(kAt + 8), system = m.read<u64>(kAt + 16);
  CHECK(tsc == m.platform.now());
  CHECK(system == m.platform.now());
  const u64 multiplier = m.read<u32>(kAt + 24);
  const int shift = m.read<i8>(kAt + 28);
  const u64 delta = 123'456'789;
  CHECK(((delta << shift) * multiplier >> 32) == delta);
  CHECK(m.read<u8>(kAt + 29) == 1);
}

TEST_CASE("a TSC that the guest moves leaves the clock where it is") {
  Guest m;
  REQUIRE(m.wrmsr(kSystemTime, kAt | 1));
  m.platform.time += 5000;
  m.cpu.s.msr.tsc_adjust = 1'000'000;
  m.hypervisor->tsc_changed(m.cpu);
  CHECK(m.read<u64>(kAt + 8) == m.platform.now() + 1'000'000);
  CHECK(m.read<u64>(kAt + 16) == m.platform.now());
  CHECK(m.read<u32>(kAt) == 4);
}

TEST_CASE("a clock that is switched off or has no memory is not written") {
  Guest m;
  for (const u64 value : {kAt, kNowhere | 1, kRegisters | 1, ~u64{0}, (kAt + 0xFF0) | 1}) {
    const u64 before = m.read<u64>(kAt + 8);
    CHECK(m.wrmsr(kSystemTime, value));
    CHECK(m.rdmsr(kSystemTime) == value);
    CHECK(m.read<u64>(kAt + 8) == before);
    CHECK(m.read<u64>(kAt + 0xFF8) == 0);
  }
}

TEST_CASE("the wall clock is the CMOS clock's at power-on") {
  Guest m;
  m.write<u32>(kAt, 1);
  CHECK(m.wrmsr(kWallClock, kAt));
  CHECK(m.read<u32>(kAt) == 4);
  CHECK(m.read<u32>(kAt + 4) == 1'700'000'000);
  CHECK(m.read<u32>(kAt + 8) == 0);
  CHECK(m.rdmsr(kWallClock) == kAt);
  for (const u64 bad : {u64{0}, kNowhere, kRegisters}) CHECK(m.wrmsr(kWallClock, bad));
}

TEST_CASE("steal time is nothing, and its byte tells who does not run") {
  Guest m;
  m.write<u8>(kAt + 16, 1);
  CHECK(m.wrmsr(kSteal, kAt | 1));
  CHECK(m.read<u64>(kAt) == 0);
  CHECK(m.read<u32>(kAt + 8) == 2);
  CHECK(m.read<u8>(kAt + 16) == 0);
  m.hypervisor->slice_ends(m.cpu);
  CHECK(m.read<u8>(kAt + 16) == 1);
  m.write<u8>(kAt + 16, 3);  // another processor wants its TLB flushed
  m.hypervisor->slice_begins(m.cpu);
  CHECK(m.read<u8>(kAt + 16) == 0);
  CHECK(m.read<u32>(kAt + 8) == 2);
  CHECK(m.wrmsr(kSteal, 0));
  m.hypervisor->slice_ends(m.cpu);
  CHECK(m.read<u8>(kAt + 16) == 0);
  for (u64 bit = 1; bit <= 5; bit++) CHECK_FALSE(m.wrmsr(kSteal, kAt | u64{1} << bit));
  for (const u64 bad : {kNowhere | 1, kRegisters | 1}) {
    CHECK(m.wrmsr(kSteal, bad));
    m.hypervisor->slice_ends(m.cpu);
    m.hypervisor->slice_begins(m.cpu);
  }
}

TEST_CASE("registers of what is not offered are #GP") {
  Guest m;
  for (const u32 index : {0x11u, 0x12u, 0x4b564d02u, 0x4b564d05u, 0x4b564d06u, 0x4b564dffu}) {
    CHECK_FALSE(m.wrmsr(index, 0));
    CHECK(m.rdmsr(index) == ~u64{0});
  }
  Guest bare(kCallgate);
  CHECK_FALSE(bare.wrmsr(kSystemTime, kAt | 1));
}

TEST_CASE("an EOI may be made in memory when nothing waits behind it") {
  Guest m;
  LocalApic& apic = m.apic_at(0);
  apic.enter_virtual_wire_mode();
  const auto interrupt = [&](u8 vector) {
    ApicMessage message;
    message.vector = vector;
    return apic.receive(message);
  };
  const auto in_service = [&](u8 vector) { return (apic.read(0x100 + 0x10 * (vector / 32), 4) >> vector % 32 & 1) != 0; };
  REQUIRE(m.wrmsr(kEoi, kAt | 1));
  CHECK(m.rdmsr(kEoi) == (kAt | 1));

  SUBCASE("the guest clears the bit: that was its EOI") {
    interrupt(0x41);
    CHECK(apic.acknowledge() == 0x41);
    CHECK(m.read<u8>(kAt) == 1);
    m.write<u8>(kAt, 0);
    interrupt(0x31);  // of lower priority: it could not come while 0x41 is in service
    CHECK(apic.pending());
    CHECK(apic.acknowledge() == 0x31);
    CHECK_FALSE(in_service(0x41));
  }
  SUBCASE("what comes before the EOI takes the offer back") {
    interrupt(0x41);
    apic.acknowledge();
    interrupt(0x31);
    CHECK(m.read<u8>(kAt) == 0);
    CHECK_FALSE(apic.pending());
    apic.write(0xB0, 4, 0);
    CHECK(apic.pending());
  }
  SUBCASE("with another one waiting, there is no offer") {
    interrupt(0x41);
    interrupt(0x31);
    apic.acknowledge();
    CHECK(m.read<u8>(kAt) == 0);
    CHECK(in_service(0x41));
  }
  SUBCASE("a level-triggered one has to be told to the I/O APIC") {
    ApicMessage message;
    message.vector = 0x41;
    message.level_triggered = true;
    apic.receive(message);
    apic.acknowledge();
    CHECK(m.read<u8>(kAt) == 0);
  }
  SUBCASE("the register still works, and reading what is in service settles it") {
    interrupt(0x41);
    apic.acknowledge();
    apic.write(0xB0, 4, 0);
    CHECK(m.read<u8>(kAt) == 0);
    CHECK_FALSE(in_service(0x41));
    interrupt(0x42);
    apic.acknowledge();
    CHECK(in_service(0x42));
    CHECK(m.read<u8>(kAt) == 0);
  }
  SUBCASE("switching it off makes the EOI that waits") {
    interrupt(0x41);
    apic.acknowledge();
    m.write<u8>(kAt, 0);
    CHECK(m.wrmsr(kEoi, 0));
    CHECK_FALSE(in_service(0x41));
    interrupt(0x43);
    apic.acknowledge();
    CHECK(m.read<u8>(kAt) == 0);
  }
  SUBCASE("bad addresses are refused") {
    for (const u64 bad : {kAt | 2, kNowhere | 1, kRegisters | 1}) CHECK_FALSE(m.wrmsr(kEoi, bad));
    CHECK(m.rdmsr(kEoi) == (kAt | 1));
  }
}

TEST_CASE("calls answer in RAX, by both instructions; what there is not is ENOSYS, and ring 3 may not") {
  for (const bool amd : {false, true}) {
    Guest m;
    m.amd = amd;
    CHECK(m.call(1) == 0);
    for (const u64 number : {u64{0}, u64{2}, u64{3}, u64{4}, u64{6}, u64{9}, u64{12}, ~u64{0}, u64{1} << 32 | 5}) CHECK(m.call(number) == -1000);
    CHECK(m.call(11, 0) == 0);
    CHECK(m.turns_ended == 1);
    m.long64(3);
    for (const u64 number : {5, 10, 11, 99}) CHECK(m.call(number) == -1);
    CHECK(m.turns_ended == 1);
    m.long64(0, true);  // compatibility mode: 32 bits of everything
    CHECK(m.call(u64{1} << 32 | 99) == 0xFFFFFC18);
  }
}

TEST_CASE("a kick ends the next HLT, once; nobody else's") {
  Guest m;
  CHECK(m.call(5, 0, 77) == 0);  // no such processor
  m.s.rip = Guest::kCode;
  m.run({0xF4});
  CHECK(m.s.activity == Activity::Halted);
  m.s.activity = Activity::Running;
  CHECK(m.call(5, 0, 0) == 0);
  m.s.rip = Guest::kCode;
  m.run({0xF4});
  CHECK(m.s.activity == Activity::Running);
  m.s.rip = Guest::kCode;
  m.run({0xF4});
  CHECK(m.s.activity == Activity::Halted);
}

TEST_CASE("interrupts go to the processors of the bitmap; logical destinations and shorthands are refused") {
  Guest m;
  LocalApic& apic = m.apic_at(0);
  CHECK(m.call(10, 1, 0, 0, 0x51) == 0);  // its APIC takes none yet
  apic.enter_virtual_wire_mode();
  CHECK(m.call(10, 1, 0, 0, 0x51) == 1);
  CHECK(apic.acknowledge() == 0x51);
  CHECK(m.call(10, ~u64{0} - 1, ~u64{0}, 0, 0x51) == 0);
  CHECK(m.call(10, ~u64{0}, ~u64{0}, 1, 0x51) == 0);
  CHECK(m.call(10, ~u64{0}, ~u64{0}, 0xFFFFFFFF, 0x51) == 0);
  CHECK(m.call(10, 1, 0, 0, 0x5) == 0);            // vectors below 16
  CHECK(m.call(10, 1, 0, 0, 0x700) == 0);          // ExtINT
  CHECK(m.call(10, 1, 0, 0, 0x400) == 1);          // NMI
  CHECK(m.call(10, 1, 0, 0, 0x851) == -22);
  CHECK(m.call(10, 1, 0, 0, 0x40051) == -22);
}

TEST_CASE("INIT and reset leave nothing; save and restore leave everything, and the hash sees it") {
  Guest m;
  const u64 fresh = m.hash();
  m.wrmsr(kSystemTime, kAt | 1);
  const u64 with_clock = m.hash();
  CHECK(with_clock != fresh);
  m.wrmsr(kSteal, (kAt + 0x100) | 1);
  m.wrmsr(kEoi, (kAt + 0x200) | 1);
  m.call(5, 0, 0);
  const u64 all = m.hash();
  CHECK(all != with_clock);
  StateWriter saved;
  m.hypervisor->sync(saved);
  const auto bytes = saved.take();
  m.hypervisor->initialized(m.cpu);
  CHECK(m.hash() == fresh);
  StateReader in(bytes);
  m.hypervisor->sync(in);
  CHECK(in.good());
  CHECK(in.at_end());
  CHECK(m.hash() == all);
  m.wrmsr(kWallClock, kAt);
  m.hypervisor->reset();
  CHECK(m.hash() == fresh);
}

// What each feature is for, with a processor to talk to.
TEST_CASE("with two processors, each of KVM's features does what it is for, and is counted") {
  Guest m(kKvm, 2);
  Cpu& other = m.cpu_at(1);
  LocalApic& apic = m.apic_at(1);
  other.s = m.cpu.s;
  other.refresh();
  apic.enter_virtual_wire_mode();

  SUBCASE("PV unhalt: a kick ends the other's HLT, or keeps it from the next") {
    other.s.activity = Activity::Halted;
    CHECK(m.call(5, 0, 1) == 0);
    CHECK(other.s.activity == Activity::Running);
    CHECK_FALSE(other.hypervisor->takes_wakeup(other));
    CHECK(m.call(5, 0, 1) == 0);
    CHECK(other.hypervisor->takes_wakeup(other));
    CHECK(m.counted("kvm_kicks") == 2);
  }
  SUBCASE("PV IPI: one call, both processors") {
    m.apic_at(0).enter_virtual_wire_mode();
    CHECK(m.call(10, 3, 0, 0, 0x51) == 2);
    CHECK(m.apic_at(0).acknowledge() == 0x51);
    CHECK(apic.acknowledge() == 0x51);
    CHECK(m.call(10, 1, 0, 1, 0x62) == 1);  // the bitmap begins at APIC id 1
    CHECK_FALSE(m.apic_at(0).pending());
    CHECK(apic.acknowledge() == 0x62);
    CHECK(m.counted("kvm_ipi_calls") == 2);
    CHECK(m.counted("kvm_ipi_destinations") == 3);
  }
  SUBCASE("PV TLB flush: who doesn't run is left a note, and afterwards sees the new page tables") {
    constexpr u64 kLinear = 0x40180000, kEntry = Guest::kTables + 0x3000;  // the entry of the second GiB's first 2 MiB
    m.write<u64>(0x180000, 0xAAAA);
    m.write<u64>(0x380000, 0xBBBB);
    m.write<u64>(kEntry, 0x87);
    CHECK(other.load_linear<u64>(kLinear, true) == 0xAAAA);
    m.hypervisor->write_msr(other, kSteal, kAt | 1);
    m.hypervisor->slice_ends(other);
    REQUIRE(m.read<u8>(kAt + 16) == 1);
    m.write<u64>(kEntry, 0x200087);
    m.write<u8>(kAt + 16, 1 | 2);  // instead of an interrupt
    m.hypervisor->slice_begins(other);
    CHECK(m.read<u8>(kAt + 16) == 0);
    CHECK(other.load_linear<u64>(kLinear, true) == 0xBBBB);
    CHECK(m.counted("kvm_flushes_deferred") == 1);
    m.hypervisor->slice_ends(other);
    m.hypervisor->slice_begins(other);
    CHECK(m.counted("kvm_flushes_deferred") == 1);
  }
  SUBCASE("PV EOI: each processor has its own") {
    m.hypervisor->write_msr(other, kEoi, kAt | 1);
    CHECK(m.call(10, 2, 0, 0, 0x51) == 1);
    CHECK(apic.acknowledge() == 0x51);
    CHECK(m.read<u8>(kAt) == 1);
    m.write<u8>(kAt, 0);
    CHECK(m.call(10, 2, 0, 0, 0x31) == 1);
    CHECK(apic.acknowledge() == 0x31);
    CHECK(m.counted("kvm_eois_in_memory") == 1);
  }
  SUBCASE("the scheduler's yield ends the caller's turn") {
    CHECK(m.call(11, 1) == 0);
    CHECK(m.turns_ended == 1);
    CHECK(m.counted("kvm_yields") == 1);
  }
  SUBCASE("what is counted is no state") {
    const u64 before = m.hash();
    m.call(11, 1);
    m.call(10, 0, 0, 0, 0x51);
    CHECK(m.hash() == before);
  }
}
