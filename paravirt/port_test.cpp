// Callgate's port, call by call: what each does, and what each refuses.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "paravirt/abi.h"
#include "paravirt/port_call.h"
#include "paravirt/test_host.h"

using namespace callgate;
using namespace callgate::paravirt;
using namespace callgate::paravirt::abi;

namespace {

constexpr u64 kBuffer = 0x200000, kOther = 0x240000, kRingAt = 0x280000;

class Port : public TestHost {
 public:
  Port() : TestHost(kCallgate) { long64(); }
  /// One call by the immediate form; the registers that are not results must be kept.
  Back call(u32 number, u64 a = 0, u64 b = 0, u64 c = 0, u64 d = 0, u64 e = 0) {
    CpuState& s = TestMachine::cpu.s;
    s.rip = kCode;
    s.gpr[RAX] = number;
    s.gpr[RBX] = a, s.gpr[RCX] = b, s.gpr[RSI] = c, s.gpr[RDI] = d, s.gpr[R8] = e, s.gpr[R9] = 0;
    s.gpr[RDX] = 0xE4;
    const u64 faults = TestMachine::cpu.faults_delivered();
    if (dx) run({0xED, 0x90, 0x90});
    else run({0xE5, 0xE4, 0x90});
    if (TestMachine::cpu.faults_delivered() != faults) return {0xBAD, 0};
    CHECK(s.gpr[RCX] == b);
    CHECK(s.gpr[RSI] == c);
    CHECK(s.gpr[RDI] == d);
    CHECK(s.gpr[R8] == e);
    CHECK(s.gpr[RDX] == 0xE4);
    CHECK((s.gpr[RAX] >> 32) == 0);
    return {static_cast<u32>(s.gpr[RAX]), s.gpr[RBX]};
  }
  void hello(u32 features = kFeatures) { REQUIRE(call(kHello, kVersion, features) == Back{kOk, features}); }
  void put(u64 at, std::string_view text) { ram_map.bus_write(at, {reinterpret_cast<const u8*>(text.data()), text.size()}); }
  std::string get(u64 at, std::size_t n) {
    std::string text(n, 0);
    ram_map.bus_read(at, {reinterpret_cast<u8*>(text.data()), n});
    return text;
  }
  /// The 2 MiB page of `address` becomes so: 0x87 is present, writable, for everybody, large.
  void map(u64 address, u64 bits) { write<u64>(kTables + 0x2000 + 8 * (address >> 21), (address & ~u64{0x1FFFFF}) | bits); }
  bool dx = false;
  CpuState& s = TestMachine::cpu.s;
};

}  // namespace

TEST_CASE("nothing but probing works before HELLO, and then what it granted") {
  Port m;
  CHECK(m.call(kProbe) == Back{kOk, kVersion});
  CHECK(m.call(kNow) == Back{kNotNegotiated, 0});
  CHECK(m.call(kDoorbell) == Back{kNotNegotiated, 0});
  CHECK(m.call(kHello, 2u << 16, kFeatures) == Back{kBadVersion, kVersion});
  CHECK(m.call(kHello, kVersion + 1, kFeatures) == Back{kBadVersion, kVersion});
  CHECK(m.call(kHello, 0, kFeatures) == Back{kBadVersion, kVersion});
  CHECK(m.call(kHello, kVersion, ~u64{0}) == Back{kOk, kFeatures});
  CHECK(m.call(kNow).status == kOk);
  CHECK(m.call(kHello, kVersion, 1u << kMem) == Back{kOk, 1u << kMem});
  CHECK(m.call(kNow) == Back{kNotNegotiated, 0});
  CHECK(m.call(kRing, kRingAt, 8) == Back{kNotNegotiated, 0});
}

TEST_CASE("every number has its call or is ENOSYS, and QUERY agrees") {
  Port m;
  unsigned known = 0;
  for (u32 group = 0; group < kGroups + 2; group++)
    for (u32 number = 0; number < 12; number++) {
      const u32 n = group << 16 | number;
      const bool there = find_call(n) != nullptr;
      known += there;
      const u32 expected = there ? kOk : kNoSys;
      CHECK(m.call(kQuery, n).status == expected);
      if (!there) CHECK(m.call(n) == Back{kNoSys, 0});
    }
  CHECK(known == port_calls().size());
  for (const u64 n : {~u64{0}, u64{1} << 32, u64{0xFFFF}, u64{call(kTest, 8)}}) CHECK(m.call(kQuery, n) == Back{kNoSys, 0});
  CHECK(m.call(kQuery, kFlushTlb) == Back{kOk, kNoop});
  CHECK(m.call(kQuery, kWrite) == Back{kOk, kCall});
}

