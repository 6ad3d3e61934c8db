#include "devices/uart16550.h"

#include <doctest/doctest.h>

#include "devices/test_support.h"

namespace callgate {
namespace {

struct Rig {
  test::FakeClock clock;
  test::RecordingLine irq;
  test::RecordingSink sink;
  Uart16550 uart{clock, irq, sink};

  u8 in(unsigned reg) { return static_cast<u8>(uart.read(reg, 1)); }
  void out(unsigned reg, u8 value) { uart.write(reg, 1, value); }
  void receive(unsigned n) {
    for (unsigned i = 0; i < n; ++i) uart.receive(static_cast<u8>('a' + i));
  }
};

constexpr unsigned kData = 0, kIer = 1, kIir = 2, kFcr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7;
constexpr u8 kOut2 = 0x08;

TEST_CASE("16550: bytes leave at once and the transmitter is always empty") {
  Rig r;
  for (char c : {'h', 'i'}) r.out(kData, static_cast<u8>(c));
  CHECK(r.sink.text == "hi");
  CHECK(r.in(kLsr) == 0x60);
}

TEST_CASE("16550: the divisor latch hides data and interrupt enable") {
  Rig r;
  r.out(kLcr, 0x83);
  r.out(kData, 0x01), r.out(kIer, 0x02);
  CHECK(r.in(kData) == 0x01);
  CHECK(r.in(kIer) == 0x02);
  r.out(kLcr, 0x03);
  CHECK(r.in(kIer) == 0);
  CHECK(r.sink.text.empty());
}

TEST_CASE("16550: a driver's probe finds a 16550A: scratch, IER bits, FIFO bits") {
  Rig r;
  r.out(kScr, 0xA5);
  CHECK(r.in(kScr) == 0xA5);
  r.out(kIer, 0xFF);
  CHECK(r.in(kIer) == 0x0F);
  r.out(kIer, 0);
  CHECK(r.in(kIir) == 0x01);
  r.out(kFcr, 0x01);
  CHECK(r.in(kIir) == 0xC1);
  r.out(kFcr, 0x00);
  CHECK(r.in(kIir) == 0x01);
}

TEST_CASE("16550: loopback turns modem outputs into modem inputs, as Linux's probe wants") {
  Rig r;
  CHECK((r.in(kMsr)&0xF0) == 0xB0);
  r.out(kMcr, 0x1A);
  CHECK((r.in(kMsr)&0xF0) == 0x90);
  r.out(kMcr, 0x15);
  CHECK((r.in(kMsr)&0xF0) == 0x60);
}

TEST_CASE("16550: loopback receives what it sends and cuts the line off") {
  Rig r;
  r.out(kMcr, 0x10);
  CHECK(r.uart.receive_room() == 0);
  r.uart.receive('x');
  CHECK(r.in(kLsr) == 0x60);
  r.out(kData, 'y');
  CHECK(r.in(kLsr) == 0x61);
  CHECK(r.in(kData) == 'y');
  CHECK(r.sink.text.empty());
}

TEST_CASE("16550: a break in loopback is received as a zero with the break bit") {
  Rig r;
  r.out(kMcr, 0x10);
  r.out(kLcr, 0x43);
  CHECK(r.in(kLsr) == 0x71);
  CHECK(r.in(kLsr) == 0x61);
  CHECK(r.in(kData) == 0);
}

TEST_CASE("16550: enabling the transmitter interrupt reports an empty transmitter; reading IIR clears it") {
  Rig r;
  r.out(kMcr, kOut2);
  r.out(kIer, 0x02);
  CHECK(r.irq.level);
  CHECK(r.in(kIir) == 0x02);
  CHECK_FALSE(r.irq.level);
  CHECK(r.in(kIir) == 0x01);
  r.out(kIer, 0x00);
  r.out(kIer, 0x02);
  CHECK(r.in(kIir) == 0x02);
}

TEST_CASE("16550: every byte sent raises the transmitter interrupt by a new edge") {
  Rig r;
  r.out(kMcr, kOut2);
  r.out(kIer, 0x02);
  const unsigned before = r.irq.rises;
  r.out(kData, '1');
  r.out(kData, '2');
  CHECK(r.irq.rises == before + 2);
  CHECK(r.in(kIir) == 0x02);
}

TEST_CASE("16550: OUT2 connects the interrupt to the bus") {
  Rig r;
  r.out(kIer, 0x01);
  r.uart.receive('a');
  CHECK_FALSE(r.irq.level);
  r.out(kMcr, kOut2);
  CHECK(r.irq.level);
}

TEST_CASE("16550: without FIFOs one byte interrupts and a second one overruns it") {
  Rig r;
  r.out(kMcr, kOut2);
  r.out(kIer, 0x05);
  CHECK(r.uart.receive_room() == 1);
  r.uart.receive('a');
  CHECK(r.in(kIir) == 0x04);
  CHECK(r.uart.receive_room() == 0);
  r.uart.receive('b');
  CHECK(r.in(kIir) == 0x06);
  CHECK(r.in(kLsr) == 0x63);
  CHECK(r.in(kIir) == 0x04);
  CHECK(r.in(kData) == 'b');
  CHECK_FALSE(r.irq.level);
}

TEST_CASE("16550: a full FIFO keeps its bytes and loses the new one") {
  Rig r;
  r.out(kFcr, 0x01);
  CHECK(r.uart.receive_room() == 16);
  r.receive(17);
  CHECK(r.uart.receive_room() == 0);
  CHECK(r.in(kLsr) == 0x63);
  for (unsigned i = 0; i < 16; ++i) CHECK(r.in(kData) == 'a' + i);
  CHECK(r.in(kLsr) == 0x60);
}

TEST_CASE("16550: the receive interrupt waits for the trigger level and goes below it") {
  constexpr unsigned kLevels[] = {1, 4, 8, 14};
  for (unsigned code = 0; code < 4; ++code) {
    Rig r;
    r.out(kMcr, kOut2);
    r.out(kFcr, static_cast<u8>(code << 6 | 1));
    r.out(kIer, 0x01);
    r.receive(kLevels[code] - 1);
    CHECK_FALSE(r.irq.level);
    r.receive(1);
    CHECK(r.in(kIir) == 0xC4);
    r.in(kData);
    CHECK_FALSE(r.irq.level);
  }
}

TEST_CASE("16550: bytes below the trigger level time out after four characters' time") {
  Rig r;
  r.out(kLcr, 0x83), r.out(kData, 1), r.out(kIer, 0), r.out(kLcr, 0x03);  // 115200 8N1: 40 bits are 347222 ns
  r.out(kMcr, kOut2);
  r.out(kFcr, 0x81);
  r.out(kIer, 0x01);
  r.receive(2);
  r.clock.advance(347'221);
  CHECK_FALSE(r.irq.level);
  r.clock.advance(1);
  CHECK(r.in(kIir) == 0xCC);
  r.in(kData);
  CHECK_FALSE(r.irq.level);
  r.clock.advance(347'222);  // one byte is left: again
  CHECK(r.in(kIir) == 0xCC);
  r.in(kData);
  r.clock.advance(1'000'000);
  CHECK_FALSE(r.irq.level);
}

TEST_CASE("16550: FIFO control empties the receiver on request and on a change of mode") {
  Rig r;
  r.out(kFcr, 0x01);
  r.receive(3);
  r.out(kFcr, 0x03);
  CHECK(r.in(kLsr) == 0x60);
  r.receive(3);
  r.out(kFcr, 0x00);
  CHECK(r.in(kLsr) == 0x60);
  CHECK(r.in(kData) == 0);
}

TEST_CASE("16550: a change of the modem inputs interrupts until the modem status is read") {
  Rig r;
  r.out(kIer, 0x08);
  r.out(kMcr, kOut2 | 0x10);  // only DCD stays: CTS and DSR fall
  CHECK(r.irq.level);
  CHECK(r.in(kIir) == 0x00);
  CHECK(r.in(kMsr) == 0x83);
  CHECK_FALSE(r.irq.level);
  r.out(kMcr, kOut2 | 0x14);  // ring starts: no delta
  CHECK(r.in(kMsr) == 0xC0);
  r.out(kMcr, kOut2 | 0x10);  // ring ends
  CHECK(r.in(kMsr) == 0x84);
}

TEST_CASE("16550: a restored port has its bytes and its timeout") {
  Rig a;
  a.out(kMcr, kOut2);
  a.out(kFcr, 0xC1);
  a.out(kIer, 0x01);
  a.receive(5);
  const auto bytes = test::saved(a.uart);
  Rig b;
  CHECK(test::restored(b.uart, bytes) == "");
  CHECK(test::saved(b.uart) == bytes);
  b.clock.advance_to(a.clock.next_deadline());
  CHECK(b.in(kIir) == 0xCC);
  CHECK(b.in(kData) == 'a');
}

TEST_CASE("16550: a damaged state is reported") {
  Rig a;
  auto bytes = test::saved(a.uart);
  bytes[8 + 17] = 200;  // the count
  CHECK(test::restored(a.uart, bytes) == "16550: more bytes than the FIFO holds");
}

}  // namespace
}  // namespace callgate
