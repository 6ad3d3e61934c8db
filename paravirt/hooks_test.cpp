// Hooked functions: who may hook what, what each kind leaves behind, and when the function's own code is executed after all.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "paravirt/abi.h"
#include "paravirt/port_call.h"
#include "paravirt/test_functions.h"
#include "paravirt/test_host.h"

using namespace callgate;
using namespace callgate::paravirt;
using namespace callgate::paravirt::abi;
using test::TestMachine;

namespace {

constexpr u64 kFunction = 0x40010, kReturn = 0x8100, kPage = 0x204000, kOther = 0x246000;

class Hooked : public TestHost {
 public:
  Hooked() : TestHost(kCallgate) {
    long64();
    put(kReturn, {0x90, 0xEB, 0xFE});
    CHECK(call(kHello, kVersion, kFeatures) == Back{kOk, kFeatures});
  }
  void put(u64 at, const Bytes& bytes) { ram_map.bus_write(at, bytes); }
  Bytes get(u64 at, u64 size) {
    Bytes bytes(size);
    ram_map.bus_read(at, bytes);
    return bytes;
  }
  Back call(u32 number, u64 a = 0, u64 b = 0, u64 c = 0, u64 d = 0, u64 e = 0, u64 f = 0) {
    const CpuState before = s;
    s.rip = kCode;
    s.gpr[RAX] = number;
    s.gpr[RBX] = a, s.gpr[RCX] = b, s.gpr[RSI] = c, s.gpr[RDI] = d, s.gpr[R8] = e, s.gpr[R9] = f;
    run({0xE5, 0xE4, 0x90});
    const Back back{static_cast<u32>(s.gpr[RAX]), s.gpr[RBX]};
    const u64 retired = s.retired;
    s = before;
    s.retired = retired;
    TestMachine::cpu.refresh();
    return back;
  }
  Back hook(Intrinsic kind, const Bytes& bytes, u64 at = kFunction, u64 e = 0, u64 f = 0) {
    put(at, bytes);
    return call(kHook, at, static_cast<u64>(kind), bytes.size(), fnv(bytes), e, f);
  }
  /// Stands at the function's entry, about to return to kReturn.
  void enter(u64 rdi = 0, u64 rsi = 0, u64 rdx = 0, u64 at = kFunction) {
    for (unsigned r = 0; r < 16; r++) s.gpr[r] = u64{0x1111111111111111} * r;
    s.gpr[RSP] = kStack0 - 8;
    write<u64>(kStack0 - 8, kReturn);
    s.gpr[RDI] = rdi, s.gpr[RSI] = rsi, s.gpr[RDX] = rdx;
    s.rip = at;
    s.flags.set_value(kCF | kAF | kOF);
    TestMachine::cpu.refresh();
  }
  /// Runs to the return; how many instructions that was.
  u64 finish(u64 most = 20000) {
    const u64 before = s.retired;
    while (s.rip != kReturn && s.retired - before < most) run(1);
    return s.retired - before;
  }
  /// One instruction did it all.
  bool is_one() { return finish(1) == 1 && s.rip == kReturn && s.gpr[RSP] == kStack0; }
  const HookedCode::Stats& stats() { return hypervisor->hooks->stats; }
  /// The 2 MiB page of `address` becomes so.
  void map(u64 address, u64 bits) { write<u64>(kTables + 0x2000 + 8 * (address >> 21), (address & ~u64{0x1FFFFF}) | bits); }
  /// The first 2 MiB by pages of 4 KiB.
  void map_small(u64 first = 0) {
    const u64 table = 0x180000 + (first >> 21 << 12);
    for (u64 n = 0; n < 512; n++) write<u64>(table + 8 * n, (first + (n << 12)) | 3);
    write<u64>(kTables + 0x2000 + 8 * (first >> 21), table | 7);
  }
  void map_page(u64 address, u64 entry) { write<u64>(0x180000 + (address >> 21 << 12) + 8 * (address >> 12 & 511), entry); }
  CpuState& s = TestMachine::cpu.s;
};

Bytes pattern(u64 size) {
  Bytes bytes(size);
  for (u64 n = 0; n < size; n++) bytes[n] = static_cast<u8>(n * 7 + (n >> 8) + 1);
  return bytes;
}

}  // namespace

