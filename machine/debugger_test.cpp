#include "machine/debugger.h"

#include <doctest/doctest.h>

#include "jit/translator.h"
#include "machine/test_guests.h"

using namespace callgate;
using namespace callgate::test;

namespace {

constexpr u64 kCode = 0x10'0020;

std::vector<Engine> engines() {
  std::vector<Engine> all{Engine::Interpreter};
  if (jit::translator_supported()) all.push_back(Engine::Translator);
  return all;
}

std::unique_ptr<Machine> guest(const std::vector<u8>& code, Engine engine, unsigned cpus = 1) {
  return machine_with(code, {.ram_bytes = 16 << 20, .cpus = cpus, .engine = engine});
}

// xor eax, eax; mov ecx, 1000; loop: inc eax; mov [0x200000], eax; mov ebx, [0x200800]; dec ecx; jnz loop; hlt
const std::vector<u8> kLoop = {0x31, 0xC0, 0xB9, 0xE8, 0x03, 0x00, 0x00,        // 100020
                               0x40,                                            // 100027
                               0xA3, 0x00, 0x00, 0x20, 0x00,                    // 100028
                               0x8B, 0x1D, 0x00, 0x08, 0x20, 0x00,              // 10002d
                               0x49, 0x75, 0xF1, 0xF4};                         // 100033 100034 100036
constexpr u64 kLoopStart = kCode + 7, kStore = kCode + 8, kLoad = kCode + 0xD;

u64 undisturbed_hash(const std::vector<u8>& code, Engine engine, u64 until) {
  auto m = guest(code, engine);
  m->run({.until_count = until});
  return m->hash();
}

}  // namespace

TEST_CASE("a breakpoint stops before its instruction, each time, and changes no hash") {
  for (const Engine engine : engines()) {
    auto m = guest(kLoop, engine);
    Debugger& d = m->debugger();
    d.add_breakpoint({{kStore, false}, std::nullopt, {}});
    for (u64 round = 1; round <= 20; round++) {
      d.resume();
      REQUIRE(m->run().reason == StopReason::Debug);
      CHECK(d.hit().kind == DebugHit::Breakpoint);
      CHECK(d.hit().at == DebugAddress{kStore, false});
      CHECK(m->cpu_state(0).rip == kStore);
      CHECK(m->cpu_state(0).gpr[RAX] == round);
      CHECK(m->count() == 3 + 5 * (round - 1));
    }
    CHECK(d.remove_breakpoint({kStore, false}));
    CHECK_FALSE(d.remove_breakpoint({kStore, false}));
    d.resume();
    CHECK(m->run({.until_count = 3000}).reason == StopReason::CountReached);
    CHECK(m->hash() == undisturbed_hash(kLoop, engine, 3000));
  }
}

TEST_CASE("code that was translated before a breakpoint came stops at it, and runs through when it is gone") {
  for (const Engine engine : engines()) {
    auto m = guest(kLoop, engine);
    Debugger& d = m->debugger();
    CHECK(m->run({.until_count = 1002}).reason == StopReason::CountReached);
    d.add_breakpoint({{kLoad, true}, std::nullopt, {}});  // physical: paging is off
    d.resume();
    REQUIRE(m->run().reason == StopReason::Debug);
    CHECK(d.hit().at == DebugAddress{kLoad, true});
    CHECK(m->cpu_state(0).rip == kLoad);
    CHECK(m->count() == 1004);
    d.clear();
    CHECK(m->run({.until_count = 2000}).reason == StopReason::CountReached);
    CHECK(m->hash() == undisturbed_hash(kLoop, engine, 2000));
  }
}

TEST_CASE("a condition is asked at each pass, and one address space can be meant") {
  for (const Engine engine : engines()) {
    auto m = guest(kLoop, engine);
    Debugger& d = m->debugger();
    unsigned asked = 0;
    d.add_breakpoint({{kStore, false}, std::nullopt, [&](unsigned cpu) {
                        asked++;
                        return m->cpu_state(cpu).gpr[RAX] == 700;
                      }});
    d.add_breakpoint({{kLoopStart, false}, 0x5000, {}});  // CR3 is something else
    d.resume();
    REQUIRE(m->run().reason == StopReason::Debug);
    CHECK(m->cpu_state(0).gpr[RAX] == 700);
    CHECK(asked == 700);
  }
}

