// Guests that hook functions, call them, rewrite them and map others in their place, at random: both engines must show the same state
// wherever they stop, hooks and their effect included, however the translator is tuned.
#include <doctest/doctest.h>

#include <array>
#include <random>
#include <vector>

#include "cpu/hooked_code.h"
#include "jit/test_engine.h"
#include "paravirt/abi.h"
#include "paravirt/test_functions.h"
#include "paravirt/test_host.h"

using namespace callgate;
using namespace callgate::paravirt;
using namespace callgate::paravirt::abi;
using test::TestMachine;

namespace {

using Random = std::mt19937_64;

// Functions in one page; another frame has the same ones but for some bytes, and may be mapped there instead.
constexpr u64 kFunctions = 0x40000, kOthers = 0x48000, kApart = 0x80, kPageTable = 0x180000, kData = 0x200000;
constexpr unsigned kDataPages = 6;
constexpr u64 kMemoryEnd = kData + 0x10000;

struct Function {
  Intrinsic kind;
  Bytes bytes;
};
const std::vector<Function> kAll = {{Intrinsic::ClearPage, kClearPage}, {Intrinsic::CopyPage, kCopyPage},
                                    {Intrinsic::Memcpy, kMemcpy},       {Intrinsic::Memset, kMemset},
                                    {Intrinsic::CopyUser, kCopyUser},   {Intrinsic::Delay, kDelay}};

class Program {
 public:
  explicit Program(Random& random) : random_(random) {
    const unsigned count = 4 + pick(14);
    for (unsigned n = 0; n < count; n++) add();
    emit({0xE9});
    number(~static_cast<u64>(code.size() + 3), 4);  // jmp to the start
  }
  Bytes code;

 private:
  unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }
  void emit(std::initializer_list<unsigned> bytes) {
    for (const unsigned b : bytes) code.push_back(static_cast<u8>(b));
  }
  void number(u64 value, unsigned size) {
    for (unsigned b = 0; b < size; b++) code.push_back(static_cast<u8>(value >> 8 * b));
  }
  void load(unsigned reg, u64 value) {  // mov reg, imm64
    emit({reg < 8 ? 0x48u : 0x49u, 0xB8 | (reg & 7)});
    number(value, 8);
  }
  u64 address_of(unsigned function) const { return kFunctions + kApart * function; }
  void add() {
    const unsigned function = pick(static_cast<unsigned>(kAll.size()));
    const Function& f = kAll[function];
    switch (pick(12)) {
      default: {  // a call
        const bool pages = f.kind == Intrinsic::ClearPage || f.kind == Intrinsic::CopyPage;
        const unsigned page = pick(kDataPages), other_page = (page + 1 + pick(kDataPages - 1)) % kDataPages;
        const u64 to = kData + (page << kPageShift) + (pages && pick(8) != 0 ? 0 : pick(4096));
        const u64 from = kData + (other_page << kPageShift) + (pages ? 0 : pick(4096));
        load(RDI, f.kind == Intrinsic::Delay ? 1 + pick(200) : to);
        load(RSI, f.kind == Intrinsic::Memset ? pick(256) : from);
        load(RDX, pick(6) == 0 ? 0 : pick(3000));
        emit({0xE8});
        number(address_of(function) - (TestMachine::kCode + code.size() + 4), 4);
        break;
      }
      case 0:  // mov byte [function + n], what is meant to be there, mostly; else a RET
      case 1: {
        const unsigned at = pick(static_cast<unsigned>(f.bytes.size()));
        load(RAX, address_of(function) + at);
        emit({0xC6, 0x00, pick(4) == 0 ? 0xC3u : f.bytes[at]});
        break;
      }
      case 2:
      case 3:
      case 4: {  // HOOK, of the bytes that are meant or of others
        const u64 hash = fnv(f.bytes) + (pick(10) == 0);
        call(kHook, {address_of(function), static_cast<u64>(pick(12) == 0 ? kAll[pick(5)].kind : f.kind), f.bytes.size(), hash});
        break;
      }
      case 5: call(kUnhook, {pick(6) == 0 ? kAllSlots : pick(7), 0, 0, 0}); break;
      case 6: call(kHookState, {pick(7), 0, 0, 0}); break;
      case 7:  // the functions' page is another one from now on
        load(RAX, kPageTable + 8 * (kFunctions >> kPageShift));
        emit({0x48, 0xC7, 0x00});
        number((pick(2) == 0 ? kFunctions : kOthers) | 3, 4);
        load(RAX, kFunctions);
        emit({0x0F, 0x01, 0x38});  // invlpg [rax]
        break;
    }
  }
  void call(u32 what, const std::array<u64, 4>& arguments) {
    load(RBX, arguments[0]);
    load(RCX, arguments[1]);
    load(RSI, arguments[2]);
    load(RDI, arguments[3]);
    load(R8, 0);
    load(R9, 0);
    load(RAX, what);
    emit({0xE5, 0xE4});                          // in eax, 0E4h
    emit({0x49, 0x01, 0xC2, 0x49, 0x01, 0xDA});  // add r10, rax; add r10, rbx
  }
  Random& random_;
};

