// Hyper-V's interface: its leaves and registers, what its calls do, and what each refuses.
#include <doctest/doctest.h>

#include "paravirt/test_host.h"

using namespace callgate;
using namespace callgate::paravirt;

namespace {

constexpr u64 kPage = 0x200000, kInput = 0x300000, kNowhere = u64{1} << 45, kRegisters = 0xFEE00000;
constexpr u32 kGuestOsId = 0x40000000, kHypercall = 0x40000001, kVpIndex = 0x40000002, kTimeRefCount = 0x40000020,
              kReferenceTsc = 0x40000021, kTscFrequency = 0x40000022, kApicFrequency = 0x40000023, kEoi = 0x40000070,
              kIcr = 0x40000071, kTpr = 0x40000072, kAssist = 0x40000073, kGuestIdle = 0x400000F0, kInvariant = 0x40000118;
constexpr u64 kLinux = u64{0x8100} << 48;
constexpr u64 kFast = 1 << 16;
constexpr u64 reps(u64 n) { return n << 32; }
constexpr u64 variable(u64 n) { return n << 17; }
enum : u64 { kSuccess = 0, kInvalidCode = 2, kInvalidInput = 3, kInvalidAlignment = 4, kInvalidParameter = 5 };

struct Guest : TestHost {
  explicit Guest(unsigned cpus = 1, Set set = kHyperv) : TestHost(set, cpus) {
    long64();
    for (unsigned n = 1; n < cpus; n++) cpu_at(n).s = s, cpu_at(n).refresh();
    for (unsigned n = 0; n < cpus; n++) apic_at(n).enter_virtual_wire_mode();
  }
  void begin() {
    REQUIRE(wrmsr(kGuestOsId, kLinux));
    REQUIRE(wrmsr(kHypercall, kPage | 1));
  }
  /// A call through the page, as guests make it. The result; all ones: #UD.
  u64 call(u64 control, u64 input = 0, u64 more = 0) {
    s.rip = kPage;
    s.gpr[RSP] = 0x20000;
    s.gpr[RCX] = control, s.gpr[RDX] = input, s.gpr[R8] = more;
    const u64 faults = TestMachine::cpu.faults_delivered();
    run();
    if (TestMachine::cpu.faults_delivered() == faults) return s.gpr[RAX];
    long64();
    return ~u64{0};
  }
  /// By memory: the input block holds `words`.
  u64 call(u64 control, std::initializer_list<u64> words) {
    u64 at = kInput;
    for (const u64 w : words) write<u64>(at, w), at += 8;
    return call(control, kInput);
  }
  CpuState& s = TestMachine::cpu.s;
};

}  // namespace

TEST_CASE("Hyper-V's leaves offer what there is") {
  Guest m(2);
  const auto leaf = [&](u32 n) { return m.hypervisor->cpuid(m.cpu, 0x40000000 + n, 0); };
  CHECK(leaf(0).eax == 0x40000006);
  CHECK(leaf(0).ebx == 0x7263694D);  // "Micr"
  CHECK(leaf(0).ecx == 0x666F736F);  // "osof"
  CHECK(leaf(0).edx == 0x76482074);  // "t Hv"
  CHECK(leaf(1).eax == 0x31237648);  // "Hv#1"
  CHECK(leaf(3).eax == 0x8E72);      // neither synthetic interrupts nor timers, nor a reset register
  CHECK(leaf(3).ebx == 0);
  CHECK(leaf(3).edx == 0x120);       // no input in vector registers, no extended ranges
  CHECK(leaf(4).eax == 0xE2C);
  CHECK(leaf(5).eax == 2);
  // At the first block, whatever else there is.
  Guest both(1, kKvm | kHyperv | kVmware | kCallgate);
  CHECK(both.hypervisor->cpuid(both.cpu, 0x40000000, 0).ebx == 0x7263694D);
  CHECK(both.hypervisor->cpuid(both.cpu, 0x40000200, 0).ebx == 0x4B4D564B);
}

