// PCI configuration, BARs, interrupts. Truth: PCI Local Bus Specification 3.0; PIIX3 datasheet.
#include <doctest/doctest.h>

#include <deque>
#include <map>

#include "base/bits.h"
#include "devices/pci_chipset.h"
#include "devices/reset_control.h"
#include "devices/test_support.h"

using namespace callgate;
using namespace callgate::test;

namespace {

struct Registers final : BusTarget {
  u64 read(u64, unsigned) override { return 0; }
  void write(u64, unsigned, u64) override {}
};

struct Decoder final : PciDecoder {
  void map(PciSpace space, u64 first, u64 size, BusTarget& target) override {
    CHECK(ranges.emplace(std::pair(space, first), std::pair(size, &target)).second);
  }
  void unmap(PciSpace space, u64 first, u64 size, BusTarget& target) override {
    const auto it = ranges.find({space, first});
    REQUIRE(it != ranges.end());
    CHECK(it->second == std::pair(size, &target));
    ranges.erase(it);
  }
  std::map<std::pair<PciSpace, u64>, std::pair<u64, BusTarget*>> ranges;
};

struct Card final : PciDevice {
  Card() : PciDevice({.vendor = 0x1AF4, .device = 0x1041, .revision = 1, .class_code = 0x020000, .interrupt_pin = 1}) {
    add_bar(0, PciSpace::Io, 0x40, ports);
    add_bar(1, PciSpace::Memory, 0x1000, memory);
    add_bar(4, PciSpace::Memory, 0x4000, wide, true, true);
    const u8 body[] = {0x12, 0x34, 0x56}, writable[] = {0x00, 0xF0, 0xFF};
    first_capability = add_capability(0x09, body, writable);
    second_capability = add_capability(0x11, body, writable);
  }
  using PciDevice::set_intx;
  void sync(StateIo& io) { sync_config(io); }
  Registers ports, memory, wide;
  u8 first_capability, second_capability;
};

struct Board {
  Board() {
    bus.attach(0, 0, host);
    bus.attach(1, 0, isa);
    bus.attach(3, 0, card);
  }
  static std::array<IrqLine*, 16> pic_lines(std::array<RecordingLine, 16>& lines) {
    std::array<IrqLine*, 16> out{};
    for (unsigned i = 0; i < 16; ++i) out[i] = &lines[i];
    return out;
  }
  u32 read(unsigned device, unsigned reg, unsigned size = 4) {
    bus.write(0, 4, 0x80000000 | device << 11 | (reg & 0xFC));
    return static_cast<u32>(bus.read(4 + (reg & 3), size));
  }
  void write(unsigned device, unsigned reg, unsigned size, u32 value) {
    bus.write(0, 4, 0x80000000 | device << 11 | (reg & 0xFC));
    bus.write(4 + (reg & 3), size, value);
  }
  std::array<RecordingLine, 4> gsi;
  std::array<RecordingLine, 16> pic;
  FakePower power;
  ResetControl reset{power};
  Decoder decoder;
  Log log;
  PciHostBridge host;
  PciIsaBridge isa{{&gsi[0], &gsi[1], &gsi[2], &gsi[3]}, pic_lines(pic)};
  PciBus bus{decoder, isa.pirqs(), reset, log};
  Card card;
};

}  // namespace

TEST_CASE("functions are found by their ids, absent ones read as ones") {
  Board b;
  CHECK(b.read(0, 0) == 0x12378086);
  CHECK(b.read(1, 0) == 0x70008086);
  CHECK(b.read(1, 0x0B, 1) == 0x06);
  CHECK(b.read(1, 0x0A, 1) == 0x01);
  CHECK((b.read(1, 0x0E, 1) & 0x80) == 0x80);
  CHECK(b.read(3, 0) == 0x10411AF4);
  CHECK(b.read(3, 2, 2) == 0x1041);
  CHECK(b.read(3, 3, 1) == 0x10);
  CHECK(b.read(2, 0) == 0xFFFFFFFF);
  CHECK(b.read(2, 0, 2) == 0xFFFF);
  b.bus.write(0, 4, 0x80010000);  // bus 1
  CHECK(b.bus.read(4, 4) == 0xFFFFFFFF);
  b.bus.write(0, 4, 0x00000000);  // not enabled
  CHECK(b.bus.read(4, 4) == 0xFFFFFFFF);
}

TEST_CASE("CONFIG_ADDRESS takes double words only, and 0xCF9 inside it is the reset register") {
  Board b;
  b.bus.write(0, 4, 0x80001804);
  b.bus.write(0, 2, 0);
  b.bus.write(1, 1, 0x02);
  CHECK(b.bus.read(0, 4) == 0x80001804);
  CHECK(b.bus.read(0, 2) == 0xFFFF);
  CHECK(b.bus.read(1, 1) == 0x02);
  b.bus.write(1, 1, 0x06);
  CHECK(b.power.requests.size() == 1);
  b.bus.write(0, 4, 0xFFFFFFFF);
  CHECK(b.bus.read(0, 4) == 0x80FFFFFC);
}

TEST_CASE("a BAR tells its size and type when ones are written") {
  Board b;
  for (unsigned reg = 0x10; reg < 0x28; reg += 4) b.write(3, reg, 4, 0xFFFFFFFF);
  CHECK(b.read(3, 0x10) == 0x0000FFC1);
  CHECK(b.read(3, 0x14) == 0xFFFFF000);
  CHECK(b.read(3, 0x18) == 0);
  CHECK(b.read(3, 0x20) == 0xFFFFC00C);
  CHECK(b.read(3, 0x24) == 0xFFFFFFFF);
  CHECK(b.decoder.ranges.empty());
}