TEST_CASE("both forms of the instruction call, and no other access to the port") {
  Port m;
  m.dx = true;
  CHECK(m.call(kProbe) == Back{kOk, kVersion});
  m.s.gpr[RAX] = kProbe, m.s.gpr[RBX] = 7;
  m.platform.io_value = 0xFFFFFFFF;
  m.run({0xE4, 0xE4});  // in al
  CHECK(m.s.gpr[RBX] == 7);
  CHECK(m.s.gpr[RAX] == 0xFF);
  m.run({0xE7, 0xE4});  // out
  CHECK(m.s.gpr[RBX] == 7);
}

TEST_CASE("in 32-bit code the arguments are the lower halves, and the rest of RBX goes") {
  Port m;
  m.hello();
  m.long64(0, true);
  CHECK(m.call(kProbe, 0xFFFFFFFF00000000) == Back{kOk, kVersion});
  m.put(kBuffer, "abc");
  CHECK(m.call(kWrite, 0xABCD00000000 | kBuffer, 0x100000003) == Back{kOk, 3});
  CHECK(m.console_.bytes == "abc");
  CHECK(m.call(kNow, kBuffer).status == kOk);
  CHECK(m.read<u64>(kBuffer) == m.platform.now());
  CHECK(m.call(kLoadTls, 2) == Back{kBadMode, 0});
}

TEST_CASE("real mode and virtual-8086 mode call too; what is about protected mode is EMODE") {
  Port m;
  m.hello();
  m.real();
  const auto call16 = [&](u32 number, u32 a, u32 b) {
    m.s.rip = m.s.seg[CS].base == 0 ? Port::kCode : 0;
    m.s.gpr[RAX] = number, m.s.gpr[RBX] = a, m.s.gpr[RCX] = b;
    m.run({0x66, 0xE5, 0xE4});
    return Back{static_cast<u32>(m.s.gpr[RAX]), m.s.gpr[RBX]};
  };
  CHECK(call16(kProbe, 0, 0) == Back{kOk, kVersion});
  m.put(0x7FF0, "real");
  CHECK(call16(kWrite, 0x7FF0, 4) == Back{kOk, 4});
  CHECK(m.console_.bytes == "real");
  CHECK(call16(kSetSp0, 0x1000, 0) == Back{kBadMode, 0});
  CHECK(call16(kWrite, 0xFFFE, 4) == Back{kFault, 2});  // beyond DS's limit
  m.v86(3);
  m.write<u16>(Port::kTss + 0x66, 0x80);
  CHECK(call16(kProbe, 0, 0) == Back{kOk, kVersion});
  CHECK(call16(kNow, 0, 0) == Back{kPerm, 0});
}

TEST_CASE("ring 3 needs IOPL or the bitmap, and then the mask; what is ring 0's stays so") {
  Port m;
  m.hello();
  CHECK(m.call(kUserMask, 1u << kCpu) == Back{kInvalid, 0});
  CHECK(m.call(kUserMask, 1u << kIrq) == Back{kInvalid, 0});
  CHECK(m.call(kUserMask, u64{1} << 40) == Back{kInvalid, 0});
  m.write<u16>(Port::kTss + 0x66, 0x1000);  // no bitmap
  m.long64(3);
  CHECK(m.call(kProbe) == Back{0xBAD, 0});
  CHECK(m.last_fault() == "#GP(0x0)");
  m.long64(3);
  m.s.flags.set_value(kFlagsFixed | 3u << 12);
  CHECK(m.call(kProbe) == Back{kOk, kVersion});
  CHECK(m.call(kNow) == Back{kPerm, 0});
  m.long64(0);
  CHECK(m.call(kUserMask, 1u << kTime | 1u << kMem) == Back{kOk, 1u << kTime | 1u << kMem});
  m.long64(3);
  m.s.flags.set_value(kFlagsFixed | 3u << 12);
  CHECK(m.call(kNow).status == kOk);
  CHECK(m.call(kDeadline, 5, 0x40) == Back{kPerm, 0});
  CHECK(m.call(kWrite, kBuffer, 1) == Back{kPerm, 0});
  CHECK(m.call(kHello, kVersion, 0) == Back{kPerm, 0});
  CHECK(m.call(kUserMask, 0) == Back{kPerm, 0});
  CHECK(m.call(kEoi) == Back{kPerm, 0});
  CHECK(m.call(kMsrBatch) == Back{kPerm, 0});
  m.s.cr4 |= kCr4Tsd;
  CHECK(m.call(kNow) == Back{kPerm, 0});
}