TEST_CASE("the hypercall page comes when the guest has said who it is, and goes with that") {
  Guest m;
  CHECK(m.wrmsr(kHypercall, kPage | 1));
  CHECK(m.rdmsr(kHypercall) == kPage);  // not without a name
  CHECK(m.read<u32>(kPage) == 0);
  for (const u64 bad : {kNowhere | 1, kRegisters | 1, ~u64{0}}) {
    m.wrmsr(kGuestOsId, kLinux);
    CHECK_FALSE(m.wrmsr(kHypercall, bad));
  }
  m.begin();
  CHECK(m.rdmsr(kGuestOsId) == kLinux);
  CHECK(m.rdmsr(kHypercall) == (kPage | 1));
  CHECK(m.read<u32>(kPage) == 0xC3C1010F);
  CHECK(m.call(8 | kFast) == kSuccess);
  CHECK(m.turns_ended == 1);
  CHECK(m.wrmsr(kGuestOsId, 0));
  CHECK(m.rdmsr(kHypercall) == kPage);
  CHECK(m.call(8 | kFast) == ~u64{0});
  m.begin();
  CHECK(m.wrmsr(kHypercall, kPage | 3));  // locked
  CHECK(m.wrmsr(kHypercall, 0));
  CHECK(m.rdmsr(kHypercall) == (kPage | 3));
}

TEST_CASE("calls are for the kernel, in protected mode; 32 bits of each register outside 64-bit mode") {
  Guest m;
  m.begin();
  m.long64(3);
  CHECK(m.call(8 | kFast) == ~u64{0});
  m.long64(0, true);
  m.s.rip = kPage;
  m.s.gpr[RDX] = 0, m.s.gpr[RAX] = 8 | kFast, m.s.gpr[RBX] = m.s.gpr[RCX] = m.s.gpr[RDI] = m.s.gpr[RSI] = 0;
  m.run();
  CHECK(m.s.gpr[RAX] == 0);
  CHECK(m.turns_ended == 1);
  m.s.rip = kPage;
  m.s.gpr[RDX] = 1 << 16, m.s.gpr[RAX] = 3;  // repetition 1 of 0
  m.run();
  CHECK(m.s.gpr[RAX] == kInvalidInput);
  CHECK(m.s.gpr[RDX] == 1);
}

