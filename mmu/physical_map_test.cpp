#include "mmu/physical_map.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/bits.h"
#include "base/state_io.h"

using namespace callgate;

namespace {

/// Remembers every access; reads give the low byte of each byte's offset.
struct Registers final : BusTarget {
  struct Access {
    bool write;
    u64 offset;
    unsigned size;
    u64 value;
    bool operator==(const Access&) const = default;
  };
  u64 read(u64 offset, unsigned size) override {
    seen.push_back({false, offset, size, 0});
    u64 value = 0;
    for (unsigned i = 0; i < size; i++) value |= ((offset + i) & 0xFF) << (8 * i);
    return value;
  }
  void write(u64 offset, unsigned size, u64 value) override { seen.push_back({true, offset, size, value}); }
  std::vector<Access> take() { return std::exchange(seen, {}); }
  std::vector<Access> seen;
};

struct Listener final : CodeListener {
  bool has_code(u32) const override { return false; }
  void code_written(u64 physical, u32 size) override { written.push_back({physical, size}); }
  void code_dropped() override { dropped++; }
  std::vector<std::pair<u64, u32>> written;
  int dropped = 0;
};

struct Fixture {
  Fixture() : memory(Ram::create(u64{8} << 20).value(), u64{4} << 20) {}
  PhysicalMap memory;
  Registers registers;
};

}  // namespace

TEST_CASE("RAM sizes that make no sense are refused with a sentence") {
  for (const u64 size : {u64{0}, u64{4095}, u64{4097}, u64{1} << 50}) {
    auto ram = Ram::create(size);
    REQUIRE_FALSE(ram.has_value());
    CHECK(ram.error().kind == ErrorKind::BadArgument);
  }
}