TEST_CASE("a BAR is decoded while its space is enabled, and moves with its register") {
  Board b;
  b.write(3, 0x10, 4, 0xC040);
  b.write(3, 0x14, 4, 0xE0001000);
  b.write(3, 0x20, 4, 0x00008000);
  b.write(3, 0x24, 4, 0x00000080);
  CHECK(b.decoder.ranges.empty());
  b.write(3, 0x04, 2, 0x0003);
  CHECK(b.decoder.ranges.size() == 3);
  CHECK(b.decoder.ranges.at({PciSpace::Io, 0xC040}) == std::pair<u64, BusTarget*>(0x40, &b.card.ports));
  CHECK(b.decoder.ranges.count({PciSpace::Memory, 0xE0001000}));
  CHECK(b.decoder.ranges.count({PciSpace::Memory, 0x8000008000}));
  b.write(3, 0x14, 4, 0xFFFFFFFF);  // sizing with decoding on
  CHECK(b.decoder.ranges.size() == 2);
  b.write(3, 0x14, 4, 0xE0002000);
  CHECK(b.decoder.ranges.count({PciSpace::Memory, 0xE0002000}));
  b.write(3, 0x04, 2, 0x0001);
  CHECK(b.decoder.ranges.size() == 1);
  b.bus.reset();
  CHECK(b.decoder.ranges.empty());
}

TEST_CASE("read-only registers keep their value, status errors clear by one, capabilities are linked") {
  Board b;
  b.write(3, 0x00, 4, 0);
  b.write(3, 0x08, 4, 0);
  CHECK(b.read(3, 0x00) == 0x10411AF4);
  CHECK(b.read(3, 0x08) == 0x02000001);
  CHECK((b.read(3, 0x06, 2) & 0x10) == 0x10);
  CHECK(b.read(3, 0x34, 1) == b.card.first_capability);
  CHECK(b.read(3, b.card.first_capability, 1) == 0x09);
  CHECK(b.read(3, b.card.first_capability + 1u, 1) == b.card.second_capability);
  CHECK(b.card.second_capability % 4 == 0);
  CHECK(b.read(3, b.card.second_capability + 1u, 1) == 0);
  b.write(3, b.card.first_capability, 4, 0xFFFFFFFF);
  CHECK(b.read(3, b.card.first_capability + 2u, 1) == 0x12);
  CHECK(b.read(3, b.card.first_capability + 3u, 1) == 0xF4);
  b.write(3, 0x04, 2, 0xFFFF);
  CHECK(b.read(3, 0x04, 2) == 0x0547);
}

TEST_CASE("INTx reaches its PIRQ, and the 8259 input that the route register names") {
  Board b;
  // Device 3, INTA#: PIRQ (3 + 0) mod 4 = D.
  b.card.set_intx(true);
  CHECK(b.gsi[3].level);
  for (const RecordingLine& line : b.pic) CHECK_FALSE(line.level);  // not routed after reset
  b.write(1, 0x63, 1, 0x0B);
  CHECK(b.pic[11].level);
  b.write(1, 0x63, 1, 0x0A);
  CHECK_FALSE(b.pic[11].level);
  CHECK(b.pic[10].level);
  b.write(1, 0x63, 1, 0x08);  // IRQ 8 can't be routed to
  CHECK_FALSE(b.pic[8].level);
  CHECK((b.read(3, 0x06, 2) & 8) == 8);
  b.write(3, 0x04, 2, 0x400);  // INTx disable
  CHECK_FALSE(b.gsi[3].level);
  CHECK((b.read(3, 0x06, 2) & 8) == 8);
  b.card.set_intx(false);
  CHECK((b.read(3, 0x06, 2) & 8) == 0);
}

TEST_CASE("firmware's assignment gives each BAR an aligned place of its own and fills the interrupt lines") {
  Board b;
  b.isa.route_like_firmware({10, 11, 10, 11});
  b.bus.assign_like_firmware(0xC000, 0xCFFF, 0xE0000000, 0xFEBFFFFF, {10, 11, 10, 11});
  CHECK(b.read(3, 0x3C, 1) == 11);
  CHECK(b.read(3, 0x10) == 0xC001);
  CHECK(b.read(3, 0x20) == 0xE000000C);
  CHECK(b.read(3, 0x14) == 0xE0004000);
  CHECK((b.read(3, 0x04, 2) & 3) == 3);
  CHECK(b.decoder.ranges.size() == 3);
  b.card.set_intx(true);
  CHECK(b.pic[11].level);
}

TEST_CASE("a saved function decodes where it did, and another device's state is refused") {
  Board a;
  a.bus.assign_like_firmware(0xC000, 0xCFFF, 0xE0000000, 0xFEBFFFFF, {10, 11, 10, 11});
  a.card.set_intx(true);
  auto bytes = saved(a.card);
  Board b;
  REQUIRE(restored(b.card, bytes) == "");
  CHECK(b.decoder.ranges.size() == 3);
  CHECK(b.gsi[3].level);
  CHECK(b.read(3, 0x10) == 0xC001);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto broken = bytes;
    broken[i] ^= 0xFF;
    Board c;
    restored(c.card, broken);
    CHECK(c.read(3, 0) == 0x10411AF4);
  }
  Board d;
  CHECK(restored(d.host, bytes) != "");
}
