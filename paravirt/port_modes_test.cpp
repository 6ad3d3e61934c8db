// Callgate's port in every mode of a processor: who may call, what registers the arguments are, where memory is. And each call with each
// wrong argument, in every way that it can be made. The expectations are paravirt/ABI.md's.
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "paravirt/abi.h"
#include "paravirt/port_call.h"
#include "paravirt/test_host.h"

using namespace callgate;
using namespace callgate::paravirt;
using namespace callgate::paravirt::abi;
using test::descriptor;

namespace {

constexpr u32 kIopl3 = kFlagsFixed | 3u << 12;
constexpr u64 kHigh = 0xABCD'EF01'0000'0000;  ///< in the upper halves: nobody may look there outside of 64-bit mode
constexpr u64 kHole = 0x60'0000;              ///< no memory of the caller's

class Caller : public TestHost {
 public:
  explicit Caller(Set set = kCallgate) : TestHost(set) {}
  CpuState& s = TestMachine::cpu.s;

  enum class Form { Immediate, Dx };
  /// One call at the code's start; 0xBAD: a fault. What is no result must be kept.
  Back call(u32 number, const u64 (&arg)[6], Form form = Form::Immediate) {
    s.rip = start;
    constexpr Gpr kArguments[] = {RBX, RCX, RSI, RDI, R8, R9};
    const u64 upper = wide() ? 0 : kHigh;
    for (unsigned n = 0; n < 6; n++) s.gpr[kArguments[n]] = arg[n] | upper;
    s.gpr[RAX] = kHigh | number;
    s.gpr[RDX] = kHigh | 0xE4;
    s.flags.set_value(s.flags.value() | 0x8D5);  // all arithmetic flags
    const u64 faults = TestMachine::cpu.faults_delivered();
    const u32 flags = s.flags.value();
    const bool narrow = TestMachine::cpu.code_size() == CodeSize::Bits16;
    if (form == Form::Dx && narrow) run({0x66, 0xED});
    else if (form == Form::Dx) run({0xED});
    else if (narrow) run({0x66, 0xE5, 0xE4});
    else run({0xE5, 0xE4});
    if (TestMachine::cpu.faults_delivered() != faults) return {0xBAD, 0};
    for (unsigned n = 1; n < 6; n++) CHECK(s.gpr[kArguments[n]] == (arg[n] | upper));
    CHECK(s.gpr[RDX] == (kHigh | 0xE4));
    CHECK(s.flags.value() == flags);
    const u64 behind = start + (form == Form::Dx ? 1 : 2) + (narrow ? 1 : 0);
    CHECK(s.rip == behind);
    if (wide()) CHECK((s.gpr[RAX] >> 32) == 0);
    return {static_cast<u32>(s.gpr[RAX]), wide() ? s.gpr[RBX] : TestMachine::cpu.gpr<u32>(RBX)};
  }
  Back call(u32 number, u64 a = 0, u64 b = 0, u64 c = 0, u64 d = 0, u64 e = 0) { return call(number, {a, b, c, d, e, 0}); }
  bool wide() const { return TestMachine::cpu.bits64(); }
  void put(u64 at, std::string_view text) { ram_map.bus_write(at, {reinterpret_cast<const u8*>(text.data()), text.size()}); }
  std::string get(u64 at, std::size_t n) {
    std::string text(n, 0);
    ram_map.bus_read(at, {reinterpret_cast<u8*>(text.data()), n});
    return text;
  }
  /// A data segment of the test's own becomes DS.
  void set_ds(u32 base, u32 limit, u8 access, u8 flags = 0) {
    set_gdt(kFree, descriptor(base, limit, access, flags));
    set_segment(DS, kFree);
  }
  /// 16-bit code at kCode, flat.
  void code16(u8 access) {
    set_gdt(kFree + 8, descriptor(0, 0xFFFFF, access, 0));
    const u8 cpl = s.cpl;
    set_segment(CS, kFree + 8);
    s.cpl = cpl;
    TestMachine::cpu.refresh();
  }
  void iopl3() { s.flags.set_value(kIopl3); }
  /// The TSS's bitmap, which begins at 0x80: the port's four bytes.
  void bitmap(bool lets) {
    write<u16>(kTss + 0x66, 0x80);
    write<u16>(kTss + 0x80 + 0xE4 / 8, lets ? 0 : 0xFFFF);
  }
  u64 start = kCode;  ///< RIP of the code
};

struct Mode {
  const char* name;
  std::function<void(Caller&)> enter;
  u32 base;        ///< where DS begins
  u64 limit;       ///< the first offset that is not the caller's, as far as these tests go
  bool user;       ///< ring 3
  bool protected_mode = true;
};

/// Where the caller may call.
std::vector<Mode> modes() {
  const auto real = [](Caller& m) { m.real(); };
  const auto v86 = [](Caller& m) {
    m.v86(0);  // IOPL does not count there
    m.start = 0;
    m.bitmap(true);
  };
  return {
      {"real mode", real, 0, 0x10000, false, false},
      {"real mode, DS = 2000h", [real](Caller& m) {
         real(m);
         m.s.seg[DS].selector = 0x2000;
         m.s.seg[DS].base = 0x20000;
         m.TestMachine::cpu.refresh();
       }, 0x20000, 0x10000, false, false},
      {"real mode with a limit of 4 GiB", [real](Caller& m) {
         real(m);
         m.s.seg[DS].limit = ~u32{0};
         m.TestMachine::cpu.refresh();
       }, 0, u64{1} << 32, false, false},
      {"virtual-8086 mode, by the bitmap", v86, 0x30000, 0x10000, true, false},
      {"16-bit code, ring 0", [](Caller& m) {
         m.protected32(0);
         m.code16(0x9B);
         m.set_ds(0x40000, 0xFFFF, 0x93);
       }, 0x40000, 0x10000, false},
      {"16-bit code, a small segment", [](Caller& m) {
         m.protected32(0);
         m.code16(0x9B);
         m.set_ds(0x40123, 0x6FFF, 0x93);
       }, 0x40123, 0x7000, false},
      {"16-bit code, ring 3, IOPL", [](Caller& m) {
         m.protected32(3);
         m.code16(0xFB);
         m.set_ds(0x40000, 0xFFFF, 0xF3);
         m.iopl3();
       }, 0x40000, 0x10000, true},
      {"32-bit code, ring 0", [](Caller& m) { m.protected32(0); }, 0, u64{1} << 32, false},
      {"32-bit code, base and limit", [](Caller& m) {
         m.protected32(0);
         m.set_ds(0x12345, 0x8FFF, 0x93, 4);
       }, 0x12345, 0x9000, false},
      {"32-bit code, ring 3, bitmap", [](Caller& m) {
         m.protected32(3);
         m.bitmap(true);
       }, 0, u64{1} << 32, true},
      {"compatibility mode, ring 0, base and limit", [](Caller& m) {
         m.long64(0, true);
         m.set_ds(0x12000, 0x8FFF, 0x93, 4);
       }, 0x12000, 0x9000, false},
      {"compatibility mode, 16-bit code, ring 3, IOPL", [](Caller& m) {
         m.long64(3, true);
         m.code16(0xFB);
         m.set_ds(0x40000, 0xFFFF, 0xF3);
         m.iopl3();
       }, 0x40000, 0x10000, true},
      {"64-bit mode, ring 0", [](Caller& m) { m.long64(0); }, 0, 0, false},
      {"64-bit mode, DS is not looked at", [](Caller& m) {
         m.long64(0);
         m.set_ds(0x12000, 0xFF, 0x93);
       }, 0, 0, false},
      {"64-bit mode, ring 3, IOPL", [](Caller& m) {
         m.long64(3);
         m.iopl3();
       }, 0, 0, true},
      {"64-bit mode, ring 3, bitmap", [](Caller& m) {
         m.long64(3);
         m.bitmap(true);
       }, 0, 0, true},
  };
}

/// What ring 0 negotiated before.
void negotiate(Caller& m, u64 user_groups = 0) {
  m.protected32(0);
  m.start = Caller::kCode;
  REQUIRE(m.call(kHello, kVersion, kFeatures).status == kOk);
  REQUIRE(m.call(kUserMask, user_groups).status == kOk);
}

}  // namespace