TEST_CASE("what HOOK refuses") {
  Hooked m;
  m.put(kFunction, kClearPage);
  const u64 hash = fnv(kClearPage), size = kClearPage.size();
  CHECK(m.call(kHook, u64{1} << 63, 1, size, hash) == Back{kInvalid, 0});
  CHECK(m.call(kHook, kFunction, 0, size, hash) == Back{kInvalid, 1});
  CHECK(m.call(kHook, kFunction, kIntrinsics, size, hash) == Back{kInvalid, 1});
  CHECK(m.call(kHook, kFunction, u64{1} << 32 | 1, size, hash) == Back{kInvalid, 1});
  CHECK(m.call(kHook, kFunction, 1, 0, hash) == Back{kInvalid, 2});
  CHECK(m.call(kHook, kFunction, 1, 1025, hash) == Back{kTooBig, 1024});
  CHECK(m.call(kHook, kFunction, 1, ~u64{0}, hash) == Back{kTooBig, 1024});
  CHECK(m.call(kHook, 0x7FFFFFFFFFF8, 1, 16, hash) == Back{kInvalid, 2});
  CHECK(m.call(kHook, kFunction, 1, size, hash + 1) == Back{kInvalid, 3});
  CHECK(m.call(kHook, kFunction, 1, size, hash, 1) == Back{kInvalid, 4});
  CHECK(m.call(kHook, kFunction, 1, size, hash, 0, 1) == Back{kInvalid, 5});
  CHECK(m.call(kHook, kFunction, 6, size, hash, 0, 0) == Back{kInvalid, 4});
  CHECK(m.call(kHook, kFunction, 6, size, hash, 0x13, 0) == Back{kInvalid, 4});
  CHECK(m.call(kHook, kFunction, 1, 4, fnv({kClearPage.begin(), kClearPage.begin() + 4})) == Back{kInvalid, 2});
  m.map(0x400000, 0);
  CHECK(m.call(kHook, 0x400000 - 4, 1, 8, 0) == Back{kFault, 4});
  m.map(0x200000, u64{1} << 63 | 0x87);  // not for execution
  m.put(kPage, kClearPage);
  CHECK(m.call(kHook, kPage, 1, size, hash) == Back{kFault, 0});
  m.map(0x200000, 0x87);
  // No memory: beyond RAM all reads are ones.
  CHECK(m.call(kHook, 0x80000000, 1, 4, fnv({0xFF, 0xFF, 0xFF, 0xFF})).status == kInvalid);
  CHECK(m.call(kHook, kFunction, 1, size, hash) == Back{kOk, 0});
  CHECK(m.call(kHook, kFunction, 1, size, hash) == Back{kBusy, 0});
  CHECK(m.call(kHook, kFunction + 5, 2, 5, fnv({kClearPage.begin() + 5, kClearPage.end()})) == Back{kBusy, 0});
  CHECK(m.stats().refused > 10);
  CHECK(m.call(kUnhook, 1) == Back{kInvalid, 0});
  CHECK(m.call(kUnhook, 64) == Back{kInvalid, 0});
  CHECK(m.call(kHookState, 64) == Back{kInvalid, 0});
  CHECK(m.call(kHookState, 0) == Back{kOk, kHookInEffect | 1});
  CHECK(m.call(kUnhook, 0) == Back{kOk, 0});
  CHECK(m.call(kHookState, 0) == Back{kInvalid, 0});
  for (u64 n = 0; n < 64; n++) CHECK(m.hook(Intrinsic::Memset, kNothing, 0x50000 + 3 * n) == Back{kOk, n});
  CHECK(m.hook(Intrinsic::Memset, kNothing, 0x58000) == Back{kTooBig, 64});
  CHECK(m.call(kHello, kVersion, kFeatures & ~(1u << kHooks)).status == kOk);
  CHECK(m.call(kHook, kFunction, 1, size, hash) == Back{kNotNegotiated, 0});
  CHECK(m.call(kHello, kVersion, kFeatures).status == kOk);
  CHECK(m.call(kHookState, 3) == Back{kInvalid, 0});  // HELLO took them all away
}