TEST_CASE("memory is what the caller may access: pages, privilege, SMAP, write protection") {
  Port m;
  m.hello();
  m.map(0x200000, 0x83);  // the kernel's
  CHECK(m.call(kFill, kBuffer, 'x', 4) == Back{kOk, 4});
  m.map(0x200000, 0x81);  // read-only, and CR0.WP
  m.TestMachine::cpu.refresh();
  CHECK(m.call(kFill, kBuffer, 'y', 4) == Back{kFault, 0});
  CHECK(m.call(kWrite, kBuffer, 4) == Back{kOk, 4});
  m.map(0x200000, 0x87);
  m.s.cr4 |= kCr4Smap;
  m.TestMachine::cpu.refresh();
  CHECK(m.call(kWrite, kBuffer, 4) == Back{kFault, 0});
  m.s.cr4 &= ~u64{kCr4Smap};
  m.TestMachine::cpu.refresh();
  CHECK(m.call(kUserMask, 1u << kMem).status == kOk);
  m.map(0x200000, 0x83);
  m.long64(3);
  m.s.flags.set_value(kFlagsFixed | 3u << 12);
  m.map(0x200000, 0x83);
  CHECK(m.call(kFill, kBuffer, 'z', 4) == Back{kFault, 0});
  CHECK(m.get(kBuffer, 4) == "xxxx");
  // Up to the border of what is there. The page at 4 MiB is beyond RAM but mapped; unmap it.
  m.long64(0);
  m.map(0x400000, 0);
  CHECK(m.call(kFill, 0x400000 - 5, 'q', 9) == Back{kFault, 5});
  CHECK(m.get(0x400000 - 5, 5) == "qqqqq");
  CHECK(m.call(kFill, 0x0000800000000000, 'q', 9) == Back{kFault, 0});  // not canonical
  CHECK(m.call(kCopy, 0x400000 - 3, kBuffer, 8) == Back{kFault, 3});
  CHECK(m.call(kCopy, kBuffer, 0x400000 - 2, 8) == Back{kFault, 2});
  CHECK(m.s.cr2 == 0);
}

TEST_CASE("mem: copy, fill, clear pages and checksum do what they say, a part at a time") {
  Port m;
  m.hello();
  m.put(kBuffer, "The quick brown fox");
  CHECK(m.call(kCopy, kOther + 1, kBuffer, 19) == Back{kOk, 19});
  CHECK(m.get(kOther + 1, 19) == "The quick brown fox");
  CHECK(m.call(kCopy, kBuffer + 4, kBuffer, 19) == Back{kInvalid, 0});
  CHECK(m.call(kCopy, kBuffer, kBuffer + 4, 19) == Back{kInvalid, 1});
  CHECK(m.call(kCopy, kBuffer, kOther, (u64{1} << 40) + 1) == Back{kTooBig, u64{1} << 40});
  CHECK(m.call(kCopy, kBuffer, kBuffer, 0) == Back{kOk, 0});
  CHECK(m.call(kFill, kBuffer, 0x100, 1) == Back{kInvalid, 1});
  CHECK(m.call(kFill, kBuffer + 3, 0x41, kMostBytes + 10) == Back{kAgain, kMostBytes});
  CHECK(m.get(kBuffer + 3 + kMostBytes - 1, 1) == "A");
  CHECK(m.get(kBuffer + 3 + kMostBytes, 1) != "A");
  CHECK(m.call(kClearPages, kBuffer + 8, 1) == Back{kInvalid, 0});
  CHECK(m.call(kClearPages, kBuffer, 17) == Back{kAgain, 16});
  CHECK(m.get(kBuffer, 4) == std::string(4, 0));
  m.put(kBuffer, "123456789");
  // The check value of CRC-32C (iSCSI) is E3069283, with both inversions.
  const Back crc = m.call(kChecksum, kBuffer, 9, 0xFFFFFFFF);
  CHECK(crc == Back{kOk, 0xE3069283 ^ 0xFFFFFFFF});
  CHECK(m.call(kChecksum, kBuffer, kMostBytes + 1) == Back{kTooBig, kMostBytes});
}

