#include "mmu/soft_tlb.h"

#include <doctest/doctest.h>

#include <cstring>

using namespace callgate;

namespace {

constexpr u64 kAll = 7;
constexpr auto kUser = AccessContext::User;
constexpr auto kSupervisor = AccessContext::Supervisor;

/// Long mode; root at 0x1000, and one table a level up to 0x4000, whose entries map linear 0 to 2 MiB.
struct Fixture {
  Fixture() : memory(Ram::create(u64{16} << 20).value(), u64{3} << 30), tlb(memory), second(memory) {
    mode.paging = mode.pae = mode.long_mode = mode.nxe = mode.wp = true;
    mode.root = 0x1000;
    memory.bus_write(0x1000, 8, 0x2000 | kAll);
    memory.bus_write(0x2000, 8, 0x3000 | kAll);
    memory.bus_write(0x3000, 8, 0x4000 | kAll);
    for (u64 i = 0; i < 512; i++) map(i, 0x10'0000 + i * kPageSize);
    tlb.set_mode(mode);
    second.set_mode(mode);
  }
  void map(u64 page, u64 physical, u64 flags = kAll) { memory.bus_write(0x4000 + page * 8, 8, physical | flags); }
  bool reads(u64 linear) { return tlb.find_read(kUser, linear, 1) != nullptr; }
  bool writes(u64 linear) { return tlb.find_write(kUser, linear, 1) != nullptr; }
  bool executes(u64 linear) { return tlb.find_exec(kUser, linear, 1) != nullptr; }
  void fill(u64 linear, AccessKind kind = AccessKind::Read) { CHECK_FALSE(tlb.fill(kUser, linear, kind).fault); }

  PhysicalMap memory;
  SoftTlb tlb, second;
  PagingMode mode;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a filled page hits up to its last byte and not over it") {
  CHECK_FALSE(reads(0x5000));
  const Translation t = tlb.fill(kUser, 0x5678, AccessKind::Read);
  CHECK(t.host == memory.ram().data() + 0x10'5678);
  CHECK(t.physical == 0x10'5678);
  CHECK(tlb.find_read(kUser, 0x5678, 8) == t.host);
  CHECK(tlb.find_read(kUser, 0x5FF8, 8) != nullptr);
  CHECK(tlb.find_read(kUser, 0x5FF9, 8) == nullptr);
  CHECK(tlb.find_read(kUser, 0x5000, 4096) != nullptr);
  CHECK(tlb.find_read(kUser, 0x5001, 4096) == nullptr);
  CHECK(tlb.find_read(kSupervisor, 0x5678, 8) == nullptr);
}

TEST_CASE_FIXTURE(Fixture, "an address that is not canonical never hits, and neither does an empty slot") {
  fill(0x5000);
  fill(0);
  for (u64 high = 1; high <= 0xFFFF; high++) CHECK_FALSE(reads(high << 48 | 0x5000));
  SoftTlb empty(memory);
  for (u64 linear : {u64{0}, u64{0x1000}, u64{1} << 63, ~u64{0}, ~u64{0xFFF}, u64{0x5000}})
    CHECK(empty.find_read(kUser, linear, 1) == nullptr);
}

TEST_CASE_FIXTURE(Fixture, "a watched access never hits") {
  fill(0x5000, AccessKind::Write);
  CHECK(tlb.find_read(AccessContext::Watched, 0x5000, 1) == nullptr);
  CHECK(tlb.find_write(AccessContext::Watched, 0x5000, 1) == nullptr);
  CHECK(tlb.find_read(AccessContext::Watched, 0, 1) == nullptr);
}

TEST_CASE_FIXTURE(Fixture, "writing is allowed once the page is dirty, and not before") {
  fill(0x5000);
  CHECK(reads(0x5000));
  CHECK(executes(0x5000));
  CHECK_FALSE(writes(0x5000));
  fill(0x5000, AccessKind::Write);
  CHECK(writes(0x5000));
  // The guest clears D: the next write must set it again.
  map(5, 0x10'5000, kAll | 0x20);
  CHECK_FALSE(writes(0x5000));
}

TEST_CASE_FIXTURE(Fixture, "a changed entry is gone at once, on all processors, and its neighbours stay") {
  fill(0x5000);
  fill(0x6000);
  second.fill(kUser, 0x5000, AccessKind::Read);
  const u64 epoch = tlb.epoch();
  map(5, 0x20'0000);
  CHECK(tlb.epoch() != epoch);
  CHECK_FALSE(reads(0x5000));
  CHECK(reads(0x6000));
  CHECK(second.find_read(kUser, 0x5000, 1) == nullptr);
  CHECK(tlb.fill(kUser, 0x5000, AccessKind::Read).physical == 0x20'0000);
}

TEST_CASE_FIXTURE(Fixture, "entries that were not present, or that nobody used, cost nothing to write") {
  fill(0x5000);
  const auto before = tlb.stats();
  map(9, 0x30'0000);
  map(10, 0, 0);
  CHECK(tlb.stats().page_drops == before.page_drops);
  CHECK(tlb.stats().flushes == before.flushes);
  CHECK(reads(0x5000));
}

TEST_CASE_FIXTURE(Fixture, "an upper entry that goes takes only what came through it") {
  memory.bus_write(0x3008, 8, 0x5000 | kAll);
  memory.bus_write(0x5000, 8, 0x80'0000 | kAll);
  fill(0x5000);
  fill(0x20'0000);
  const auto before = tlb.stats();
  memory.bus_write(0x3000, 8, 0);
  CHECK_FALSE(reads(0x5000));
  CHECK(reads(0x20'0000));
  CHECK(tlb.stats().flushes == before.flushes);
  CHECK(tlb.stats().page_drops == before.page_drops + 1);
  memory.bus_write(0x1000, 8, 0);
  CHECK_FALSE(reads(0x20'0000));
}

TEST_CASE_FIXTURE(Fixture, "an upper entry that goes leaves pages elsewhere that may be read only") {
  memory.bus_write(0x1008, 8, 0x2000 | kAll);  // the same again, 512 GiB further up
  constexpr u64 kElsewhere = u64{1} << 39;
  for (u64 page = 5; page < 8; page++) map(page, 0x10'0000, 1 | 4 | u64{1} << 63);
  for (u64 page = 5; page < 8; page++) fill(kElsewhere | page << kPageShift);
  fill(0x9000);
  memory.bus_write(0x1000, 8, 0);
  CHECK_FALSE(reads(0x9000));
  for (u64 page = 5; page < 8; page++) CHECK(reads(kElsewhere | page << kPageShift));
}

TEST_CASE_FIXTURE(Fixture, "a change made through the TLB itself is seen as well") {
  map(7, 0x4000);  // the page table, mapped at 0x7000
  fill(0x5000);
  fill(0x7000, AccessKind::Write);
  CHECK_FALSE(writes(0x7000));
  const u64 entry = 0x30'0000 | kAll;
  CHECK(tlb.write(kUser, 0x7028, &entry, 8));
  CHECK_FALSE(reads(0x5000));
  CHECK(tlb.fill(kUser, 0x5000, AccessKind::Read).physical == 0x30'0000);
}

TEST_CASE_FIXTURE(Fixture, "a frame that becomes a table loses its direct writes") {
  fill(0x8000, AccessKind::Write);  // physical 0x10'8000
  CHECK(writes(0x8000));
  memory.bus_write(0x3008, 8, 0x10'8000 | kAll);
  memory.bus_write(0x10'8000, 8, 0x80'0000 | kAll);
  fill(0x20'0000);
  CHECK_FALSE(writes(0x8000));
  CHECK(reads(0x8000));
}

TEST_CASE_FIXTURE(Fixture, "a frame that becomes code loses its direct writes, however many mappings it has") {
  for (u64 mappings = 1; mappings <= 5; mappings++) {
    const u64 frame = 0x500 + mappings;
    for (u64 i = 0; i < mappings; i++) {
      map(20 + i, frame << kPageShift);
      fill((20 + i) << kPageShift, AccessKind::Write);
      CHECK(writes((20 + i) << kPageShift));
    }
    memory.mark_code(static_cast<u32>(frame));
    for (u64 i = 0; i < mappings; i++) {
      CHECK_FALSE(writes((20 + i) << kPageShift));
      fill((20 + i) << kPageShift, AccessKind::Write);
      CHECK_FALSE(writes((20 + i) << kPageShift));
      CHECK(tlb.fill(kUser, (20 + i) << kPageShift, AccessKind::Write).host == nullptr);
    }
    memory.release_code(static_cast<u32>(frame));
    fill(20 << kPageShift, AccessKind::Write);
    CHECK(writes(20 << kPageShift));
  }
}

TEST_CASE_FIXTURE(Fixture, "after a hash the first write to each page is noticed again") {
  fill(0x5000, AccessKind::Write);
  const u64 before = memory.hash();
  CHECK_FALSE(writes(0x5000));
  CHECK(reads(0x5000));
  fill(0x5000, AccessKind::Write);
  CHECK(writes(0x5000));
  *tlb.find_write(kUser, 0x5000, 1) = 1;
  CHECK(memory.hash() != before);
}

TEST_CASE_FIXTURE(Fixture, "a table that is overwritten like plain memory becomes plain memory") {
  fill(0x5000);
  CHECK((memory.ram().flags(4) & kFrameTable) != 0);
  for (u64 i = 0; i < 200; i++) memory.bus_write(0x4800 + i * 8, 8, i);
  CHECK((memory.ram().flags(4) & kFrameTable) == 0);
  CHECK_FALSE(reads(0x5000));
  fill(0x5000);
  CHECK((memory.ram().flags(4) & kFrameTable) != 0);
}

TEST_CASE_FIXTURE(Fixture, "address spaces stay warm over a switch, the least used one makes room") {
  fill(0x5000);
  PagingMode other = mode;
  for (u64 i = 1; i <= 7; i++) {
    other.root = 0x1000 * (i + 16);
    tlb.set_mode(other);
    CHECK_FALSE(reads(0x5000));
  }
  tlb.set_mode(mode);
  CHECK(reads(0x5000));
  CHECK(tlb.stats().spaces_recycled == 1);  // the first one, without paging
  for (u64 i = 1; i <= 8; i++) {
    other.root = 0x1000 * (i + 32);
    tlb.set_mode(other);
  }
  tlb.set_mode(mode);
  CHECK_FALSE(reads(0x5000));
}

TEST_CASE_FIXTURE(Fixture, "a change is seen in the address spaces that are not current") {
  fill(0x5000);
  PagingMode other = mode;
  other.root = 0x9000;
  tlb.set_mode(other);
  map(5, 0x20'0000);
  tlb.set_mode(mode);
  CHECK_FALSE(reads(0x5000));
}

namespace {
/// Three processes with the same upper half, whose pages only supervisors may touch: what the root's last entry maps.
struct Processes : Fixture {
  static constexpr u64 kKernel = ~u64{0} << 39, kRoots[] = {0x1000, 0x8000, 0x9000};
  Processes() {
    for (const u64 root : kRoots) memory.bus_write(root + 511 * 8, 8, 0x5000 | 0x23);
    memory.bus_write(0x5000, 8, 0x6000 | 3);
    memory.bus_write(0x6000, 8, 0x7000 | 3);
    for (u64 i = 0; i < 512; i++) memory.bus_write(0x7000 + i * 8, 8, (0x80'0000 + i * kPageSize) | 3);
    memory.bus_write(0x8000, 8, 0x2000 | kAll);
    go_to(0);
  }
  void go_to(unsigned process) {
    mode.root = kRoots[process];
    tlb.set_mode(mode);
  }
  bool knows(u64 page) { return tlb.find_read(kSupervisor, kKernel + page * kPageSize, 1) != nullptr; }
  void touch(u64 page) { CHECK_FALSE(tlb.fill(kSupervisor, kKernel + page * kPageSize, AccessKind::Read).fault); }
};
}  // namespace

TEST_CASE_FIXTURE(Processes, "processes share what is known of their kernel") {
  touch(1);
  go_to(1);
  CHECK(knows(1));
  touch(2);
  memory.bus_write(0x7000 + 8, 8, 0);
  CHECK_FALSE(knows(1));
  go_to(0);
  CHECK(knows(2));
  CHECK_FALSE(knows(1));
}
TEST_CASE_FIXTURE(Processes, "a change of one process's root is seen there, and only there") {
  touch(1);
  go_to(1);
  memory.bus_write(kRoots[1] + 511 * 8, 8, 0);  // no walk has come through it
  CHECK_FALSE(knows(1));
  memory.bus_write(kRoots[1] + 511 * 8, 8, 0x5000 | 0x23);
  go_to(0);
  touch(1);
  go_to(2);
  CHECK(knows(1));
  memory.bus_write(kRoots[0] + 511 * 8, 8, 0);
  CHECK(knows(1));
  go_to(0);
  CHECK_FALSE(knows(1));
}
TEST_CASE_FIXTURE(Processes, "a root whose entry has another value, or no accessed flag, or other rules, shares nothing") {
  touch(1);
  memory.bus_write(kRoots[1] + 511 * 8, 8, 0x5000 | 3);
  memory.bus_write(kRoots[2] + 511 * 8, 8, 0x5000 | 0x21);
  for (const unsigned process : {1, 2}) {
    go_to(process);
    CHECK_FALSE(knows(1));
  }
  mode.wp = false;
  go_to(0);
  CHECK_FALSE(knows(1));
}
TEST_CASE_FIXTURE(Processes, "what a supervisor knows of the lower half is its process's own") {
  touch(1);
  tlb.fill(kSupervisor, 0x5000, AccessKind::Read);
  go_to(2);  // no lower half at all
  CHECK(tlb.find_read(kSupervisor, 0x5000, 1) == nullptr);
  CHECK_FALSE(knows(1));
  go_to(0);
  CHECK(tlb.find_read(kSupervisor, 0x5000, 1) != nullptr);
  CHECK(knows(1));
}

TEST_CASE_FIXTURE(Fixture, "with SMAP, AC opens user pages to the supervisor; without it both see the same") {
  tlb.fill(kSupervisor, 0x5000, AccessKind::Read);
  CHECK(tlb.find_read(AccessContext::SupervisorAc, 0x5000, 1) != nullptr);
  mode.smap = true;
  tlb.set_mode(mode);
  CHECK(tlb.fill(kSupervisor, 0x5000, AccessKind::Read).fault);
  CHECK_FALSE(tlb.fill(AccessContext::SupervisorAc, 0x5000, AccessKind::Read).fault);
  CHECK(tlb.find_read(AccessContext::SupervisorAc, 0x5000, 1) != nullptr);
  CHECK(tlb.find_read(kSupervisor, 0x5000, 1) == nullptr);
}

TEST_CASE_FIXTURE(Fixture, "a store over two pages writes nothing unless both can be written") {
  map(6, 0x10'6000, 1);
  const u8 data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  CHECK_FALSE(tlb.write(kUser, 0x5FFC, data, 8));
  CHECK(tlb.fault().linear == 0x6000);
  CHECK(tlb.fault().error_code == (kPageFaultPresent | kPageFaultUser | kPageFaultWrite));
  CHECK(memory.bus_read(0x10'5FFC, 4) == 0);
  map(6, 0x20'0000);
  CHECK(tlb.write(kUser, 0x5FFC, data, 8));
  CHECK(memory.bus_read(0x10'5FFC, 4) == 0x04030201);
  CHECK(memory.bus_read(0x20'0000, 4) == 0x08070605);
  u8 back[8];
  CHECK(tlb.read(kUser, 0x5FFC, back, 8));
  CHECK(std::memcmp(back, data, 8) == 0);
}

TEST_CASE("an access over the top of 4 GiB wraps where the caller says so") {
  PhysicalMap memory(Ram::create(u64{16} << 20).value(), u64{3} << 30);
  SoftTlb tlb(memory);
  const u32 value = 0x44332211;
  CHECK(tlb.write(kSupervisor, 0xFFFF'FFFE, &value, 4, 0xFFFF'FFFF));
  CHECK(memory.bus_read(0, 2) == 0x4433);
}

TEST_CASE_FIXTURE(Fixture, "ROM may be read directly but not written, registers never") {
  const std::vector<u8> image(4096, 0x42);
  memory.map_rom(0xF000'0000, image);
  map(5, 0xF000'0000);
  map(6, 0xFE00'0000);
  CHECK(*tlb.fill(kUser, 0x5000, AccessKind::Read).host == 0x42);
  CHECK(reads(0x5000));
  CHECK(tlb.fill(kUser, 0x5000, AccessKind::Write).host == nullptr);
  CHECK_FALSE(writes(0x5000));
  CHECK(tlb.fill(kUser, 0x6008, AccessKind::Read).host == nullptr);
  CHECK(tlb.fill(kUser, 0x6008, AccessKind::Read).physical == 0xFE00'0008);
  CHECK_FALSE(reads(0x6000));
}

TEST_CASE_FIXTURE(Fixture, "registers are walked for once, until their entry or the mode changes") {
  const auto physical = [&](AccessKind kind) { return tlb.fill(kUser, 0x6008, kind).physical; };
  const auto flags = [&] { return memory.bus_read(0x4000 + 6 * 8, 8) & 0x60; };
  map(6, 0xFE00'0000);
  CHECK(physical(AccessKind::Read) == 0xFE00'0008);
  CHECK(flags() == 0x20);
  // A store sets the dirty flag, whatever a load found.
  CHECK(physical(AccessKind::Write) == 0xFE00'0008);
  CHECK(flags() == 0x60);
  const u64 walks = tlb.stats().fills;
  for (int n = 0; n < 10; n++) {
    CHECK(physical(AccessKind::Read) == 0xFE00'0008);
    CHECK(physical(AccessKind::Write) == 0xFE00'0008);
  }
  CHECK(tlb.stats().fills == walks);

  map(6, 0xFD00'0000);
  CHECK(physical(AccessKind::Read) == 0xFD00'0008);
  CHECK(flags() == 0x20);
  CHECK(physical(AccessKind::Write) == 0xFD00'0008);
  CHECK(flags() == 0x60);
  map(6, 0xFD00'0000, 5);
  CHECK_FALSE(tlb.fill(kUser, 0x6008, AccessKind::Read).fault);
  CHECK(tlb.fill(kUser, 0x6008, AccessKind::Write).fault);
  // An upper entry that goes; another context; another mode.
  memory.bus_write(0x3000, 8, 0x4000 | 3);
  CHECK(tlb.fill(kUser, 0x6008, AccessKind::Read).fault);
  CHECK_FALSE(tlb.fill(kSupervisor, 0x6008, AccessKind::Read).fault);
  CHECK(tlb.fill(kUser, 0x6008, AccessKind::Read).fault);
  CHECK(tlb.fill(kSupervisor, 0x6008, AccessKind::Write).fault);
  mode.wp = false;
  tlb.set_mode(mode);
  CHECK_FALSE(tlb.fill(kSupervisor, 0x6008, AccessKind::Write).fault);
  mode.wp = true;
  tlb.set_mode(mode);
  CHECK(tlb.fill(kSupervisor, 0x6008, AccessKind::Write).fault);
  // Registers that go, and RAM is what is there.
  map(6, 0x10'6000);
  CHECK(tlb.fill(kSupervisor, 0x6008, AccessKind::Read).host != nullptr);
  const RegionId id = memory.map_mmio(0x10'6000, 0x1000, nullptr);
  CHECK(tlb.fill(kSupervisor, 0x6008, AccessKind::Read).host == nullptr);
  memory.move(id, 0xFE00'0000);
  CHECK(tlb.fill(kSupervisor, 0x6008, AccessKind::Read).host != nullptr);
}

TEST_CASE_FIXTURE(Fixture, "a processor's own page covers RAM for it alone") {
  struct Apic final : BusTarget {
    u64 read(u64 offset, unsigned) override { return offset; }
    void write(u64 offset, unsigned, u64) override { written = offset; }
    u64 written = 0;
  } apic;
  fill(0x5000);
  tlb.set_local_page(0x10'5000, &apic);
  CHECK_FALSE(reads(0x5000));
  CHECK(tlb.fill(kUser, 0x5020, AccessKind::Read).host == nullptr);
  u32 value = 0;
  CHECK(tlb.read(kUser, 0x5020, &value, 4));
  CHECK(value == 0x20);
  CHECK(tlb.write(kUser, 0x50B0, &value, 4));
  CHECK(apic.written == 0xB0);
  CHECK(second.read(kUser, 0x5020, &value, 4));
  CHECK(value == 0);
}

TEST_CASE_FIXTURE(Fixture, "the A20 gate and a new memory map start all translations afresh") {
  fill(0x5000);
  memory.set_a20(false);
  CHECK_FALSE(reads(0x5000));
  CHECK(tlb.fill(kUser, 0x5000, AccessKind::Read).physical == 0x5000);
  memory.map_mmio(0x5000, 0x1000, nullptr);
  CHECK_FALSE(reads(0x5000));
}