TEST_CASE("in every mode the probe finds the port, and bare metal's ones") {
  for (const Mode& mode : modes()) {
    CAPTURE(mode.name);
    Caller m;
    mode.enter(m);
    CHECK(m.call(kProbe) == Back{kOk, kVersion});
    CHECK(m.call(kProbe, {1, 2, 3, 4, 5, 6}, Caller::Form::Dx) == Back{kOk, kVersion});
    CHECK(m.call(kQuery, kFlushTlb) == Back{kOk, kNoop});
    const Status early = mode.user ? kPerm : kNotNegotiated;
    CHECK(m.call(kNow) == Back{early, 0});
    const Back hello = mode.user ? Back{kPerm, 0} : Back{kOk, kFeatures};
    CHECK(m.call(kHello, kVersion, kFeatures) == hello);

    Caller metal(0);
    mode.enter(metal);
    metal.platform.io_value = ~u32{0};
    CHECK(metal.call(kProbe, 77).status == ~u32{0});
    CHECK(metal.TestMachine::cpu.gpr<u32>(RBX) == 77);
  }
}

TEST_CASE("in every mode memory is where DS has it, up to its limit") {
  for (const Mode& mode : modes()) {
    CAPTURE(mode.name);
    Caller m;
    negotiate(m, 1u << kConsole | 1u << kMem | 1u << kTime | 1u << kTest);
    mode.enter(m);
    m.put(mode.base + 0x5000, "somewhere");
    CHECK(m.call(kWrite, 0x5000, 9) == Back{kOk, 9});
    CHECK(m.console_.bytes == "somewhere");
    CHECK(m.call(kFill, 0x5001, 'x', 3) == Back{kOk, 3});
    CHECK(m.get(mode.base + 0x5000, 9) == "sxxxwhere");
    CHECK(m.call(kCopy, 0x5100, 0x5000, 9) == Back{kOk, 9});
    CHECK(m.get(mode.base + 0x5100, 9) == "sxxxwhere");
    CHECK(m.call(kNow, 0x5208).status == kOk);
    CHECK(m.read<u64>(mode.base + 0x5208) == m.platform.now());
    CHECK(m.call(kLog, 0x5000, 4) == Back{kOk, 0});
    CHECK(m.debug_.bytes == "sxxx\n");
    if (mode.limit != 0 && mode.limit <= 0x10000) {
      m.put(mode.base + mode.limit - 3, "1234");
      // Bytes are moved up to a page's end at a time.
      const bool whole = (mode.base + mode.limit) % kPageSize == 0;
      const Back part{kFault, whole ? u64{3} : u64{0}};
      CHECK(m.call(kFill, mode.limit - 3, 'y', 9) == part);
      CHECK(m.get(mode.base + mode.limit - 3, 4) == (whole ? "yyy4" : "1234"));
      CHECK(m.call(kFill, mode.limit - 3, 'z', 3) == Back{kOk, 3});
      CHECK(m.get(mode.base + mode.limit - 3, 4) == "zzz4");
      CHECK(m.call(kWrite, mode.limit, 1) == Back{kFault, 0});
      CHECK(m.call(kNow, mode.limit - 7) == Back{kFault, 0});
      CHECK(m.call(kNow, mode.limit - 8).status == kOk);
      const Back rest{kFault, whole ? u64{2} : u64{0}};
      CHECK(m.call(kCopy, 0x5000, mode.limit - 2, 3) == rest);
    }
    if (mode.limit != 0) CHECK(m.call(kFill, 0xFFFFFFFE, 0, 4).status == kFault);
  }
}