TEST_CASE("a call that writes code changes what is executed next") {
  Port m;
  m.hello();
  // in eax, 0xE4; then "mov cl, 1" whose immediate the call overwrites
  m.s.rip = Port::kCode;
  m.code({0xE5, 0xE4, 0xB1, 0x01, 0xF4});
  for (int round = 0; round < 6; round++) {
    m.s.rip = Port::kCode;
    m.s.gpr[RAX] = kFill;
    m.s.gpr[RBX] = Port::kCode + 3;
    m.s.gpr[RCX] = 0x50 + static_cast<u64>(round);
    m.s.gpr[RSI] = 1;
    m.TestMachine::run(2);
    CHECK((m.s.gpr[RCX] & 0xFF) == 0x50 + static_cast<u64>(round));
  }
}

TEST_CASE("cpu: descriptors go where the tables are, within their limits") {
  Port m;
  m.hello();
  m.write<u64>(kBuffer, 0x1111);
  m.write<u64>(kBuffer + 8, 0x2222);
  CHECK(m.call(kWriteDescriptors, 0, 14, kBuffer, 2) == Back{kOk, 2});
  CHECK(m.gdt(0x70) == 0x1111);
  CHECK(m.gdt(0x78) == 0x2222);
  CHECK(m.call(kWriteDescriptors, 0, 31, kBuffer, 2) == Back{kInvalid, 1});
  CHECK(m.call(kWriteDescriptors, 0, ~u64{0}, kBuffer, 2) == Back{kInvalid, 1});
  CHECK(m.call(kWriteDescriptors, 0, 0, kBuffer, 8193) == Back{kTooBig, 8192});
  CHECK(m.call(kWriteDescriptors, 1, 0, kBuffer, 1) == Back{kInvalid, 0});  // there is no LDT
  CHECK(m.call(kWriteDescriptors, 2, 0, kBuffer, 1) == Back{kInvalid, 0});
  m.map(0x400000, 0);
  CHECK(m.call(kWriteDescriptors, 0, 14, 0x400000 - 8, 2) == Back{kFault, 1});
  CHECK(m.call(kLoadTls, 12, 5, 6, 7) == Back{kOk, 0});
  CHECK(m.gdt(0x60) == 5);
  CHECK(m.gdt(0x70) == 7);
  CHECK(m.call(kLoadTls, 30, 5, 6, 7) == Back{kInvalid, 0});
}

TEST_CASE("cpu: an LDT is installed as LLDT would load it") {
  Port m;
  m.hello();
  CHECK(m.call(kLoadLdt, 0x70, 0xFFFF888012345000, 16, 1) == Back{kOk, 0});
  CHECK(m.s.ldtr.base == 0xFFFF888012345000);
  CHECK(m.s.ldtr.limit == 15);
  CHECK(m.s.ldtr.selector == 0x70);
  CHECK(m.call(kLoadLdt, 0, 0, 0, 1) == Back{kOk, 0});
  CHECK(m.s.ldtr.unusable());
  CHECK(m.call(kLoadLdt, 0x74, 0, 16, 1) == Back{kInvalid, 0});
  CHECK(m.call(kLoadLdt, 0xF8, 0, 16, 1) == Back{kInvalid, 0});  // half of it is beyond the GDT
  CHECK(m.call(kLoadLdt, 0x70, u64{1} << 50, 16, 1) == Back{kInvalid, 1});
  CHECK(m.call(kLoadLdt, 0x70, 0, 12, 1) == Back{kInvalid, 2});
  CHECK(m.call(kLoadLdt, 0x70, 0, 65544, 1) == Back{kTooBig, 65536});
  CHECK(m.call(kLoadLdt, 0x70, 0, 16, 2) == Back{kInvalid, 3});
  CHECK(m.call(kLoadLdt, 0x70, 0, 16, 1, 2) == Back{kInvalid, 4});
}