class Side : public TestHost {
 public:
  Side(const jit::TranslatorOptions* options, const Bytes& code) : TestHost(kCallgate) {
    TestMachine& machine = *this;
    if (options != nullptr) jit::use_translator(machine, *options);
    long64();
    for (u64 n = 0; n < 512; n++) write<u64>(kPageTable + 8 * n, n << kPageShift | 3);
    write<u64>(kTables + 0x2000, kPageTable | 7);
    // A fault begins the program again: mov esp, kStack0; mov eax, kCode; jmp rax.
    const Bytes again = {0xBC, 0x00, 0x00, 0x02, 0x00, 0xB8, 0x00, 0x80, 0x00, 0x00, 0xFF, 0xE0};
    for (unsigned v = 0; v < 32; v++) ram_map.bus_write(handler(v), again);
    Random random(1);
    Bytes data(kDataPages << kPageShift);
    for (u8& b : data) b = static_cast<u8>(random());
    ram_map.bus_write(kData, data);
    for (std::size_t n = 0; n < kAll.size(); n++) {
      Bytes other = kAll[n].bytes;
      if (n % 2 == 0) other.insert(other.begin(), 0x90);
      ram_map.bus_write(kFunctions + kApart * n, kAll[n].bytes);
      ram_map.bus_write(kOthers + kApart * n, other);
    }
    CpuState& s = TestMachine::cpu.s;
    s.rip = kCode;
    s.gpr[RAX] = kHello, s.gpr[RBX] = kVersion, s.gpr[RCX] = kFeatures;
    s.gpr[RSP] = kStack0;
    run({0xE5, 0xE4});
    CHECK(s.gpr[RAX] == kOk);
    ram_map.bus_write(kCode, code);
    s.rip = kCode;
    TestMachine::cpu.refresh();
  }
  std::array<u64, 3> hash() {
    TestMachine& machine = *this;
    StateHasher hooks;
    hypervisor->hooks->sync(hooks);
    return {jit::registers_hash(machine), jit::memory_hash(machine, kMemoryEnd), hooks.digest()};
  }
};

}  // namespace

TEST_CASE("guests that hook functions and change them give the same state on both engines") {
  if (!jit::translator_supported()) return;
  const jit::TranslatorOptions kTunings[] = {
      {.promote_after = 3, .verify = true},
      {.chaining = false, .passes = false, .verify = true},
      {.most_insns = 3, .split_seed = 1, .verify = true},
      {.flush_every = 7, .promote_after = 1, .verify = true},
  };
  Random random(11);
  u64 entered = 0, declined = 0, suspended = 0, refused = 0;
  for (unsigned n = 0; n < 240; n++) {
    const Program program(random);
    Side reference(nullptr, program.code), subject(&kTunings[n % std::size(kTunings)], program.code);
    bool good = true;
    for (unsigned part = 0; part < 12 && good; part++) {
      const u64 more = 1 + random() % 900;
      reference.TestMachine::run(more);
      subject.TestMachine::run(more);
      const std::array<u64, 3> expected = reference.hash(), found = subject.hash();
      good = expected == found;
      CHECK_MESSAGE(good, "program ", n, " at ", reference.TestMachine::cpu.s.retired, " and ", subject.TestMachine::cpu.s.retired,
                    ", rip ", reference.TestMachine::cpu.s.rip, " and ", subject.TestMachine::cpu.s.rip, "; registers ",
                    expected[0] == found[0], ", memory ", expected[1] == found[1], ", hooks ", expected[2] == found[2]);
    }
    const HookedCode::Stats &a = reference.hypervisor->hooks->stats, &b = subject.hypervisor->hooks->stats;
    for (unsigned kind = 0; kind < kIntrinsics; kind++) {
      CHECK_MESSAGE(a.entered[kind] == b.entered[kind], "program ", n, ", ", name_of(static_cast<Intrinsic>(kind)));
      CHECK(a.declined[kind] == b.declined[kind]);
      entered += a.entered[kind];
      declined += a.declined[kind];
    }
    suspended += a.suspended;
    refused += a.refused;
  }
  MESSAGE("entered ", entered, ", declined ", declined, ", suspended ", suspended, ", refused ", refused);
  CHECK(entered > 5000);
  CHECK(declined > 100);
  CHECK(suspended > 100);
  CHECK(refused > 100);
}