TEST_CASE("hooks are for ring 0 and 64-bit mode, and so are the calls about them") {
  Hooked m;
  REQUIRE(m.hook(Intrinsic::ClearPage, kClearPage) == Back{kOk, 0});
  m.long64(3);
  m.s.flags.set_value(3 << 12);
  TestMachine& t = m;
  t.cpu.refresh();
  m.s.gpr[RAX] = kUnhook, m.s.gpr[RBX] = 0;
  m.run({0xE5, 0xE4});
  CHECK(m.s.gpr[RAX] == kPerm);
  // In ring 3 the function's own code is executed.
  m.enter(kPage);
  m.put(kPage, pattern(kPageSize));
  CHECK(m.finish() == 4);
  CHECK(m.get(kPage, kPageSize) == Bytes(kPageSize));
  CHECK(m.stats().entered[1] == 0);
  m.long64(0, true);
  m.s.gpr[RAX] = kUnhook, m.s.gpr[RBX] = 0;
  m.run({0xE5, 0xE4});
  CHECK(m.s.gpr[RAX] == kOk);
}

TEST_CASE("a hooked function leaves what its own code leaves, in one instruction") {
  struct Case {
    Intrinsic kind;
    const Bytes& code;
    u64 rdi, rsi, rdx;
  };
  const Case cases[] = {{Intrinsic::ClearPage, kClearPage, kPage, 0, 0},
                        {Intrinsic::CopyPage, kCopyPage, kPage, kOther, 0},
                        {Intrinsic::Memcpy, kMemcpy, kPage + 5, kOther + 77, 10000},
                        {Intrinsic::Memcpy, kMemcpy, kPage, kOther, 0},
                        {Intrinsic::Memcpy, kMemcpy, kPage, kPage + 64, 64},
                        {Intrinsic::Memset, kMemset, kPage + 4090, 0x5A, 20},
                        {Intrinsic::CopyUser, kCopyUser, kPage + 1, kOther + 4095, 5000}};
  for (const Case& c : cases) {
    CAPTURE(name_of(c.kind));
    u64 hash[2];
    for (const bool hooked : {false, true}) {
      Hooked m;
      if (hooked) REQUIRE(m.hook(c.kind, c.code) == Back{kOk, 0});
      m.put(kFunction, c.code);
      m.put(kPage - 64, pattern(20000));
      m.put(kOther - 64, pattern(20001));
      m.enter(c.rdi, c.rsi, c.rdx);
      if (hooked) CHECK(m.is_one());
      else CHECK(m.finish() > 2);
      CHECK(m.s.rip == kReturn);
      CpuState s = m.s;
      s.retired = 0;
      s.gpr[kGprRip] = 0;
      if (c.kind == Intrinsic::Memset) s.gpr[R9] = 0;  // the usual code's own
      StateHasher hasher;
      s.sync(hasher);
      Bytes memory = m.get(0x200000, 0x100000);
      hasher.bytes(memory.data(), memory.size());
      hash[hooked] = hasher.digest();
      if (hooked) CHECK(m.stats().entered[static_cast<unsigned>(c.kind)] == 1);
    }
    CHECK(hash[0] == hash[1]);
  }
}