TEST_CASE("cpu: the stack of the TSS, and an address space in one call") {
  Port m;
  m.hello();
  CHECK(m.call(kSetSp0, 0xFFFFC90000001000) == Back{kOk, 0});
  CHECK(m.read<u64>(Port::kTss + 4) == 0xFFFFC90000001000);
  const u64 cr3 = m.s.cr3;
  CHECK(m.call(kSwitchMm, u64{1} << 60, 0) == Back{kInvalid, 0});
  CHECK(m.s.cr3 == cr3);
  CHECK(m.call(kSwitchMm, cr3, 4) == Back{kInvalid, 1});
  CHECK(m.call(kSwitchMm, cr3 | 0x18, kSwitchSp0, 0, 0x1234) == Back{kOk, 0});
  CHECK(m.s.cr3 == (cr3 | 0x18));
  CHECK(m.read<u64>(Port::kTss + 4) == 0x1234);
  CHECK(m.call(kSwitchMm, cr3, kSwitchLdt, Port::kCode0) == Back{kInvalid, 2});  // no LDT
  CHECK(m.call(kSwitchMm, cr3, kSwitchLdt, 0) == Back{kOk, 0});
  m.s.tr.rights |= kRightsUnusable;
  CHECK(m.call(kSetSp0, 0) == Back{kInvalid, 0});
}

TEST_CASE("cpu: model-specific registers in one go, up to the first that is refused") {
  Port m;
  m.hello();
  const auto entry = [&](unsigned n, MsrEntry e) { m.write<MsrEntry>(kBuffer + 16 * n, e); };
  entry(0, {0xC0000102, 1, 0x123000});  // KERNEL_GS_BASE
  entry(1, {0xC0000102, 0, 0});
  entry(2, {0xC0000102, 1, u64{1} << 55});  // not canonical
  entry(3, {0xC0000103, 1, 7});
  CHECK(m.call(kMsrBatch, kBuffer, 4) == Back{kInvalid, 2});
  CHECK(m.read<u64>(kBuffer + 24) == 0x123000);
  CHECK(m.s.msr.kernel_gs_base == 0x123000);
  CHECK(m.s.msr.tsc_aux == 0);
  entry(2, {0x12345, 0, 0});
  CHECK(m.call(kMsrBatch, kBuffer, 4) == Back{kInvalid, 2});
  entry(2, {0x10, 2, 0});
  CHECK(m.call(kMsrBatch, kBuffer, 4) == Back{kInvalid, 2});
  CHECK(m.call(kMsrBatch, kBuffer, 65) == Back{kTooBig, 64});
  CHECK(m.call(kFlushTlb, 0, 0, 1) == Back{kOk, 0});
  CHECK(m.call(kFlushTlb, 0, 0, 2) == Back{kInvalid, 2});
}