TEST_CASE("a watchpoint stops after the access; others in its page go on") {
  for (const Engine engine : engines()) {
    auto m = guest(kLoop, engine);
    Debugger& d = m->debugger();
    d.add_watchpoint({{0x20'0002, false}, 1, WatchOn::Write, std::nullopt});
    d.add_watchpoint({{0x20'0800, false}, 4, WatchOn::Write, std::nullopt});  // only read
    d.resume();
    REQUIRE(m->run().reason == StopReason::Debug);
    CHECK(d.hit().kind == DebugHit::Watchpoint);
    CHECK(d.hit().at.address == 0x20'0002);
    CHECK(m->cpu_state(0).rip == kLoad);
    CHECK(m->count() == 4);
    d.clear();
    d.add_watchpoint({{0x20'0803, true}, 100, WatchOn::Read, std::nullopt});
    d.resume();
    REQUIRE(m->run().reason == StopReason::Debug);
    CHECK(d.hit().at == DebugAddress{0x20'0803, true});
    CHECK(d.hit().on == WatchOn::Read);
    CHECK(m->cpu_state(0).rip == kLoad + 6);
    d.clear();
    m->run({.until_count = 3000});
    CHECK(m->hash() == undisturbed_hash(kLoop, engine, 3000));
  }
}

TEST_CASE("an instruction that reads and writes is seen by a watchpoint of either kind") {
  // mov ecx, 100; loop: add [0x200000], ecx; dec ecx; jnz loop; hlt
  const std::vector<u8> code = {0xB9, 0x64, 0, 0, 0, 0x01, 0x0D, 0x00, 0x00, 0x20, 0x00, 0x49, 0x75, 0xF7, 0xF4};
  for (const Engine engine : engines())
    for (const WatchOn on : {WatchOn::Read, WatchOn::Write, WatchOn::Access}) {
      auto m = guest(code, engine);
      m->run({.until_count = 100});
      m->debugger().add_watchpoint({{0x20'0003, false}, 1, on, std::nullopt});
      for (u64 n = 0; n < 5; n++) {
        m->debugger().resume();
        REQUIRE(m->run().reason == StopReason::Debug);
        CHECK(m->count() == 101 + 3 * n);
      }
    }
}

TEST_CASE("a watched page counts the steps of REP as an unwatched one does") {
  // mov esi, 0x200ff0; mov edi, 0x300004; mov ecx, 300; rep movsd; mov edi, 0x300004; mov ecx, 50; repe scasb; hlt
  const std::vector<u8> code = {0xBE, 0xF0, 0x0F, 0x20, 0x00, 0xBF, 0x04, 0x00, 0x30, 0x00, 0xB9, 0x2C, 0x01, 0x00, 0x00, 0xF3,
                                0xA5, 0xBF, 0x04, 0x00, 0x30, 0x00, 0xB9, 0x32, 0x00, 0x00, 0x00, 0xF3, 0xAE, 0xF4};
  for (const Engine engine : engines())
    for (const WatchOn on : {WatchOn::Read, WatchOn::Write, WatchOn::Access}) {
      auto plain = guest(code, engine), watched = guest(code, engine);
      CHECK(plain->run().reason == StopReason::Halted);
      Debugger& d = watched->debugger();
      for (const u64 page : {0x20'0000, 0x20'1000, 0x30'0000}) d.add_watchpoint({{page, false}, 4096, on, std::nullopt});
      unsigned stops = 0;
      for (;; stops++) {
        d.resume();
        if (watched->run().reason != StopReason::Debug) break;
        REQUIRE(stops < 1000);
      }
      CHECK(stops != 0);
      CHECK(watched->count() == plain->count());
      CHECK(watched->hash() == plain->hash());
    }
}

TEST_CASE("steps pass over the handlers of interrupts unless they are asked for") {
  for (const Engine engine : engines()) {
    auto m = guest(kBusyGuest, engine), plain = guest(kBusyGuest, engine);
    Debugger& d = m->debugger();
    m->run({.until_count = 20'000});
    unsigned handlers = 0;
    for (unsigned n = 0; n < 20'000; n++) {
      const u64 before = m->count();
      const bool interruptible = m->cpu_state(0).flags.test(kIF);
      d.step(0, false);
      const Stop stop = m->run({.until_count = before + 100'000});
      REQUIRE(stop.reason == StopReason::Debug);
      REQUIRE(d.hit().kind == DebugHit::Step);
      if (m->count() > before + 1) handlers++;
      // In the handler IF is clear: STI and IRET are its only ways out, and the steps began outside.
      if (interruptible && !m->cpu_state(0).flags.test(kIF)) FAIL("a step ended in a handler");
    }
    CHECK(handlers > 0);
    const u64 end = m->count();
    plain->run({.until_count = end});
    CHECK(plain->hash() == m->hash());
    // And with interrupts let in, a step ends at the handler's first instruction.
    bool entered = false;
    for (unsigned n = 0; n < 100'000 && !entered; n++) {
      const bool interruptible = m->cpu_state(0).flags.test(kIF);
      d.step(0, true);
      REQUIRE(m->run({.until_count = ~u64{0}}).reason == StopReason::Debug);
      entered = interruptible && !m->cpu_state(0).flags.test(kIF);
    }
    CHECK(entered);
  }
}

TEST_CASE("a guest may ask for its debugger") {
  // mov dx, 0x8a00; mov ax, 0x8ae0; out dx, ax; hlt
  const std::vector<u8> code = {0x66, 0xBA, 0x00, 0x8A, 0x66, 0xB8, 0xE0, 0x8A, 0x66, 0xEF, 0xF4};
  for (const Engine engine : engines()) {
    auto alone = guest(code, engine), debugged = guest(code, engine);
    CHECK(alone->run().reason == StopReason::Halted);
    debugged->debugger().resume();
    CHECK(debugged->run().reason == StopReason::Debug);
    CHECK(debugged->debugger().hit().kind == DebugHit::GuestBreak);
    CHECK(debugged->count() == 3);
    debugged->debugger().resume();
    CHECK(debugged->run().reason == StopReason::Halted);
    CHECK(debugged->hash() == alone->hash());
  }
}

TEST_CASE("debugger: what is readable of a range is read, and no more") {
  auto m = guest(kLoop, Engine::Interpreter);
  Debugger& d = m->debugger();
  std::vector<u8> bytes(64);
  CHECK(d.read_linear(0, (16 << 20) - 10, bytes) == 10);
  CHECK(d.write_linear(0, (16 << 20) - 10, bytes) == 10);
  CHECK(d.read_physical(0xC000'0000, bytes) == 0);
  CHECK(d.read_linear(0, 0x1'0000'0000, bytes) == 0);  // beyond 32 bits
}

TEST_CASE("every access to watched bytes is told at the same count by every engine, however busy their page is") {
  // The busy guest writes words all over 2 to 6 MiB and copies; its counters share a page.
  std::vector<std::vector<u64>> hits;
  for (const Engine engine : {Engine::Interpreter, default_engine()}) {
    auto m = test::busy_machine({.ram_bytes = 16 << 20, .engine = engine});
    m->run({.until_count = 5'000});
    Debugger& d = m->debugger();
    d.add_watchpoint({.at = {0x20'0800, false}, .size = 2, .on = WatchOn::Access});
    d.add_watchpoint({.at = {test::kBusyCounter + 4, true}, .size = 1, .on = WatchOn::Write});
    d.add_watchpoint({.at = {0x60'1003, true}, .size = 300, .on = WatchOn::Write});
    std::vector<u64> at;
    while (m->count() < 400'000) {
      d.resume();
      if (m->run({.until_count = 400'000}).reason == StopReason::Debug) at.push_back(m->count() << 2 | d.hit().at.physical << 1);
    }
    CHECK(at.size() > 20);
    at.push_back(m->hash());
    hits.push_back(std::move(at));
  }
  CHECK(hits[0] == hits[1]);
}