TEST_CASE("what a kind doesn't take is the function's own") {
  Hooked m;
  REQUIRE(m.hook(Intrinsic::ClearPage, kClearPage) == Back{kOk, 0});
  REQUIRE(m.hook(Intrinsic::Memcpy, kMemcpy, kFunction + 0x100) == Back{kOk, 1});
  REQUIRE(m.hook(Intrinsic::CopyPage, kCopyPage, kFunction + 0x200) == Back{kOk, 2});
  const auto is_own = [&](u64 at, u64 rdi, u64 rsi, u64 rdx, u32 flags = 0) {
    m.enter(rdi, rsi, rdx, at);
    m.s.flags.set_value(flags);
    TestMachine& t = m;
    t.cpu.refresh();
    m.run(1);
    return m.s.rip != kReturn && m.s.rip > at && m.s.rip < at + 16;
  };
  CHECK(is_own(kFunction, kPage + 8, 0, 0));
  CHECK(is_own(kFunction + 0x100, kPage, kPage + 63, 64));
  CHECK(is_own(kFunction + 0x100, kPage + 63, kPage, 64));
  CHECK(is_own(kFunction + 0x100, kPage, kOther, 65537));
  CHECK(is_own(kFunction + 0x100, kPage, kOther, 16, kDF));
  CHECK(is_own(kFunction + 0x200, kPage, kOther + 4, 0));
  CHECK(is_own(kFunction + 0x200, kPage, kPage, 0));
  CHECK(is_own(kFunction, 0xFFFFFFFFFFFFF000, 0, 0));
  CHECK(is_own(kFunction, 0x90000000, 0, 0));  // no memory
  m.enter(kPage);
  m.s.gpr[RSP] = 0x8000000000000000;
  m.run(1);
  CHECK(m.s.rip == kFunction + 5);
  m.enter(kPage);
  m.write<u64>(Hooked::kStack0 - 8, 0x8000000000000000);
  m.run(1);
  CHECK(m.s.rip == kFunction + 5);
  CHECK(m.stats().entered[1] + m.stats().entered[2] + m.stats().entered[3] == 0);
}

TEST_CASE("a fault is the own code's, at its place, with what it did before") {
  Hooked m;
  REQUIRE(m.hook(Intrinsic::Memcpy, kMemcpy) == Back{kOk, 0});
  m.map_small(0x200000);
  m.map_page(kPage + kPageSize, 0);
  m.put(kOther, pattern(9000));
  m.enter(kPage + 4000, kOther, 200);
  m.run(5);
  CHECK(m.handling() == 14);
  CHECK(m.s.cr2 == kPage + kPageSize);
  CHECK(m.stack(1, 8) == kFunction + 6);  // REP MOVSB
  CHECK(m.s.gpr[RCX] == 104);
  CHECK(m.get(kPage + 4000, 96) == Bytes(m.get(kOther, 96)));
  // Write protection.
  m.map_page(kPage + kPageSize, (kPage + kPageSize) | 1);
  m.enter(kPage + 4000, kOther, 200);
  m.run(5);
  CHECK(m.handling() == 14);
  // All there: one instruction, and the dirty bits are set.
  m.map_page(kPage + kPageSize, (kPage + kPageSize) | 3);
  m.enter(kPage + 4000, kOther, 200);
  CHECK(m.is_one());
  CHECK(m.get(kPage + 4000, 200) == m.get(kOther, 200));
  CHECK((m.read<u64>(0x181000 + 8 * ((kPage + kPageSize) >> 12 & 511)) & 0x60) == 0x60);
}