TEST_CASE("segments that are not for it: null, read-only, expand-down, above DS's privilege") {
  Caller m;
  negotiate(m);
  m.protected32(0);
  m.set_ds(0x40000, 0xFFFF, 0x91, 4);  // read-only
  m.put(0x45000, "r");
  CHECK(m.call(kWrite, 0x5000, 1) == Back{kOk, 1});
  CHECK(m.call(kFill, 0x5000, 0, 1) == Back{kFault, 0});
  m.set_ds(0x40000, 0x4FFF, 0x97, 4);  // expand-down: from 0x5000
  CHECK(m.call(kFill, 0x5000, 'd', 1) == Back{kOk, 1});
  CHECK(m.get(0x45000, 1) == "d");
  CHECK(m.call(kFill, 0x4FFF, 'd', 2) == Back{kFault, 0});
  m.set_segment(DS, 0);  // null
  m.s.seg[DS].rights = 0;
  m.TestMachine::cpu.refresh();
  CHECK(m.call(kFill, 0x5000, 'n', 1) == Back{kFault, 0});
  CHECK(m.call(kNow).status == kOk);  // no memory, no matter
  m.long64(0);
  m.s.seg[DS].rights = 0;
  m.TestMachine::cpu.refresh();
  CHECK(m.call(kFill, 0x45000, 'n', 1) == Back{kOk, 1});
}

