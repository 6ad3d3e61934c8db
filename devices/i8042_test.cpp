#include "devices/i8042.h"

#include <doctest/doctest.h>

#include "devices/test_support.h"

namespace callgate {
namespace {

struct Rig {
  test::FakeClock clock;
  test::RecordingLine irq1, irq12;
  test::FakePower power;
  A20Gate gate{[](bool) {}};
  I8042 kbc{clock, irq1, irq12, gate, power};

  u8 status() { return static_cast<u8>(kbc.command_port().read(0, 1)); }
  u8 data() { return static_cast<u8>(kbc.data_port().read(0, 1)); }
  void command(u8 value) { kbc.command_port().write(0, 1, value); }
  void out(u8 value) { kbc.data_port().write(0, 1, value); }
  void command(u8 value, u8 parameter) { command(value), out(parameter); }
  bool full() { return status() & 0x01; }
  // Reads as a polling driver does: waits a little for a byte; -1 when none comes.
  int poll() {
    for (int i = 0; i < 100 && !full(); ++i) clock.advance(1000);
    return full() ? data() : -1;
  }
  std::vector<int> all() {
    std::vector<int> bytes;
    for (int byte = poll(); byte >= 0; byte = poll()) bytes.push_back(byte);
    return bytes;
  }
  void type(std::initializer_list<u8> set2) { CHECK(kbc.key(std::vector<u8>{set2})); }
};

using Bytes = std::vector<int>;

TEST_CASE("8042: self-test, interface tests and configuration answer as a driver's probe expects") {
  Rig r;
  r.command(0xAA);
  CHECK(r.poll() == 0x55);
  r.command(0xAB);
  CHECK(r.poll() == 0x00);
  r.command(0xA9);
  CHECK(r.poll() == 0x00);
  r.command(0x60, 0x47);
  r.command(0x20);
  CHECK(r.poll() == 0x47);
  CHECK((r.status() & 0x10) != 0);  // Linux warns of a key lock otherwise
  CHECK((r.status() & 0x04) != 0);
}

TEST_CASE("8042: the configuration starts as firmware leaves it") {
  Rig r;
  r.command(0x20);
  CHECK(r.poll() == 0x65);
}

TEST_CASE("8042: the status tells commands from data") {
  Rig r;
  r.command(0xAE);
  CHECK((r.status() & 0x08) != 0);
  r.out(0xEE);
  CHECK((r.status() & 0x08) == 0);
}

TEST_CASE("8042: port enables show in the configuration") {
  Rig r;
  const auto configuration = [&] {
    r.command(0x20);
    return r.poll();
  };
  r.command(0xA8);
  CHECK((configuration() & 0x20) == 0);
  r.command(0xA7);
  CHECK((configuration() & 0x20) != 0);
  r.command(0xAD);
  CHECK((configuration() & 0x10) != 0);
  r.command(0xAE);
  CHECK((configuration() & 0x10) == 0);
}

TEST_CASE("8042: the auxiliary port loops bytes back on IRQ 12, by which Linux finds it") {
  Rig r;
  r.command(0xD3, 0x5A);
  CHECK((r.status() & 0x21) == 0x21);
  CHECK_FALSE(r.irq12.level);
  CHECK(r.data() == 0x5A);
  r.command(0x60, 0x47);
  r.command(0xD3, 0xA5);
  CHECK(r.irq12.level);
  CHECK_FALSE(r.irq1.level);
  CHECK(r.data() == 0xA5);
  CHECK_FALSE(r.irq12.level);
}

TEST_CASE("8042: a mouse that is not there fails at once with a timeout, not after one") {
  Rig r;
  r.command(0xD4, 0xFF);
  CHECK((r.status() & 0x61) == 0x61);
  CHECK(r.data() == 0xFE);
  r.out(0xEE);
  CHECK(r.poll() == 0xEE);
  CHECK((r.status() & 0x60) == 0);
}

TEST_CASE("keyboard: reset, echo and identify are answered") {
  Rig r;
  r.out(0xFF);
  CHECK(r.all() == Bytes{0xFA, 0xAA});
  r.out(0xEE);
  CHECK(r.all() == Bytes{0xEE});
  r.out(0xF2);
  CHECK(r.all() == Bytes{0xFA, 0xAB, 0x41});  // translated
  r.command(0x60, 0x05);
  r.out(0xF2);
  CHECK(r.all() == Bytes{0xFA, 0xAB, 0x83});
  r.out(0xEF);
  CHECK(r.all() == Bytes{0xFE});
}

TEST_CASE("keyboard: commands with a parameter acknowledge both bytes") {
  Rig r;
  r.out(0xED);
  CHECK(r.all() == Bytes{0xFA});
  r.out(0x05);
  CHECK(r.all() == Bytes{0xFA});
  CHECK(r.kbc.leds() == 5);
  r.out(0xF3);
  r.all();
  r.out(0x20);
  CHECK(r.all() == Bytes{0xFA});
  r.out(0xF0);
  r.all();
  r.out(0x00);
  CHECK(r.all() == Bytes{0xFA, 0x41});  // set 2, translated
  r.out(0xED);
  r.all();
  r.out(0xF4);  // a command instead of the parameter
  CHECK(r.all() == Bytes{0xFA});
  CHECK(r.kbc.leds() == 5);
}

TEST_CASE("keyboard: resend repeats the last byte") {
  Rig r;
  r.out(0xF2);
  r.all();
  r.command(0x60, 0x05);
  r.out(0xFE);
  CHECK(r.all() == Bytes{0x83});
}

TEST_CASE("keyboard: a key goes down and up in set 1, with an interrupt for each byte") {
  Rig r;
  r.type({0x1C, 0xF0, 0x1C});  // A
  CHECK(r.irq1.level);
  CHECK(r.data() == 0x1E);
  CHECK_FALSE(r.irq1.level);
  CHECK(r.data() == 0x1E);  // an empty buffer shows the last byte
  r.clock.advance(20'000);
  CHECK(r.irq1.level);
  CHECK(r.data() == 0x9E);
  CHECK(r.irq1.rises == 2);
  r.clock.advance(1'000'000);
  CHECK_FALSE(r.full());
}

TEST_CASE("keyboard: extended keys keep their prefix, Pause its whole sequence") {
  Rig r;
  r.type({0xE0, 0x75, 0xE0, 0xF0, 0x75});  // up
  CHECK(r.all() == Bytes{0xE0, 0x48, 0xE0, 0xC8});
  r.type({0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77});
  CHECK(r.all() == Bytes{0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5});
}

TEST_CASE("keyboard: without translation the guest reads set 2, and set 1 when it chooses that") {
  Rig r;
  r.command(0x60, 0x05);
  r.type({0x83, 0xF0, 0x83});
  CHECK(r.all() == Bytes{0x83, 0xF0, 0x83});
  r.out(0xF0), r.all(), r.out(0x01), r.all();
  r.type({0x83, 0xF0, 0x83});
  CHECK(r.all() == Bytes{0x41, 0xC1});
}

TEST_CASE("keyboard: its bytes wait while the port is disabled, and sending to it enables it") {
  Rig r;
  r.command(0xAD);
  r.type({0x1C});
  CHECK(r.poll() == -1);
  r.command(0xAE);
  CHECK(r.poll() == 0x1E);
  r.command(0xAD);
  r.out(0xEE);
  CHECK(r.poll() == 0xEE);
}

TEST_CASE("keyboard: keys are refused while scanning is off or the buffer is full") {
  Rig r;
  r.out(0xF5);
  r.all();
  const std::vector<u8> key{0x1C};
  CHECK_FALSE(r.kbc.key(key));
  r.out(0xF4);
  r.all();
  unsigned typed = 0;
  while (r.kbc.key(key)) ++typed;
  CHECK(typed == Ps2Keyboard::kKeys + 1);  // one is in the controller's output buffer
  CHECK(r.all().size() == typed);
}

TEST_CASE("8042: the output port gates A20, by D1 and by DD and DF") {
  Rig r;
  CHECK(r.gate.passes());
  r.command(0xD1, 0xDD);
  CHECK_FALSE(r.gate.passes());
  r.command(0xD0);
  CHECK((r.poll() & 0x03) == 0x01);
  r.command(0xDF);
  CHECK(r.gate.passes());
  r.command(0xDD);
  CHECK_FALSE(r.gate.passes());
  r.command(0xD1, 0xDF);
  CHECK(r.gate.passes());
  CHECK(r.power.requests.empty());
}

TEST_CASE("8042: FE pulses reset, and so does a zero in the output port's bit 0") {
  Rig r;
  r.command(0xFF);
  CHECK(r.power.requests.empty());
  r.command(0xFE);
  CHECK(r.power.requests.size() == 1);
  r.command(0xD1, 0x02);
  CHECK(r.power.requests.size() == 2);
  CHECK(r.power.requests[1].first == PowerEvent::Reset);
}

TEST_CASE("8042: commands whose answers are never read do no harm") {
  Rig r;
  for (int i = 0; i < 100; ++i) r.command(0xAA), r.out(0xF2);
  CHECK(r.all().size() < 16);
  r.command(0xAA);
  CHECK(r.all() == Bytes{0x55});
}

TEST_CASE("scan codes: every set 1 key translates back to itself") {
  for (u8 code = 1; code < 0x80; ++code) {
    if (code == 0x60 || code == 0x61) continue;  // their break codes are the prefixes
    const u8 sequence[] = {code, static_cast<u8>(code | 0x80)};
    ScancodeTranslator translator;
    std::vector<u8> back;
    for (u8 byte : set2_from_set1(sequence))
      if (translator.translate(byte)) back.push_back(byte);
    CHECK(back == std::vector<u8>{sequence[0], sequence[1]});
  }
}

TEST_CASE("8042: a restored controller delivers the bytes that waited") {
  Rig a;
  a.type({0x1C, 0xF0, 0x1C});
  a.data();
  const auto bytes = test::saved(a.kbc);
  Rig b;
  CHECK(test::restored(b.kbc, bytes) == "");
  CHECK(test::saved(b.kbc) == bytes);
  b.clock.advance(20'000);
  CHECK(b.irq1.level);
  CHECK(b.data() == 0x9E);
}

TEST_CASE("8042: a damaged state is reported") {
  Rig a;
  auto bytes = test::saved(a.kbc);
  bytes[8 + 32 + 12] = 99;  // the replies' number
  CHECK(test::restored(a.kbc, bytes) == "8042: more replies than there can be");
}

}  // namespace
}  // namespace callgate