TEST_CASE_FIXTURE(Fixture, "RAM lies below the hole and goes on at 4 GiB") {
  memory.bus_write(0x3F'FFF8, 8, 0x1122334455667788);
  memory.bus_write(0x1'0000'0000, 8, 0xAABBCCDD);
  CHECK(memory.bus_read(0x3F'FFF8, 8) == 0x1122334455667788);
  CHECK(memory.bus_read(0x1'0000'0000, 4) == 0xAABBCCDD);
  CHECK(load_as<u32>(memory.ram().data() + 0x40'0000) == 0xAABBCCDD);
  CHECK(memory.page(0x1'0000'0123).frame == 0x400);
  CHECK(memory.physical_of(0x400) == 0x1'0000'0000);
  CHECK(memory.physical_of(0x3FF) == 0x3F'F000);
  CHECK(memory.ram().frame_of(memory.page(0x1'0000'0000).host + 5) == 0x400);
}

TEST_CASE_FIXTURE(Fixture, "where nothing is, reads give ones and writes vanish, to the end of the space and past it") {
  for (const u64 at :
       {u64{0x40'0000}, u64{0xFEC0'0000}, u64{0x1'0040'0000}, (u64{1} << 40) - 4, u64{1} << 40, ~u64{0} - 7}) {
    memory.bus_write(at, 8, 0);
    CHECK(memory.bus_read(at, 8) == ~u64{0});
    CHECK(memory.page(at).host == nullptr);
  }
  // An access over the end of RAM gets both.
  memory.bus_write(0x3F'FFFC, 8, 0);
  CHECK(memory.bus_read(0x3F'FFFC, 8) == 0xFFFFFFFF'00000000);
}

TEST_CASE_FIXTURE(Fixture, "registers get offsets, and odd accesses in naturally aligned pieces, in order") {
  using A = Registers::Access;
  memory.map_mmio(0xFED0'0000, 0x400, &registers);
  CHECK(memory.bus_read(0xFED0'0010, 4) == 0x13121110);
  CHECK(registers.take() == std::vector<A>{{false, 0x10, 4, 0}});
  CHECK(memory.bus_read(0xFED0'0011, 4) == 0x14131211);
  CHECK(registers.take() == std::vector<A>{{false, 0x11, 1, 0}, {false, 0x12, 2, 0}, {false, 0x14, 1, 0}});
  memory.bus_write(0xFED0'0006, 8, 0x8877665544332211);
  CHECK(registers.take() == std::vector<A>{{true, 6, 2, 0x2211}, {true, 8, 4, 0x66554433}, {true, 12, 2, 0x8877}});
  CHECK(memory.bus_read(0xFED0'0003, 3) == 0x050403);
  CHECK(registers.take() == std::vector<A>{{false, 3, 1, 0}, {false, 4, 2, 0}});
  u8 wide[16];
  memory.bus_read(0xFED0'0020, wide);
  CHECK(registers.take() == std::vector<A>{{false, 0x20, 8, 0}, {false, 0x28, 8, 0}});
  // Over the region's end: the rest is ones.
  CHECK(memory.bus_read(0xFED0'03FC, 8) == 0xFFFFFFFF'FFFEFDFC);
  CHECK(registers.take() == std::vector<A>{{false, 0x3FC, 4, 0}});
}

TEST_CASE_FIXTURE(Fixture, "DMA reaches RAM and ROM but never registers") {
  memory.map_mmio(0x2000, 0x1000, &registers);
  const std::vector<u8> data(0x3000, 0x5A);
  memory.write(0x1000, data);
  std::vector<u8> back(0x3000);
  memory.read(0x1000, back);
  CHECK(registers.seen.empty());
  CHECK(back[0xFFF] == 0x5A);
  CHECK(back[0x1000] == 0xFF);
  CHECK(back[0x1FFF] == 0xFF);
  CHECK(back[0x2000] == 0x5A);
  memory.set_a20(false);  // the gate is the processor's
  const u8 byte = 7;
  memory.write(0x10'0000, {&byte, 1});
  CHECK(memory.ram().data()[0x10'0000] == 7);
}

TEST_CASE_FIXTURE(Fixture, "ROM reads as its contents, padded with ones, and ignores writes") {
  const std::vector<u8> image(5000, 0x42);
  memory.map_rom(0xF'0000, image);
  memory.bus_write(0xF'0000, 8, 0);
  CHECK(memory.bus_read(0xF'0000, 4) == 0x42424242);
  CHECK(memory.bus_read(0xF'0000 + 5000, 1) == 0xFF);
  CHECK(memory.bus_read(0xF'2000, 1) == 0);
  CHECK(memory.page(0xF'1000).host != nullptr);
  CHECK(memory.page(0xF'1000).frame == kNoFrame);
  CHECK(memory.page_for_writing(0xF'1000) == nullptr);
}

TEST_CASE_FIXTURE(Fixture,
                  "a window never hides RAM, a fixed region does, and neither depends on the order of mapping") {
  Registers window, low, high;
  const RegionId bar = memory.map_mmio(0x10'0000, 0x1000, &window, RegionLayer::Window);
  CHECK(memory.page(0x10'0000).frame == 0x100);
  memory.move(bar, 0xE000'0000);
  CHECK(memory.bus_read(0xE000'0004, 1) == 4);
  memory.map_mmio(0xE000'0800, 0x1000, &high, RegionLayer::Window);
  memory.bus_read(0xE000'0FFF, 1);
  CHECK(high.seen.empty());
  memory.bus_read(0xE000'1000, 1);
  CHECK(high.take() == std::vector<Registers::Access>{{false, 0x800, 1, 0}});
  memory.map_mmio(0xDFFF'F000, 0x1010, &low, RegionLayer::Window);
  memory.bus_read(0xE000'0000, 1);
  CHECK(low.take() == std::vector<Registers::Access>{{false, 0x1000, 1, 0}});
  const RegionId hole = memory.map_mmio(0xA'0000, 0x2'0000, nullptr);
  CHECK(memory.bus_read(0xA'0000, 2) == 0xFFFF);
  CHECK(memory.page(0x9'F000).frame == 0x9F);
  CHECK(memory.page(0xC'0000).frame == 0xC0);
  memory.unmap(hole);
  CHECK(memory.bus_read(0xA'0000, 2) == 0);
  memory.move(bar, ~u64{0} - 0x1000);  // out of the space: nowhere
  memory.move(bar, (u64{1} << 40) - 0x800);
  CHECK(memory.bus_read((u64{1} << 40) - 0x800, 1) == 0);
}

TEST_CASE_FIXTURE(Fixture, "a page of RAM with registers over a part of it goes slow but keeps both") {
  memory.map_mmio(0x5100, 0x10, &registers);
  CHECK(memory.page(0x5000).host == nullptr);
  memory.bus_write(0x50FC, 8, 0x1111111122222222);
  CHECK(memory.bus_read(0x50FC, 4) == 0x22222222);
  CHECK(registers.take() == std::vector<Registers::Access>{{true, 0, 4, 0x11111111}});
}

TEST_CASE_FIXTURE(Fixture, "code listeners hear of every write to frames of code, frame by frame") {
  Listener listener;
  memory.add_code_listener(&listener);
  memory.mark_code(5);
  memory.bus_write(0x4FFE, 4, 0);
  memory.bus_write(0x6000, 4, 0);
  CHECK(listener.written == std::vector<std::pair<u64, u32>>{{0x5000, 2}});
  CHECK(memory.page_for_writing(0x5000) == nullptr);
  const std::vector<u8> data(0x2100);
  memory.mark_code(0x400);  // the first frame at 4 GiB
  memory.write(0x4F00, data);
  memory.write(0x1'0000'0010, {data.data(), 3});
  CHECK(listener.written == std::vector<std::pair<u64, u32>>{{0x5000, 2}, {0x5000, 0x1000}, {0x1'0000'0010, 3}});
  memory.release_code(5);
  memory.bus_write(0x5000, 4, 0);
  CHECK(listener.written.size() == 3);
  memory.map_mmio(0xE000'0000, 4, nullptr);
  CHECK(listener.dropped == 1);
  memory.remove_code_listener(&listener);
}

TEST_CASE_FIXTURE(Fixture, "the hash depends on the contents alone") {
  const u64 zero = memory.hash();
  memory.bus_write(0x1000, 8, 1);
  const u64 one = memory.hash();
  CHECK(one != zero);
  memory.bus_write(0x1'0000'0000, 8, 1);
  const u64 two = memory.hash();
  CHECK(two != one);
  memory.bus_write(0x1'0000'0000, 8, 0);
  CHECK(memory.hash() == one);
  memory.bus_write(0x1000, 8, 0);
  memory.bus_write(0x2000, 8, 1);
  CHECK(memory.hash() != one);  // the same words elsewhere
  memory.bus_write(0x2000, 8, 0);
  CHECK(memory.hash() == zero);
  CHECK(memory.ram().dirty().empty());
  // What page_for_writing gave away counts as written.
  memory.page_for_writing(0x3000)[7] = 9;
  const u64 three = memory.hash();
  CHECK(three != zero);
  PhysicalMap other(Ram::create(u64{8} << 20).value(), u64{4} << 20);
  other.bus_write(0x3007, 1, 9);
  CHECK(other.hash() == three);
}

TEST_CASE_FIXTURE(Fixture, "memory comes back as it was saved, and its hash with it") {
  memory.bus_write(0x1234, 8, 0x1122334455667788);
  memory.bus_write(0x1'003F'FFF8, 8, 42);
  memory.set_a20(false);
  StateWriter writer;
  memory.sync(writer);
  const auto saved = writer.take();
  CHECK(saved.size() < 3 * kPageSize);  // zeros cost nothing

  Listener listener;
  PhysicalMap other(Ram::create(u64{8} << 20).value(), u64{4} << 20);
  other.add_code_listener(&listener);
  other.bus_write(0x7000, 8, 99);
  other.hash();
  StateReader reader(saved);
  other.sync(reader);
  CHECK(reader.good());
  CHECK(reader.at_end());
  CHECK(listener.dropped == 1);
  CHECK_FALSE(other.a20());
  CHECK(other.bus_read(0x7000, 8) == 0);
  CHECK(other.bus_read(0x1234, 8) == 0x1122334455667788);
  CHECK(other.hash() == memory.hash());
  StateHasher a, b;
  memory.sync(a);
  other.sync(b);
  CHECK(a.digest() == b.digest());
}

TEST_CASE_FIXTURE(Fixture, "damaged memory states are reported and never write outside of RAM") {
  for (u32 frame = 0; frame < 3; frame++) memory.bus_write(frame * kPageSize, 1, 1);
  StateWriter writer;
  memory.sync(writer);
  const auto saved = writer.take();
  for (std::size_t n = 0; n < saved.size(); n += 97) {
    StateReader reader(std::span<const u8>(saved).first(n));
    memory.sync(reader);
    CHECK_FALSE(reader.good());
  }
  for (const u32 bad : {u32{0x800}, ~u32{1}, u32{0}}) {  // out of range twice, and out of order
    auto broken = saved;
    store_as<u32>(&broken[8 + 8 + 1 + 4 + kPageSize], bad);
    StateReader reader(broken);
    memory.sync(reader);
    CHECK(reader.error() == "a frame of the saved memory is out of range or order");
  }
  PhysicalMap smaller(Ram::create(u64{4} << 20).value(), u64{4} << 20);
  StateReader reader(saved);
  smaller.sync(reader);
  CHECK(reader.error() == "the saved memory has another size");
}