TEST_CASE("whom IOPL and the bitmap refuse gets a #GP and no call") {
  const std::pair<const char*, std::function<void(Caller&)>> refused[] = {
      {"virtual-8086 mode", [](Caller& m) {
         m.v86(3);  // IOPL doesn't help
         m.start = 0;
         m.bitmap(false);
       }},
      {"16-bit code, ring 3", [](Caller& m) {
         m.protected32(3);
         m.code16(0xFB);
         m.bitmap(false);
       }},
      {"32-bit code, ring 3", [](Caller& m) {
         m.protected32(3);
         m.bitmap(false);
       }},
      {"32-bit code, ring 3, one bit of four", [](Caller& m) {
         m.protected32(3);
         m.bitmap(true);
         m.write<u16>(Caller::kTss + 0x80 + 0xE4 / 8, 0x80);
       }},
      {"32-bit code, ring 3, no bitmap", [](Caller& m) {
         m.protected32(3);
         m.write<u16>(Caller::kTss + 0x66, 0x1000);
       }},
      {"compatibility mode, ring 3", [](Caller& m) {
         m.long64(3, true);
         m.bitmap(false);
       }},
      {"64-bit mode, ring 3", [](Caller& m) {
         m.long64(3);
         m.bitmap(false);
       }},
      {"64-bit mode, ring 3, IOPL 2", [](Caller& m) {
         m.long64(3);
         m.bitmap(false);
         m.s.flags.set_value(kFlagsFixed | 2u << 12);
       }},
  };
  for (const auto& [name, enter] : refused)
    for (const auto form : {Caller::Form::Immediate, Caller::Form::Dx}) {
      CAPTURE(name);
      Caller m;
      negotiate(m, 1u << kMem);
      m.put(0x45000, "unharmed");
      enter(m);
      CHECK(m.call(kFill, {0x45000, 'x', 8, 0, 0, 0}, form).status == 0xBAD);
      CHECK(m.last_fault() == "#GP(0x0)");
      CHECK(m.get(0x45000, 8) == "unharmed");
    }
}

TEST_CASE("every number in every mode: who may not call, and where, comes before what is asked") {
  for (const Mode& mode : modes())
    for (const u64 mask : {u64{0}, u64{1} << kTime | u64{1} << kMem})
      for (u32 group = 0; group < kGroups + 2; group++)
        for (u32 number = 0; number < 16; number++) {
          const u32 n = group << 16 | number;
          const CallRow* row = find_call(n);
          const bool asks = row != nullptr && (row->attributes & kUnnegotiated);
          const bool lets = row != nullptr && (row->attributes & kUser) && (asks || (mask >> group & 1));
          Status expected = kOk;
          if (row == nullptr) expected = kNoSys;
          else if (mode.user && !lets) expected = kPerm;
          else if (!mode.protected_mode && (row->attributes & kProtected)) expected = kBadMode;
          else continue;  // it would do something
          CAPTURE(mode.name);
          CAPTURE(n);
          Caller m;
          negotiate(m, mask);
          mode.enter(m);
          CHECK(m.call(n, 1, 2, 3, 4) == Back{expected, 0});
          CHECK(m.asked.empty());
        }
}