TEST_CASE("the registers that tell: who one is, frequencies, the time in 100 ns") {
  Guest m(3);
  CHECK(m.rdmsr(kVpIndex) == 0);
  u64 index = 9;
  CHECK(m.hypervisor->read_msr(m.cpu_at(2), kVpIndex, index) == MsrAnswer::Done);
  CHECK(index == 2);
  CHECK(m.rdmsr(kTscFrequency) == 1'000'000'000);
  CHECK(m.rdmsr(kApicFrequency) == 1'000'000'000);
  for (const u64 now : {u64{0}, u64{99}, u64{100}, u64{12'345'678'999}, u64{1} << 55}) {
    m.platform.time = now;
    CHECK(m.rdmsr(kTimeRefCount) == now / 100);
  }
  for (const u32 fixed : {kVpIndex, kTimeRefCount, kTscFrequency, kApicFrequency, kGuestIdle}) CHECK_FALSE(m.wrmsr(fixed, 0));
  CHECK(m.wrmsr(kInvariant, 1));
  CHECK(m.rdmsr(kInvariant) == 1);
  CHECK_FALSE(m.wrmsr(kInvariant, 2));
  for (const u32 none : {0x40000003u, 0x40000010u, 0x40000080u, 0x40000090u, 0x400000B0u, 0x40000100u, 0x40000106u}) {
    CHECK(m.rdmsr(none) == ~u64{0});
    CHECK_FALSE(m.wrmsr(none, 0));
  }
}

TEST_CASE("the reference TSC page draws the line on which the register lies") {
  Guest m(2);
  m.platform.time = 5'000'000'000;
  for (const u64 bad : {kNowhere | 1, kRegisters | 1}) CHECK_FALSE(m.wrmsr(kReferenceTsc, bad));
  CHECK(m.wrmsr(kReferenceTsc, kPage | 1));
  const auto read = [&](u64 tsc) {
    return static_cast<u64>(static_cast<u128>(tsc) * m.read<u64>(kPage + 8) >> 64) + m.read<u64>(kPage + 16);
  };
  CHECK(m.read<u32>(kPage) == 1);
  for (const u64 now : {u64{5'000'000'000}, u64{5'000'000'099}, u64{5'000'000'100}, u64{77'777'777'777}}) CHECK(read(now) == now / 100);
  m.cpu_at(1).s.msr.tsc_adjust = 700;
  m.hypervisor->tsc_changed(m.cpu);
  CHECK(m.read<u32>(kPage) == 0);  // two lines: ask the register
  m.cpu.s.msr.tsc_adjust = 700;
  m.hypervisor->tsc_changed(m.cpu);
  CHECK(m.read<u32>(kPage) == 2);
  CHECK(read(m.platform.time + 700) == m.platform.time / 100);
  CHECK(m.wrmsr(kReferenceTsc, 0));
}

TEST_CASE("the local APIC's registers, in both of its modes") {
  Guest m(2);
  LocalApic& apic = m.apic_at(0);
  for (const bool x2 : {false, true}) {
    if (x2) REQUIRE(apic.write_msr(kMsrApicBase, 0xFEE00D00));
    CHECK(m.wrmsr(kTpr, 0x20));
    CHECK(apic.cr8() == 2);
    CHECK(m.rdmsr(kTpr) == 0x20);
    CHECK(m.wrmsr(kTpr, 0));
    CHECK(m.wrmsr(kIcr, u64{1} << 56 | 0x61));
    CHECK(m.apic_at(1).acknowledge() == 0x61);
    CHECK((m.rdmsr(kIcr) >> 56) == 1);
    CHECK((m.rdmsr(kIcr) & 0xFF) == 0x61);
    m.apic_at(1).write(0xB0, 4, 0);
    ApicMessage message;
    message.vector = 0x41;
    apic.receive(message);
    CHECK(apic.acknowledge() == 0x41);
    apic.receive(message);
    CHECK_FALSE(apic.pending());
    CHECK(m.wrmsr(kEoi, 0));
    CHECK(apic.pending());
    CHECK(apic.acknowledge() == 0x41);
    CHECK(m.wrmsr(kEoi, 12345));
  }
  CHECK(m.rdmsr(kEoi) == ~u64{0});
  REQUIRE(apic.write_msr(kMsrApicBase, 0xFEE00100));
  for (const u32 index : {kEoi, kIcr, kTpr}) CHECK_FALSE(m.wrmsr(index, 0));
  for (const u32 index : {kIcr, kTpr}) CHECK(m.rdmsr(index) == ~u64{0});
}

TEST_CASE("the assist page: an EOI that needs no register") {
  Guest m;
  LocalApic& apic = m.apic_at(0);
  m.write<u32>(kPage, 0xFFFFFFFF);
  for (const u64 bad : {kNowhere | 1, kRegisters | 1}) CHECK_FALSE(m.wrmsr(kAssist, bad));
  CHECK(m.wrmsr(kAssist, kPage | 1));
  CHECK(m.rdmsr(kAssist) == (kPage | 1));
  CHECK(m.read<u32>(kPage) == 0);
  ApicMessage message;
  message.vector = 0x41;
  apic.receive(message);
  CHECK(apic.acknowledge() == 0x41);
  CHECK(m.read<u32>(kPage) == 1);
  m.write<u32>(kPage, 0);
  message.vector = 0x31;
  apic.receive(message);
  CHECK(apic.acknowledge() == 0x31);
  CHECK(m.counted("hyperv_eois_in_memory") == 1);
  // By the register, although there was an offer.
  CHECK(m.wrmsr(kEoi, 0));
  CHECK(m.read<u32>(kPage) == 0);
  CHECK(m.counted("hyperv_eois_in_memory") == 1);
}

TEST_CASE("GUEST_IDLE waits for an interrupt, even one that may not be taken") {
  Guest m;
  m.s.flags.set_value(0);  // IF = 0
  CHECK(m.rdmsr(kGuestIdle) == 0);
  CHECK(m.s.activity == Activity::Halted);
  CHECK(m.hypervisor->will_wake(m.cpu));
  ApicMessage message;
  message.vector = 0x41;
  m.apic_at(0).receive(message);
  CHECK(m.s.activity == Activity::Running);
  CHECK_FALSE(m.hypervisor->will_wake(m.cpu));
  CHECK(m.rdmsr(kGuestIdle) == 0);  // one waits: it is over at once
  CHECK(m.s.activity == Activity::Running);
  // A HLT is not ended like that.
  Guest h;
  h.s.flags.set_value(0);
  h.rdmsr(kGuestIdle);
  h.s.activity = Activity::Running;
  h.s.rip = Guest::kCode;
  h.run({0xF4});
  h.apic_at(0).receive(message);
  CHECK(h.s.activity == Activity::Halted);
}

TEST_CASE("flushes are by mask or by set, of everything or of a list") {
  Guest m(3);
  m.begin();
  CHECK(m.call(0x02, {0x1000, 0, 6}) == kSuccess);
  CHECK(m.counted("hyperv_flush_destinations") == 2);
  CHECK(m.call(0x02, {0x1000, 7, 0}) == kSuccess);  // all processors
  CHECK(m.counted("hyperv_flush_destinations") == 4);
  CHECK(m.call(0x03 | reps(2), {0x1000, 0, 2, 0x5000, 0x7FFF}) == reps(2));
  CHECK(m.call(0x03 | reps(2) | u64{1} << 48, {0x1000, 0, 2, 0x5000, 0x7FFF}) == reps(2));  // it goes on
  CHECK(m.call(0x13 | variable(1), {0x1000, 0, 0, 1, 4}) == kSuccess);
  CHECK(m.call(0x13 | variable(2), {0x1000, 0, 0, 3, 4, ~u64{0}}) == kSuccess);  // processors 64 and up: nobody
  CHECK(m.call(0x13, {0x1000, 0, 1, 0}) == kSuccess);
  CHECK(m.call(0x14 | variable(1) | reps(1), {0x1000, 0, 0, 1, 6, 0x5000}) == reps(1));
  CHECK(m.counted("hyperv_flushes") == 8);
  CHECK(m.counted("hyperv_calls_refused") == 0);
  CHECK(m.counted("hyperv_flush_destinations") == 4 + 1 + 1 + 1 + 1 + 2 + 2);
}

TEST_CASE("a flush is done when it is asked for") {
  Guest m(2);
  m.begin();
  constexpr u64 kLinear = 0x40180000, kEntry = Guest::kTables + 0x3000;
  m.write<u64>(0x180000, 0xAAAA);
  m.write<u64>(0x380000, 0xBBBB);
  m.write<u64>(kEntry, 0x87);
  CHECK(m.cpu_at(1).load_linear<u64>(kLinear, true) == 0xAAAA);
  m.write<u64>(kEntry, 0x200087);
  CHECK(m.call(0x02, {Guest::kTables, 0, 2}) == kSuccess);
  CHECK(m.cpu_at(1).load_linear<u64>(kLinear, true) == 0xBBBB);
}

TEST_CASE("interrupts by mask or by set, in registers or in memory") {
  Guest m(3);
  m.begin();
  CHECK(m.call(0x0B | kFast, 0x51, 6) == kSuccess);
  CHECK(m.apic_at(1).acknowledge() == 0x51);
  CHECK(m.apic_at(2).acknowledge() == 0x51);
  CHECK_FALSE(m.apic_at(0).pending());
  CHECK(m.call(0x0B, {0x61, ~u64{0}}) == kSuccess);
  for (unsigned n = 0; n < 3; n++) CHECK(m.apic_at(n).acknowledge() == 0x61);
  CHECK(m.call(0x15 | variable(1), {0x71, 0, 1, 4}) == kSuccess);
  CHECK(m.apic_at(2).acknowledge() == 0x71);
  CHECK(m.call(0x15, {0x81, 1, 0}) == kSuccess);
  for (unsigned n = 0; n < 3; n++) CHECK(m.apic_at(n).acknowledge() == 0x81);
  CHECK(m.call(0x15, {0x91, 0, 0}) == kSuccess);  // nobody
  CHECK(m.counted("hyperv_ipi_calls") == 5);
  CHECK(m.counted("hyperv_ipi_destinations") == 9);
  // Who takes none now is passed over.
  m.apic_at(1).write(0xF0, 4, 0xFF);
  CHECK(m.call(0x0B | kFast, 0xA1, 2) == kSuccess);
  CHECK_FALSE(m.apic_at(1).pending());
}

TEST_CASE("wrong calls are refused, and do nothing") {
  Guest m(2);
  m.begin();
  const u64 before = m.hash();
  for (const u64 code : {0x0ull, 0x1ull, 0x4ull, 0x5Cull, 0x8001ull, 0xFFFFull}) {
    CHECK(m.call(code, kInput) == kInvalidCode);
    CHECK(m.call(code | kFast) == kInvalidCode);
  }
  // Bits that have to be 0.
  for (const unsigned bit : {27, 30, 31, 44, 47, 60, 63}) CHECK(m.call(0x0B | kFast | u64{1} << bit, 0x51, 2) == kInvalidInput);
  // Repetitions where there are none, none where there must be, and a start behind the end.
  CHECK(m.call(0x0B | kFast | reps(1), 0x51, 2) == kInvalidInput);
  CHECK(m.call(0x02 | reps(1), {0, 0, 2}) == kInvalidInput);
  CHECK(m.call(0x03, {0, 0, 2}) == kInvalidInput);
  CHECK(m.call(0x03 | reps(1) | u64{1} << 48, {0, 0, 2, 0}) == (kInvalidInput | reps(1)));
  CHECK(m.call(0x08 | kFast | reps(1)) == kInvalidInput);
  // A header of variable size where there is none, and of the wrong size.
  CHECK(m.call(0x02 | variable(1), {0, 0, 2}) == kInvalidInput);
  CHECK(m.call(0x13 | variable(1), {0, 0, 0, 0, 0}) == kInvalidInput);
  CHECK(m.call(0x13, {0, 0, 0, 1, 1}) == kInvalidInput);
  CHECK(m.call(0x15 | variable(1), {0x51, 1, 1, 1}) == kInvalidInput);
  CHECK(m.call(0x15 | variable(1), {0x51, 2, 1, 1}) == kInvalidInput);
  CHECK(m.call(0x13 | variable(0x3FF), kInput) == kInvalidAlignment);
  // More than two registers hold.
  CHECK(m.call(0x02 | kFast, 0, 0) == kInvalidInput);
  CHECK(m.call(0x15 | kFast, 0x51, 1) == kInvalidInput);
  // Input that is not aligned, reaches beyond its page, or is no RAM.
  CHECK(m.call(0x02, kInput + 4) == kInvalidAlignment);
  CHECK(m.call(0x02, kInput + 0xFF0) == kInvalidAlignment);
  CHECK(m.call(0x03 | reps(510), kInput) == kInvalidAlignment);
  CHECK(m.call(0x03 | reps(0xFFF), kInput) == kInvalidAlignment);
  for (const u64 bad : {kNowhere, kRegisters, ~u64{7}, kPhysicalEnd - 8, kPhysicalEnd}) {
    CHECK(m.call(0x0B, bad) != kSuccess);
    CHECK(m.call(0x02, bad) != kSuccess);
    CHECK(m.call(0x08, bad) != kSuccess);
  }
  // Flags that there are not; vectors that are none; a level of trust.
  for (const u64 flag : {8ull, 16ull, 1ull << 63}) CHECK(m.call(0x02, {0, flag, 2}) == kInvalidParameter);
  for (const u64 vector : {0x0Full, 0x100ull, 0x100000051ull, ~0ull}) CHECK(m.call(0x0B | kFast, vector, 2) == kInvalidInput);
  CHECK_FALSE(m.apic_at(1).pending());
  CHECK(m.turns_ended == 0);
  CHECK(m.hash() == before);
}

TEST_CASE("Hyper-V: INIT and reset leave nothing; save and restore leave everything, and the hash sees it") {
  Guest m(2);
  const u64 fresh = m.hash();
  m.wrmsr(kAssist, (kPage + 0x1000) | 1);
  CHECK(m.hash() != fresh);
  m.hypervisor->initialized(m.cpu);
  CHECK(m.hash() == fresh);
  m.begin();
  const u64 begun = m.hash();
  CHECK(begun != fresh);
  m.wrmsr(kReferenceTsc, (kPage + 0x2000) | 1);
  m.wrmsr(kInvariant, 1);
  m.wrmsr(kAssist, (kPage + 0x1000) | 1);
  m.rdmsr(kGuestIdle);
  const u64 all = m.hash();
  CHECK(all != begun);
  StateWriter saved;
  m.hypervisor->sync(saved);
  const auto bytes = saved.take();
  m.hypervisor->reset();
  CHECK(m.hash() == fresh);
  StateReader in(bytes);
  m.hypervisor->sync(in);
  CHECK(in.good());
  CHECK(in.at_end());
  CHECK(m.hash() == all);
}

TEST_CASE("beside KVM's, a call is Hyper-V's once the guest has its page, and else KVM's") {
  Guest m(1, kKvm | kHyperv);
  m.s.rip = Guest::kCode;
  m.s.gpr[RAX] = 11, m.s.gpr[RCX] = 8 | kFast;
  m.run({0x0F, 0x01, 0xC1});
  CHECK(m.counted("kvm_yields") == 1);
  CHECK(m.counted("hyperv_calls") == 0);
  m.begin();
  CHECK(m.call(8 | kFast) == kSuccess);
  CHECK(m.counted("kvm_yields") == 1);
  CHECK(m.counted("hyperv_spin_waits") == 1);
}
