#include "machine/lockstep.h"

#include <doctest/doctest.h>

using namespace callgate;

namespace {

constexpr u32 kLoad = 0x10'0000, kData = 0x20'0000;

/// A Multiboot 1 kernel: a flat binary at 1 MiB, 32-bit protected mode.
Result<> load(Machine& m, const std::vector<u8>& code) {
  constexpr u32 kFlags = 1u << 16, kMagic = 0x1BADB002;
  boot::FileBytes image;
  for (const u32 v : {kMagic, kFlags, 0u - kMagic - kFlags, kLoad, kLoad, 0u, 0u, kLoad + 32})
    for (unsigned i = 0; i < 4; i++) image.push_back(static_cast<u8>(v >> 8 * i));
  image.insert(image.end(), code.begin(), code.end());
  boot::BootInputs inputs;
  inputs.kernel = {"small kernel", image, ""};
  inputs.memory = m.memory_map();
  return m.load(std::move(inputs));
}

// mov ecx, 100000; loop: inc eax; loop loop; out 0xe9, al; mov ebx, [kData]; mov [kData + 4], ebx; jmp to the start
const std::vector<u8> kGuest = {0xB9, 0xA0, 0x86, 0x01, 0x00, 0x40, 0xE2, 0xFD, 0xE6, 0xE9, 0x8B, 0x1D, 0x00, 0x00, 0x20,
                                0x00, 0x89, 0x1D, 0x04, 0x00, 0x20, 0x00, 0xEB, 0xE8};
constexpr u64 kRound = 1 + 2 * 100'000 + 4;

}  // namespace

TEST_CASE("lockstep: both engines run a guest alike, and the run ends where it was told to") {
  if (default_engine() != Engine::Translator) return;
  auto l = Lockstep::create({.ram_bytes = 16 << 20}, [](Machine& m) { return load(m, kGuest); }, 50'000).value();
  const Stop stop = l->run({.until_count = 777'777});
  CHECK(stop.reason == StopReason::CountReached);
  CHECK(l->subject().count() == 777'777);
  CHECK(l->difference().empty());
}

TEST_CASE("lockstep: a difference is found at the instruction that made it") {
  if (default_engine() != Engine::Translator) return;
  // The third output spoils a byte of the translator's machine, as a bug in it might.
  const auto loader = [](Machine& m) {
    if (m.config().engine == Engine::Translator)
      m.on_debug_console([&m, n = 0](std::span<const u8>) mutable {
        if (++n == 3) m.write_physical(kData, std::vector<u8>{0x5A});
      });
    return load(m, kGuest);
  };
  auto l = Lockstep::create({.ram_bytes = 16 << 20}, loader, 1'000'000).value();
  const Stop stop = l->run({.until_count = 5'000'000});
  CHECK(stop.reason == StopReason::Requested);
  const u64 at = 2 * kRound + 1 + 2 * 100'000 + 1;
  CHECK(l->difference().find("the engines differ after count " + std::to_string(at) + ", and agreed at " +
                             std::to_string(at - 1) + "\n") == 0);
  CHECK(l->difference().find("out 0xe9, al\n") != std::string::npos);
  CHECK(l->difference().find("memory 0x200000: 0x00  0x5a") != std::string::npos);
  // The code that the translator has for the OUT: it calls the handler.
  const std::size_t code = l->difference().find("The translator's code, guest:0x");
  REQUIRE(code != std::string::npos);
  CHECK(l->difference().find("call 0x", code) != std::string::npos);
}

TEST_CASE("lockstep: a register that differs is told with both states") {
  if (default_engine() != Engine::Translator) return;
  const auto loader = [](Machine& m) {
    if (m.config().engine == Engine::Translator)
      m.on_debug_console([&m](std::span<const u8>) {
        CpuState s = m.cpu_state(0);
        s.gpr[RSI] = 0x1234;
        m.set_cpu_state(0, s);
      });
    return load(m, kGuest);
  };
  auto l = Lockstep::create({.ram_bytes = 16 << 20}, loader, 1'000'000).value();
  CHECK(l->run({.until_count = 2'000'000}).reason == StopReason::Requested);
  const std::string& report = l->difference();
  CHECK(report.find("the engines differ after count " + std::to_string(1 + 2 * 100'000 + 1)) == 0);
  CHECK(report.find("rsi        0x0000000000000000  0x0000000000001234\n") != std::string::npos);
  CHECK(report.find("The interpreter's registers:\n") != std::string::npos);
  CHECK(report.find("The translator's:\n") != std::string::npos);
  CHECK(report.find("rsi 0000000000001234") != std::string::npos);
  CHECK(report.find("out 0xe9, al\n") != std::string::npos);
}