namespace {

/// A call with one argument that is wrong. Addresses: B is 64 KiB of memory, kHole is none.
struct Wrong {
  u32 number;
  u64 a, b, c, d, e;
  Back back;
  bool wide = false;  ///< it needs 64 bits, or a fifth argument
};
constexpr u64 B = 0x20'0000, kBig = u64{1} << 40;
constexpr Wrong kWrong[] = {
    {kHello, 2u << 16, 0, 0, 0, 0, {kBadVersion, kVersion}},
    {kHello, kVersion + 1, 0, 0, 0, 0, {kBadVersion, kVersion}},
    {kHello, 0, 0, 0, 0, 0, {kBadVersion, kVersion}},
    {kQuery, kGroups << 16, 0, 0, 0, 0, {kNoSys, 0}},
    {kQuery, kBig, 0, 0, 0, 0, {kNoSys, 0}, true},
    {kUserMask, 1u << kIrq, 0, 0, 0, 0, {kInvalid, 0}},
    {kUserMask, 1u << kCpu, 0, 0, 0, 0, {kInvalid, 0}},
    {kUserMask, 1u << kGroups, 0, 0, 0, 0, {kInvalid, 0}},
    {kRing, B + 32, 8, 0, 0, 0, {kInvalid, 0}},
    {kRing, B, 0, 0, 0, 0, {kInvalid, 1}},
    {kRing, B, 12, 0, 0, 0, {kInvalid, 1}},
    {kRing, B, 2048, 0, 0, 0, {kTooBig, kMostRingEntries}},
    {kRing, B, kBig, 0, 0, 0, {kTooBig, kMostRingEntries}, true},
    {kDoorbell, 0, 0, 0, 0, 0, {kInvalid, 0}},
    {kWriteDescriptors, 2, 14, B, 1, 0, {kInvalid, 0}},
    {kWriteDescriptors, 1, 0, B, 1, 0, {kInvalid, 0}},
    {kWriteDescriptors, 0, 32, B, 1, 0, {kInvalid, 1}},
    {kWriteDescriptors, 0, 31, B, 2, 0, {kInvalid, 1}},
    {kWriteDescriptors, 0, ~u64{0}, B, 1, 0, {kInvalid, 1}, true},
    {kWriteDescriptors, 0, 14, kHole, 1, 0, {kFault, 0}},
    {kWriteDescriptors, 0, 14, B, 8193, 0, {kTooBig, kMostDescriptors}},
    {kLoadLdt, 0x1007C, B, 16, 1, 0, {kInvalid, 0}},
    {kLoadLdt, 0x74, B, 16, 1, 0, {kInvalid, 0}},
    {kLoadLdt, 0x73, B, 16, 1, 0, {kInvalid, 0}},
    {kLoadLdt, 0, B, 16, 1, 0, {kInvalid, 0}},
    {kLoadLdt, 0x100, B, 16, 1, 0, {kInvalid, 0}},
    {kLoadLdt, 0x70, u64{1} << 50, 16, 1, 0, {kInvalid, 1}, true},
    {kLoadLdt, 0x70, B, 12, 1, 0, {kInvalid, 2}},
    {kLoadLdt, 0x70, B, 65544, 1, 0, {kTooBig, 65536}},
    {kLoadLdt, 0x70, B, 16, 2, 0, {kInvalid, 3}},
    {kLoadLdt, 0x70, B, 16, 1, 2, {kInvalid, 4}, true},
    {kLoadTls, 30, 0, 0, 0, 0, {kInvalid, 0}, true},
    {kLoadTls, ~u64{0}, 0, 0, 0, 0, {kInvalid, 0}, true},
    {kSwitchMm, u64{1} << 62, 0, 0, 0, 0, {kInvalid, 0}, true},
    {kSwitchMm, Caller::kTables, 4, 0, 0, 0, {kInvalid, 1}},
    {kSwitchMm, Caller::kTables, 1, Caller::kData0, 0, 0, {kInvalid, 2}},
    {kSwitchMm, Caller::kTables, 1, 0x10000, 0, 0, {kInvalid, 2}},
    {kFlushTlb, 0, 1, 2, 0, 0, {kInvalid, 2}},
    {kMsrBatch, B, 65, 0, 0, 0, {kTooBig, kMostMsrs}},
    {kMsrBatch, kHole, 1, 0, 0, 0, {kFault, 0}},
    {kMsrBatch, B, 1, 0, 0, 0, {kInvalid, 0}},  // no such register
    {kNow, kHole, 0, 0, 0, 0, {kFault, 0}},
    {kWallClock, kHole, 0, 0, 0, 0, {kFault, 0}},
    {kDeadline, u64{1} << 62, 0x40, 0, 0, 0, {kInvalid, 0}, true},
    {kDeadline, 1, 15, 0, 0, 0, {kInvalid, 1}},
    {kDeadline, 1, 256, 0, 0, 0, {kInvalid, 1}},
    {kSkip, u64{1} << 62, 0, 0, 0, 0, {kInvalid, 0}, true},
    {kIpi, 15, 1, 0, 0, 0, {kInvalid, 0}},
    {kIpi, 256, 1, 0, 0, 0, {kInvalid, 0}},
    {kIpi, 0x40, 2, 0, 0, 0, {kInvalid, 1}},
    {kIpi, 0x40, 1, 2, 0, 0, {kInvalid, 2}},
    {kKick, 2, 0, 0, 0, 0, {kInvalid, 0}},
    {kKick, u64{1} << 63, 0, 0, 0, 0, {kInvalid, 0}, true},
    {kHaltUntil, 0, 2, 0, 0, 0, {kInvalid, 1}},
    {kWrite, kHole, 1, 0, 0, 0, {kFault, 0}},
    {kWrite, B, kBig + 1, 0, 0, 0, {kTooBig, kBig}, true},
    {kAttach, 2, 0, 0, 0, 0, {kInvalid, 0}},
    {kAttach, 1, 15, 0, 0, 0, {kInvalid, 1}},
    {kAttach, 1, 256, 0, 0, 0, {kInvalid, 1}},
    {kCopy, B + 1, B, 2, 0, 0, {kInvalid, 0}},
    {kCopy, B, B + 1, 2, 0, 0, {kInvalid, 1}},
    {kCopy, kHole, B, 1, 0, 0, {kFault, 0}},
    {kCopy, B, kHole, 1, 0, 0, {kFault, 0}},
    {kCopy, B, B + 0x8000, kBig + 1, 0, 0, {kTooBig, kBig}, true},
    {kFill, B, 256, 1, 0, 0, {kInvalid, 1}},
    {kFill, kHole, 1, 1, 0, 0, {kFault, 0}},
    {kFill, B, 1, kBig + 1, 0, 0, {kTooBig, kBig}, true},
    {kClearPages, B + 64, 1, 0, 0, 0, {kInvalid, 0}},
    {kClearPages, kHole, 1, 0, 0, 0, {kFault, 0}},
    {kChecksum, kHole, 1, 0, 0, 0, {kFault, 0}},
    {kChecksum, B, 65537, 0, 0, 0, {kTooBig, kMostBytes}},
    {kAssert, 0, kHole, 1, 0, 0, {kFault, 0}},
    {kAssert, 0, B, 1025, 0, 0, {kTooBig, kMostText}},
    {kLog, kHole, 1, 0, 0, 0, {kFault, 0}},
    {kLog, B, 1025, 0, 0, 0, {kTooBig, kMostText}},
    {kSnapshot, kMostSnapshots, 0, 0, 0, 0, {kTooBig, kMostSnapshots}},
    {kSnapshot, 0, 2, 0, 0, 0, {kInvalid, 1}},
    {kRestore, 0, 1, 0, 0, 0, {kInvalid, 0}},
    {kRestore, kMostSnapshots, 1, 0, 0, 0, {kInvalid, 0}},
};

/// The page of kHole is nobody's.
void unmap_hole(Caller& m) {
  m.write<u64>(Caller::kTables + 0x2000 + 8 * (kHole >> 21), 0);
  m.TestMachine::cpu.refresh();
  m.write<u32>(B, 0x12345);
}

}  // namespace