TEST_CASE("SMAP: user pages are COPY_USER's, and not MEMCPY's") {
  Hooked m;
  TestMachine& t = m;
  m.s.cr4 |= kCr4Smap;
  t.cpu.refresh();
  REQUIRE(m.hook(Intrinsic::Memcpy, kMemcpy).status != kOk);  // all pages are the user's, and AC is clear
  m.map(0, 0x83);
  m.map(0x200000, 0x87);
  REQUIRE(m.hook(Intrinsic::Memcpy, kMemcpy) == Back{kOk, 0});
  REQUIRE(m.hook(Intrinsic::CopyUser, kCopyUser, kFunction + 64) == Back{kOk, 1});
  m.enter(kPage, 0x60000, 100);
  m.run(4);
  CHECK(m.handling() == 14);
  m.put(0x60000, pattern(100));
  m.enter(kPage, 0x60000, 100, kFunction + 64);
  CHECK(m.is_one());
  CHECK(m.get(kPage, 100) == pattern(100));
  CHECK(!m.s.flags.test(kAC));
  CHECK(m.s.gpr[RAX] == 0);
  // AC is off again behind it.
  m.enter(kPage, 0x60000, 100);
  m.run(4);
  CHECK(m.handling() == 14);
}

TEST_CASE("the bytes decide: a store, DMA, an alias take a hook out of effect at once, and in again") {
  Hooked m;
  m.map_small();
  m.map_page(0x70000, 0x40000 | 3);
  REQUIRE(m.hook(Intrinsic::ClearPage, kClearPage) == Back{kOk, 0});
  const auto hooked = [&] {
    m.enter(kPage);
    const bool one = m.is_one();
    CHECK(((m.call(kHookState, 0).value & kHookInEffect) != 0) == one);
    return one;
  };
  for (unsigned n = 0; n < 4; n++) CHECK(hooked());
  // A store of the guest's own, into the middle: mov byte [rdi], al
  const auto store = [&](u64 at, u8 byte) {
    m.enter(at);
    m.s.rip = TestMachine::kCode + 0x40;
    m.s.gpr[RAX] = byte;
    m.run({0x88, 0x07});
  };
  for (unsigned round = 0; round < 40; round++) {
    store(kFunction + 9, 0xCB);
    CHECK(!hooked());
    CHECK(m.s.rip == kFunction + 5);
    store(kFunction + 9, 0xC3);
    CHECK(hooked());
    store(0x70000 + (kFunction & 0xFFF) + 1, 0x01);  // by the alias, in its first instruction
    CHECK(!hooked());
    CHECK(m.s.gpr[RCX] == 0x1001);
    store(0x70000 + (kFunction & 0xFFF) + 1, 0x00);
    CHECK(hooked());
    const u8 other = 0x90;
    m.ram_map.PhysicalMap::write(kFunction + 6, {&other, 1});  // a device
    CHECK(!hooked());
    m.ram_map.PhysicalMap::write(kFunction + 6, {&kClearPage[6], 1});
    CHECK(hooked());
    store(kFunction - 1, 0x55);  // beside it
    store(kFunction + kClearPage.size(), 0x55);
    CHECK(hooked());
  }
  CHECK(m.stats().suspended >= 120);
  // The same bytes at another linear address are not the hooked function.
  m.enter(kPage, 0, 0, 0x70000 + (kFunction & 0xFFF));
  m.run(1);
  CHECK(m.s.rip == 0x70000 + (kFunction & 0xFFF) + 5);
  // Nor is another page at its own.
  m.put(0x71000 + (kFunction & 0xFFF), kClearPage);
  m.map_page(kFunction, 0x71000 | 3);
  m.enter(kPage);
  m.run(1);
  CHECK(m.s.rip == kFunction + 5);
  m.map_page(kFunction, 0x40000 | 3);
  CHECK(hooked());
  CHECK(m.call(kUnhook, kAllSlots) == Back{kOk, 0});
  m.enter(kPage);
  m.run(1);
  CHECK(m.s.rip == kFunction + 5);
}