TEST_CASE("time: now, the wall clock, alarms and delays") {
  Port m;
  m.hello();
  m.platform.time = 5'000;
  CHECK(m.call(kNow, kBuffer) == Back{kOk, 5'000});
  CHECK(m.read<u64>(kBuffer) == 5'000);
  CHECK(m.call(kNow, 0x0000800000000000) == Back{kFault, 0});
  CHECK(m.call(kWallClock) == Back{kOk, 1'700'000'000'000'005'000});
  CHECK(m.call(kDeadline, 9'000, 15) == Back{kInvalid, 1});
  CHECK(m.call(kDeadline, 9'000, 256) == Back{kInvalid, 1});
  CHECK(m.call(kDeadline, u64{1} << 62, 0x40) == Back{kInvalid, 0});
  CHECK(m.call(kDeadline, 9'000, 0x40) == Back{kOk, 0});
  REQUIRE(m.guest_clock().armed != nullptr);
  CHECK(m.guest_clock().armed->deadline == 9'000);
  CHECK(m.call(kDeadline, 0) == Back{kOk, 0});
  CHECK(m.guest_clock().armed == nullptr);
  CHECK(m.call(kSkip, 4'000) == Back{kOk, 5'000});
  CHECK(m.call(kSkip, ~u64{0}) == Back{kInvalid, 0});
  CHECK(m.call(kSkip, 8'000) == Back{kAgain, 5'000});
  CHECK(m.s.activity == Activity::Halted);
  CHECK(m.hypervisor->will_wake(m.TestMachine::cpu));
  m.guest_clock().armed->fire();
  CHECK(m.s.activity == Activity::Running);
}

TEST_CASE("a sleep that an interrupt ended is over, whatever its alarm says later") {
  Port m;
  m.hello();
  CHECK(m.call(kHaltUntil, 8'000, 2) == Back{kInvalid, 1});
  CHECK(m.call(kHaltUntil, 8'000, kHaltEnable) == Back{kOk, 0});
  CHECK(m.s.flags.test(kIF));
  CHECK(m.s.activity == Activity::Halted);
  m.platform.interrupt = true;
  m.TestMachine::run(1);
  CHECK(m.handling() == 0x30);
  m.s.rip = Port::kCode;
  m.s.flags.assign(kIF, false);
  m.run({0xF4});
  CHECK(m.s.activity == Activity::Halted);
  CHECK_FALSE(m.hypervisor->will_wake(m.TestMachine::cpu));
  m.guest_clock().armed->fire();
  CHECK(m.s.activity == Activity::Halted);
  // A KICK ends a sleep, or the next one.
  m.s.activity = Activity::Running;
  CHECK(m.call(kKick, 2) == Back{kInvalid, 0});
  CHECK(m.call(kKick, 1) == Back{kOk, 0});
  CHECK(m.call(kHaltUntil, ~u64{0}) == Back{kOk, 0});
  CHECK(m.s.activity == Activity::Running);
  CHECK(m.call(kHaltUntil, ~u64{0}) == Back{kOk, 0});
  CHECK(m.s.activity == Activity::Halted);
  CHECK_FALSE(m.hypervisor->will_wake(m.TestMachine::cpu));
}

TEST_CASE("irq: interrupts to a set of processors, and their end") {
  Port m;
  m.hello();
  CHECK(m.call(kIpi, 15, 1) == Back{kInvalid, 0});
  CHECK(m.call(kIpi, 256, 1) == Back{kInvalid, 0});
  CHECK(m.call(kIpi, 0x40, 2) == Back{kInvalid, 1});
  CHECK(m.call(kIpi, 0x40, 1, 2) == Back{kInvalid, 2});
  LocalApic& apic = m.apic_at(0);
  apic.write(0xF0, 4, 0x1FF);
  CHECK(m.call(kIpi, 0x40, 1) == Back{kOk, 0});
  CHECK(apic.pending());
  CHECK(apic.acknowledge() == 0x40);
  CHECK(apic.ppr() == 0x40);
  CHECK(m.call(kEoi) == Back{kOk, 0});
  CHECK(apic.ppr() == 0);
  u64 base = 0;
  REQUIRE(apic.read_msr(0x1B, base));
  REQUIRE(apic.write_msr(0x1B, base & ~u64{0x800}));
  CHECK(m.call(kEoi) == Back{kBadMode, 0});
  CHECK(m.call(kIpi, 0x40, 1) == Back{kBadMode, 0});
}

TEST_CASE("console: whole buffers out and in") {
  Port m;
  m.hello();
  m.put(kBuffer, "hello, world");
  CHECK(m.call(kWrite, kBuffer, 12) == Back{kOk, 12});
  CHECK(m.call(kWrite, kBuffer, 0) == Back{kOk, 0});
  CHECK(m.console_.bytes == "hello, world");
  CHECK(m.call(kWrite, kBuffer, kMostBytes + 1) == Back{kAgain, kMostBytes});
  CHECK(m.call(kWrite, kBuffer, (u64{1} << 40) + 1) == Back{kTooBig, u64{1} << 40});
  CHECK(m.call(kRead, kOther, 100) == Back{kOk, 0});
  CHECK(m.hypervisor->console() == nullptr);
  CHECK(m.call(kAttach, 2) == Back{kInvalid, 0});
  CHECK(m.call(kAttach, 1, 15) == Back{kInvalid, 1});
  CHECK(m.call(kAttach, 1, 0x50) == Back{kOk, 0});
  REQUIRE(m.hypervisor->console() != nullptr);
  m.apic_at(0).write(0xF0, 4, 0x1FF);
  const std::string typed = "typed";
  m.hypervisor->console()->console_input({reinterpret_cast<const u8*>(typed.data()), typed.size()});
  CHECK(m.apic_at(0).acknowledge() == 0x50);
  CHECK(m.call(kRead, kOther, 2) == Back{kOk, 2});
  CHECK(m.get(kOther, 2) == "ty");
  m.map(0x400000, 0);
  CHECK(m.call(kRead, 0x400000 - 1, 3) == Back{kFault, 1});
  CHECK(m.call(kRead, kOther, 9) == Back{kOk, 2});
  CHECK(m.get(kOther, 2) == "ed");
}

TEST_CASE("test: the end of the run, and what is said on the way") {
  Port m;
  m.hello();
  m.put(kBuffer, "all\x01 well");
  CHECK(m.call(kAssert, 1, kBuffer, 5) == Back{kOk, 0});
  CHECK(m.asked.empty());
  CHECK(m.call(kLog, kBuffer, 9) == Back{kOk, 0});
  CHECK(m.debug_.bytes == "all? well\n");
  CHECK(m.call(kLog, kBuffer, kMostText + 1) == Back{kTooBig, kMostText});
  CHECK(m.call(kMark, 77) == Back{kOk, 77});
  CHECK(m.call(kBreak) == Back{kOk, 0});
  CHECK(m.breaks == 1);
  const std::string bytes = "input";
  m.hypervisor->test()->test_input({reinterpret_cast<const u8*>(bytes.data()), bytes.size()});
  CHECK(m.call(kGetInput, kOther, 99) == Back{kOk, 5});
  CHECK(m.get(kOther, 5) == "input");
  CHECK(m.call(kExit, 3) == Back{kOk, 0});
  CHECK(m.call(kAssert, 0, kBuffer, 3) == Back{kOk, 0});
  REQUIRE(m.asked.size() == 2);
  CHECK(m.asked[0] == std::pair(PowerEvent::DebugExit, u32{3}));
  CHECK(m.asked[1] == std::pair(PowerEvent::DebugExit, u32{134}));
}

TEST_CASE("a ring executes what is ready, says of each entry what became of it, and goes on where it stopped") {
  Port m;
  m.hello();
  const auto entry = [&](unsigned n, u32 number, u64 a = 0, u64 b = 0, u64 c = 0) {
    m.write<RingEntry>(kRingAt + 64 + 64 * n, {number, kPending, {a, b, c, 0, 0, 0}, 0});
  };
  const auto status = [&](unsigned n) { return m.read<RingEntry>(kRingAt + 64 + 64 * n).status; };
  const auto ready = [&](u32 n, u32 flags = 0) {
    m.write<u32>(kRingAt + 4, n);
    m.write<u32>(kRingAt + 8, flags);
  };
  CHECK(m.call(kDoorbell) == Back{kInvalid, 0});
  CHECK(m.call(kRing, kRingAt + 8, 4) == Back{kInvalid, 0});
  CHECK(m.call(kRing, kRingAt, 3) == Back{kInvalid, 1});
  CHECK(m.call(kRing, kRingAt, 0) == Back{kInvalid, 1});
  CHECK(m.call(kRing, kRingAt, 2048) == Back{kTooBig, 1024});
  CHECK(m.call(kRing, kRingAt, 4) == Back{kOk, 0});
  CHECK(m.call(kHello, kVersion, kFeatures) == Back{kBusy, 0});
  CHECK(m.call(kDoorbell) == Back{kOk, 0});

  entry(0, kFill, kBuffer, 'a', 3);
  entry(1, kDoorbell);             // not in a ring
  entry(2, kFill, kBuffer, 0x999);  // wrong
  entry(3, kNow);
  ready(4);
  CHECK(m.call(kDoorbell) == Back{kOk, 4});
  CHECK(m.get(kBuffer, 3) == "aaa");
  CHECK(status(0) == kOk);
  CHECK(status(1) == kNoSys);
  CHECK(status(2) == kInvalid);
  CHECK(status(3) == kOk);
  CHECK(m.read<RingEntry>(kRingAt + 64 + 64 * 3).value == m.platform.now());
  CHECK(m.read<u32>(kRingAt) == 4);

  // The first that fails ends it, and the next doorbell goes on behind it.
  for (unsigned n = 0; n < 4; n++) entry(n, n == 1 ? 0x7777u : u32{kProbe});
  ready(8, kRingStopOnError);
  CHECK(m.call(kDoorbell) == Back{kNoSys, 2});
  CHECK(status(2) == kPending);
  CHECK(m.call(kDoorbell) == Back{kOk, 2});
  // More than there can be.
  ready(8 + 5);
  CHECK(m.call(kDoorbell) == Back{kTooBig, 4});
  // A long one says how far it came and stays first.
  entry(0, kFill, kBuffer, 'b', kMostBytes + 1);
  ready(9);
  CHECK(m.call(kDoorbell) == Back{kAgain, 0});
  CHECK(m.read<RingEntry>(kRingAt + 64).value == kMostBytes);
  CHECK(m.read<u32>(kRingAt) == 8);
  // A ring that went away.
  m.map(0x200000, 0x81);
  m.TestMachine::cpu.refresh();
  CHECK(m.call(kDoorbell) == Back{kFault, 0});
  CHECK(m.call(kRing, 0, 0) == Back{kOk, 0});
  CHECK(m.call(kDoorbell) == Back{kInvalid, 0});
}

TEST_CASE("the port's state is saved and restored whole") {
  Port m;
  m.hello();
  CHECK(m.call(kUserMask, 1u << kMem).status == kOk);
  CHECK(m.call(kRing, kRingAt, 4).status == kOk);
  CHECK(m.call(kAttach, 1, 0x50).status == kOk);
  CHECK(m.call(kDeadline, 9'000, 0x40).status == kOk);
  StateWriter writer;
  m.hypervisor->sync(writer);
  const auto saved = writer.take();
  Port other;
  StateReader reader(saved);
  other.hypervisor->sync(reader);
  CHECK(reader.good());
  CHECK(reader.at_end());
  StateWriter again;
  other.hypervisor->sync(again);
  CHECK(again.take() == saved);
  CHECK(other.guest_clock().armed->deadline == 9'000);
  other.hypervisor->reset();
  CHECK(other.call(kNow) == Back{kNotNegotiated, 0});
}

TEST_CASE("SNAPSHOT keeps and forgets in four slots, and RESTORE goes to those that are full") {
  Port m;
  m.hello();
  CHECK(m.call(kRestore, 0, 1) == Back{kInvalid, 0});
  CHECK(m.call(kSnapshot, 4) == Back{kTooBig, kMostSnapshots});
  CHECK(m.call(kSnapshot, ~u64{0}) == Back{kTooBig, kMostSnapshots});
  for (const u64 flags : {u64{2}, u64{3}, u64{1} << 32}) CHECK(m.call(kSnapshot, 0, flags) == Back{kInvalid, 1});
  CHECK(m.kept == 0);
  CHECK(m.call(kSnapshot, 3) == Back{kOk, 0});
  CHECK(m.call(kSnapshot, 3) == Back{kOk, 0});
  CHECK(m.kept == 8);
  for (const u64 value : {u64{0}, u64{1} << 32, ~u64{0}}) CHECK(m.call(kRestore, 3, value) == Back{kInvalid, 1});
  for (const u64 slot : {u64{2}, u64{4}, u64{3} | u64{1} << 32}) CHECK(m.call(kRestore, slot, 1) == Back{kInvalid, 0});
  CHECK(m.went_back.empty());
  m.call(kRestore, 3, 0xFFFFFFFF);
  CHECK(m.went_back == std::vector<std::pair<unsigned, u32>>{{3, 0xFFFFFFFF}});
  CHECK(m.call(kSnapshot, 3, kSnapshotForget) == Back{kOk, 0});
  CHECK(m.call(kSnapshot, 2, kSnapshotForget) == Back{kOk, 0});
  CHECK(m.kept == 0);
  CHECK(m.call(kRestore, 3, 1) == Back{kInvalid, 0});
}
