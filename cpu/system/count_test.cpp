// The count of retired instructions is the machine's clock: it must be exact wherever something can look at it.
#include <doctest/doctest.h>

#include <vector>

#include "cpu/system/test_machine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

/// Registers at 3 GiB that note the count at each access.
struct CountingDevice final : BusTarget {
  explicit CountingDevice(const Cpu& cpu) : c(cpu) {}
  u64 read(u64, unsigned) override { return counts.push_back(c.s.retired), 0x5A; }
  void write(u64, unsigned, u64) override { counts.push_back(c.s.retired); }
  const Cpu& c;
  std::vector<u64> counts;
};
constexpr u64 kDevice = 0xC0000000;

}  // namespace

TEST_CASE("the count is exact when an instruction in the middle of a block reads or writes a device") {
  M m;
  m.protected32(0);
  CountingDevice device(m.cpu);
  m.ram_map.map_mmio(kDevice, 0x1000, &device);
  m.cpu.s.gpr[RBX] = kDevice;
  m.code({0x90, 0x8B, 0x03, 0x90, 0x90, 0x89, 0x03, 0xFF, 0x03, 0xF4});  // nop, load, nop, nop, store, inc [ebx]
  m.run(6);
  CHECK(device.counts == std::vector<u64>{1, 4, 5, 5});
  CHECK(m.cpu.s.retired == 6);
}

TEST_CASE("the count is exact at a port access, and a program's RDTSC sees the instructions before it") {
  M m;
  m.protected32(0);
  struct Board : test::TestBoard {
    u32 io_read(u16, unsigned) override { return static_cast<u32>(cpu->s.retired); }
    const Cpu* cpu = nullptr;
  } board;
  Cpu cpu(0, m.ram_map, board, m.log, m.model);
  board.cpu = &cpu;
  cpu.s = m.cpu.s;
  cpu.refresh();
  m.code({0x90, 0x90, 0xED, 0x90, 0xED});  // nop; nop; in eax, dx; nop; in eax, dx
  m.execute(cpu, 3);
  CHECK(cpu.s.gpr[RAX] == 2);
  m.execute(cpu, 5);
  CHECK(cpu.s.gpr[RAX] == 4);
}

TEST_CASE("a faulting instruction is not counted, the first of its handler is") {
  M m;
  m.protected32(0);
  m.code({0x90, 0x90, 0x0F, 0x0B});
  m.run(2);
  CHECK(m.cpu.s.retired == 2);
  m.run(1);
  CHECK(m.handling() == 6);
  CHECK(m.cpu.s.retired == 3);
  CHECK(m.cpu.recent_faults()[0].retired == 2);
}

TEST_CASE("a software interrupt counts as one instruction, an external one as none") {
  M m;
  m.protected32(0);
  m.run({0xCD, 0x40});
  CHECK(m.cpu.s.retired == 1);
  m.protected32(0);
  m.cpu.s.flags.assign(kIF, true);
  m.platform.interrupt = true;
  const u64 before = m.cpu.s.retired;
  m.run(1);  // the handler's first instruction
  CHECK(m.handling() == 0x30);
  CHECK(m.cpu.s.retired == before + 1);
}

TEST_CASE("an interrupt that waits behind STI or MOV SS comes at the same count however the run is cut") {
  for (const bool at_once : {true, false}) {
    M m;
    m.protected32(0);
    m.platform.interrupt = true;
    m.cpu.s.gpr[RAX] = M::kData0;
    m.code({0x90, 0xFB, 0x8E, 0xD0, 0x90, 0x90, 0x90});  // nop; sti; mov ss, eax; nop; nop
    if (at_once) m.run(5);
    else for (unsigned n = 0; n < 5; n++) m.run(1);
    CHECK(m.handling() == 0x30);
    CHECK(m.stack(0, 4) == M::kCode + 5);
    CHECK(m.cpu.s.retired == 5);
  }
}

TEST_CASE("a REP counts one a step, the same whether it is run at once or step by step") {
  u64 counts[2], left[2];
  for (const bool at_once : {true, false}) {
    M m;
    m.protected32(0);
    m.cpu.s.gpr[RCX] = 0x3000;
    m.cpu.s.gpr[RDI] = 0x40800;
    m.code({0xF3, 0xAA, 0xF4});  // rep stosb over four pages; hlt
    if (at_once) m.run(100);
    else while (m.cpu.s.activity == Activity::Running) m.run(1);
    counts[at_once] = m.cpu.s.retired;
    left[at_once] = m.cpu.s.gpr[RCX];
  }
  CHECK(counts[0] == 5);
  CHECK(counts[1] == 5);
  CHECK(left[0] == 0);
  CHECK(left[1] == 0);
}