TEST_CASE("a function in two pages, of which the second is another one") {
  Hooked m;
  m.map_small();
  constexpr u64 kAt = 0x41000 - 7;
  REQUIRE(m.hook(Intrinsic::ClearPage, kClearPage, kAt) == Back{kOk, 0});
  m.enter(kPage, 0, 0, kAt);
  CHECK(m.is_one());
  m.map_page(0x41000, 0x72000 | 3);
  m.enter(kPage, 0, 0, kAt);
  m.run(1);
  CHECK(m.s.rip == kAt + 5);
  m.map_page(0x41000, 0);
  m.enter(kPage, 0, 0, kAt);
  m.run(1);
  CHECK(m.s.rip == kAt + 5);
  m.map_page(0x41000, 0x41000 | 3);
  m.enter(kPage, 0, 0, kAt);
  CHECK(m.is_one());
  m.write<u8>(0x41002, 0xCB);
  m.enter(kPage, 0, 0, kAt);
  m.run(1);
  CHECK(m.s.rip == kAt + 5);
  m.write<u8>(0x41002, 0xC3);
  // A first instruction that lies in both pages is none to hook.
  CHECK(m.hook(Intrinsic::ClearPage, kClearPage, 0x43000 - 3) == Back{kInvalid, 2});
}

TEST_CASE("a single step and a breakpoint see the function's own instructions") {
  Hooked m;
  TestMachine& t = m;
  REQUIRE(m.hook(Intrinsic::ClearPage, kClearPage) == Back{kOk, 0});
  m.enter(kPage);
  m.s.flags.set_value(kTF);
  t.cpu.refresh();
  m.run(2);
  CHECK(m.handling() == 1);
  CHECK(m.stack(0, 8) == kFunction + 5);
  m.enter(kPage);
  m.s.dr[0] = kFunction + 7;
  m.s.dr7 |= 2;
  t.cpu.refresh();
  m.run(3);
  CHECK(m.handling() == 1);
  CHECK(m.stack(0, 8) == kFunction + 7);
}

TEST_CASE("DELAY is as many instructions as it has ticks, and interrupts come between them") {
  Hooked m;
  REQUIRE(m.hook(Intrinsic::Delay, kDelay) == Back{kOk, 0});
  for (const u64 ticks : {1u, 2u, 1000u}) {
    m.enter(ticks);
    const u64 before = m.s.retired;
    m.run(ticks - 1);
    CHECK(m.s.gpr[RDI] == 1);
    CHECK(m.s.rip == kFunction);
    CHECK(m.s.retired - before == ticks - 1);
    m.run(1);
    CHECK(m.s.rip == kReturn);
    CHECK(m.s.gpr[RDI] == 0);
  }
  m.enter(0);
  CHECK(m.is_one());
  m.enter(1u << 30);
  m.run(1u << 30);
  CHECK(m.s.rip == kReturn);
  m.enter(100);
  m.s.flags.set_value(kIF);
  m.run(40);
  m.platform.interrupt = true;
  m.run(5);
  CHECK(m.handling() == 0x30);
  CHECK(m.s.gpr[RDI] == 60);
  CHECK(m.stack(0, 8) == kFunction);
  // What is left is the own code's when the hook goes.
  m.enter(50);
  m.run(20);
  m.call(kUnhook, 0);
  m.enter(30);
  CHECK(m.finish() == 61);
}

TEST_CASE("LOAD_LDT stores the descriptor where the GDT may be written, and loads it") {
  Hooked m;
  TestMachine& t = m;
  const u16 selector = TestMachine::kFree;
  m.s.msr.efer |= 0;
  t.cpu.set_base64(GS, 0x1000);
  m.map_small(0);
  m.map_page(0x71000, 0x1000 | 3);  // the GDT, for writing
  m.map_page(0x1000, 0x1000 | 1);
  REQUIRE(m.hook(Intrinsic::LoadLdt, kNothing, kFunction, selector, 0x70000) == Back{kOk, 0});
  t.cpu.set_base64(GS, 0x1000);
  m.enter(0xFFFF800012345678, 5);
  t.cpu.set_base64(GS, 0x1000);
  CHECK(m.is_one());
  CHECK(m.s.ldtr.selector == selector);
  CHECK(m.s.ldtr.base == 0xFFFF800012345678);
  CHECK(m.s.ldtr.limit == 39);
  CHECK((m.s.flags.value() & kCF) != 0);
  m.enter(0, 0);
  CHECK(m.is_one());
  CHECK(m.s.ldtr.unusable());
  m.enter(0x1000, 8193);
  m.run(1);
  CHECK(m.s.rip == kFunction + 1);
  m.map_page(0x71000, 0x1000 | 1);  // may not be written
  m.enter(0x1000, 5);
  m.run(1);
  CHECK(m.s.rip == kFunction + 1);
}

