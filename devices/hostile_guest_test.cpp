// What all ISA devices owe the machine, tried with random guests: a restored device behaves like the one that was
// saved, and neither wild accesses nor a damaged state do any harm (run this with sanitizers).
#include <doctest/doctest.h>

#include <string>

#include "base/bits.h"
#include "devices/fw_cfg.h"
#include "devices/i8042.h"
#include "devices/pic8259.h"
#include "devices/pit8254.h"
#include "devices/rtc_cmos.h"
#include "devices/system_control_b.h"
#include "devices/test_support.h"
#include "devices/uart16550.h"

namespace callgate {
namespace {

// SplitMix64: the same guests on every run.
struct Random {
  u64 state;
  u64 next() {
    u64 z = state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  unsigned below(unsigned n) { return static_cast<unsigned>(next() % n); }
};

struct Board {
  test::FakeClock clock;
  test::RecordingLine intr, irq0, irq1, irq4, irq8, irq12;
  test::RecordingSink sink;
  test::FakePower power;
  test::FakeMemory memory{0x1000};
  A20Gate gate{[](bool) {}};
  Pic8259Pair pics{intr};
  Pit8254 pit{clock, irq0};
  SystemControlB port61{clock, pit};
  Uart16550 uart{clock, irq4, sink};
  RtcCmos rtc{clock, irq8, 1'000'000'000};
  I8042 kbc{clock, irq1, irq12, gate, power};
  FwCfg fw{memory};

  Board() { fw.add_item(fw_cfg_key::kCommandLineData, {1, 2, 3, 4, 5, 6, 7}); }

  struct Mapped {
    BusTarget* target;
    unsigned ports;
  };
  std::vector<Mapped> targets() {
    return {{&pics.master_ports(), 3},
            {&pics.slave_ports(), 3},
            {&pics.elcr_ports(), 3},
            {&pit, 5},
            {&port61, 2},
            {&uart, 9},
            {&rtc, 5},
            {&kbc.data_port(), 2},
            {&kbc.command_port(), 2},
            {&fw, 13}};
  }

  // One random action; the answer is what a guest or the board could tell apart.
  u64 act(Random& random) {
    const auto all = targets();
    const Mapped& at = all[random.below(static_cast<unsigned>(all.size()))];
    const u64 offset = random.below(at.ports);
    const unsigned size = 1u << random.below(3);
    const u64 value = random.next();
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2:
        at.target->write(offset, size, value & low_mask(8 * size));
        return 0;
      case 3:
      case 4:
        return at.target->read(offset, size);
      case 5:
        clock.advance(value % 300'000);
        return clock.next_deadline();
      case 6: {
        const unsigned irq = random.below(16);
        if (irq != 2) pics.line(irq).set(value & 1);
        return pics.pending() ? pics.acknowledge() : 0x100;
      }
      default: {
        const u8 bytes[] = {static_cast<u8>(value), static_cast<u8>(value >> 8)};
        uart.receive(bytes[0]);
        return uart.receive_room() << 1 | kbc.key(bytes);
      }
    }
  }

  void sync(StateIo& io) {
    gate.sync(io);
    pics.sync(io);
    pit.sync(io);
    port61.sync(io);
    uart.sync(io);
    rtc.sync(io);
    kbc.sync(io);
    fw.sync(io);
  }
  std::string levels() const {
    std::string text;
    for (const auto* line : {&intr, &irq0, &irq1, &irq4, &irq8, &irq12}) text += line->level ? '1' : '0';
    return text;
  }
};

TEST_CASE("devices: a restored board goes on exactly as the saved one") {
  for (u64 seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    Random random{seed};
    Board a;
    for (int i = 0; i < 400; ++i) a.act(random);
    const auto bytes = test::saved(a);
    Board b;
    b.clock.jump_to(a.clock.now());
    b.memory.data = a.memory.data;
    REQUIRE(test::restored(b, bytes) == "");
    REQUIRE(test::saved(b) == bytes);
    Random random_a = random, random_b = random;
    unsigned differences = 0;
    for (int i = 0; i < 400; ++i) differences += a.act(random_a) != b.act(random_b);
    CHECK(differences == 0);
    CHECK(test::saved(a) == test::saved(b));
  }
}

TEST_CASE("devices: a damaged state is survived, whatever the guest does next") {
  for (u64 seed = 0; seed < 200; ++seed) {
    Random random{seed};
    Board a;
    for (int i = 0; i < 100; ++i) a.act(random);
    auto bytes = test::saved(a);
    for (unsigned n = 1 + random.below(8); n > 0; --n)
      bytes[random.below(static_cast<unsigned>(bytes.size()))] = static_cast<u8>(random.next());
    if (random.below(4) == 0) bytes.resize(random.below(static_cast<unsigned>(bytes.size())));
    Board b;
    b.clock.jump_to(a.clock.now());
    test::restored(b, bytes);
    for (int i = 0; i < 200; ++i) b.act(random);
    CHECK(b.levels().size() == 6);
  }
}

}  // namespace
}  // namespace callgate
