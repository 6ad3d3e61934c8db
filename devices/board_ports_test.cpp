// The small ports of the board: A20 and reset, progress codes, debug console, debug exit.
#include <doctest/doctest.h>

#include "devices/debug_ports.h"
#include "devices/port92.h"
#include "devices/test_support.h"

namespace callgate {
namespace {

TEST_CASE("A20: the line passes while either port opens it, and is reported only when it changes") {
  std::vector<bool> seen;
  A20Gate gate{[&](bool on) { seen.push_back(on); }};
  CHECK(gate.passes());
  gate.set_port92(true);
  gate.set_keyboard_controller(false);
  CHECK(seen.empty());
  gate.set_port92(false);
  CHECK(seen == std::vector{false});
  gate.set_keyboard_controller(true);
  CHECK(seen == std::vector{false, true});
}

TEST_CASE("A20: a restore tells the memory the line's level") {
  A20Gate a{[](bool) {}};
  a.set_keyboard_controller(false);
  std::vector<bool> seen;
  A20Gate b{[&](bool on) { seen.push_back(on); }};
  CHECK(test::restored(b, test::saved(a)) == "");
  CHECK(seen == std::vector{false});
}

TEST_CASE("port 0x92: bit 1 opens A20 and reads back, a rising bit 0 resets") {
  A20Gate gate{[](bool) {}};
  gate.set_keyboard_controller(false);
  test::FakePower power;
  Port92 port{gate, power};
  port.write(0, 1, 0x02);
  CHECK(gate.passes());
  CHECK(port.read(0, 1) == 0x02);
  CHECK(power.requests.empty());
  port.write(0, 1, 0x03);
  port.write(0, 1, 0x01);
  CHECK(power.requests == std::vector{std::pair{PowerEvent::Reset, u32{0}}});
  CHECK_FALSE(gate.passes());
}

TEST_CASE("port 0x80: the last code is kept and logged") {
  Log log;
  std::string text;
  log.set_sink([&](LogChannel, std::string_view line) { text = line; });
  log.enable(LogChannel::Boot);
  PostPort port{log};
  port.write(0, 1, 0x5A);
  CHECK(port.code() == 0x5A);
  CHECK(port.read(0, 1) == 0x5A);
  CHECK(text.find("POST code 5a") != std::string::npos);
}

TEST_CASE("port 0xE9: announces itself and passes bytes on") {
  test::RecordingSink sink;
  DebugConsole console{sink};
  CHECK(console.read(0, 1) == 0xE9);
  console.write(0, 1, 'o');
  console.write(0, 1, 'k');
  CHECK(sink.text == "ok");
}

TEST_CASE("port 0xF4: a write of any size ends the run with an odd status") {
  test::FakePower power;
  DebugExit port{power};
  port.write(0, 1, 0);
  port.write(0, 4, 0x10);
  CHECK(power.requests == std::vector{std::pair{PowerEvent::DebugExit, u32{1}}, {PowerEvent::DebugExit, u32{0x21}}});
}

}  // namespace
}  // namespace callgate