TEST_CASE("YIELD gives the turn away, and the function goes on") {
  Hooked m;
  REQUIRE(m.hook(Intrinsic::Yield, kNothing) == Back{kOk, 0});
  m.enter();
  m.run(1);
  CHECK(m.s.rip == kFunction + 1);
  CHECK(m.turns_ended == 1);
  CHECK(m.finish() == 2);
  CHECK(m.turns_ended == 1);
}

TEST_CASE("a hooked function that overwrites itself") {
  Hooked m;
  REQUIRE(m.hook(Intrinsic::Memset, kMemset) == Back{kOk, 0});
  m.enter(kFunction, 0x90, kMemset.size());
  CHECK(m.is_one());
  CHECK((m.call(kHookState, 0).value & kHookInEffect) == 0);
  m.enter();
  m.run(1);
  CHECK(m.s.rip == kFunction + 1);
  CHECK(m.stats().suspended == 1);
}

TEST_CASE("QUERY says intrinsic of what a hook stands for") {
  Hooked m;
  CHECK(m.call(kQuery, kClearPages) == Back{kOk, kCall});
  CHECK(m.call(kQuery, kSkip) == Back{kOk, kCall});
  m.hook(Intrinsic::ClearPage, kClearPage);
  m.hook(Intrinsic::Delay, kDelay, kFunction + 64);
  CHECK(m.call(kQuery, kClearPages) == Back{kOk, kIntrinsic});
  CHECK(m.call(kQuery, kSkip) == Back{kOk, kIntrinsic});
  CHECK(m.call(kQuery, kCopy) == Back{kOk, kNative});
  m.call(kUnhook, kAllSlots);
  CHECK(m.call(kQuery, kClearPages) == Back{kOk, kCall});
}

TEST_CASE("hooks are saved, restored and hashed; damaged ones are refused") {
  Hooked m, other;
  REQUIRE(m.hook(Intrinsic::ClearPage, kClearPage) == Back{kOk, 0});
  const auto hash = [](Hooked& h) {
    StateHasher hasher;
    h.hypervisor->hooks->sync(hasher);
    return hasher.digest();
  };
  CHECK(hash(m) != hash(other));
  StateWriter writer;
  m.hypervisor->hooks->sync(writer);
  const Bytes saved = writer.take();
  other.put(kFunction, kClearPage);
  // It has been executed there before, as it was.
  for (unsigned n = 0; n < 4; n++) {
    other.enter(kPage);
    CHECK(other.finish() == 4);
  }
  StateReader reader(saved);
  other.hypervisor->hooks->sync(reader);
  CHECK(reader.good());
  CHECK(hash(m) == hash(other));
  other.enter(kPage);
  CHECK(other.is_one());
  for (std::size_t n = 0; n < saved.size(); n++)
    for (const u8 flip : {u8{0x80}, u8{1}}) {
      Bytes bad = saved;
      bad[n] ^= flip;
      StateReader broken(bad);
      other.hypervisor->hooks->sync(broken);
      other.enter(kPage);
      other.run(1);
    }
  const Bytes good(saved.begin(), saved.end());
  StateReader again(good);
  other.hypervisor->hooks->sync(again);
}