TEST_CASE("each wrong argument has its error: by registers, in 32-bit code, before HELLO, in ring 3, in a ring") {
  for (const Wrong& w : kWrong) {
    const CallRow* row = find_call(w.number);
    REQUIRE(row != nullptr);
    CAPTURE(row->name);
    CAPTURE(w.a);
    CAPTURE(w.b);
    const bool asks = row->attributes & kUnnegotiated;
    {
      Caller m;
      negotiate(m);
      m.long64(0);
      unmap_hole(m);
      CHECK(m.call(w.number, w.a, w.b, w.c, w.d, w.e) == w.back);
      CHECK(m.asked.empty());
      CHECK(m.console_.bytes.empty());
    }
    if (!w.wide) {
      Caller m;
      negotiate(m);
      m.long64(0, true);
      unmap_hole(m);
      CHECK(m.call(w.number, w.a, w.b, w.c, w.d) == Back{w.back.status, static_cast<u32>(w.back.value)});
    }
    if (!asks) {
      Caller m;
      m.long64(0);
      CHECK(m.call(w.number, w.a, w.b, w.c, w.d, w.e) == Back{kNotNegotiated, 0});
    }
    {
      Caller m;
      negotiate(m);
      m.long64(3);
      m.iopl3();
      const bool refused = !asks || w.number == kHello;
      if (refused) CHECK(m.call(w.number, w.a, w.b, w.c, w.d, w.e) == Back{kPerm, 0});
    }
    {
      constexpr u64 kAt = 0x30'0000;
      Caller m;
      negotiate(m);
      m.long64(0);
      unmap_hole(m);
      REQUIRE(m.call(kRing, kAt, 4).status == kOk);
      m.write<u32>(kAt + 4, 1);  // ready
      m.write<u32>(kAt + 64, w.number);
      const u64 arguments[] = {w.a, w.b, w.c, w.d, w.e};
      for (unsigned n = 0; n < 5; n++) m.write<u64>(kAt + 72 + 8 * n, arguments[n]);
      CHECK(m.call(kDoorbell) == Back{kOk, 1});
      const bool there = !(row->attributes & kNotInRing);
      const Back expected = there ? w.back : Back{kNoSys, 0};
      CHECK(Back{m.read<u32>(kAt + 68), m.read<u64>(kAt + 120)} == expected);
    }
  }
}
