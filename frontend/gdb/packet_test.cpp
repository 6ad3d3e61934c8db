#include "frontend/gdb/packet.h"

#include <doctest/doctest.h>

#include "frontend/gdb/agent_expression.h"
#include "frontend/gdb/hex.h"
#include "frontend/gdb/server.h"

using namespace callgate;
using namespace callgate::gdb;
using Event = PacketReader::Event;

namespace {

std::vector<Event> read(std::string_view text) {
  PacketReader reader;
  // A byte at a time: pieces must make no difference.
  for (const char c : text) {
    const u8 byte = static_cast<u8>(c);
    reader.feed({&byte, 1});
  }
  std::vector<Event> events;
  while (reader.any()) events.push_back(reader.next());
  return events;
}

std::optional<u64> run(std::vector<u8> code) {
  return evaluate(code, {[](unsigned number) { return std::optional<u64>(number * 10); },
                         [](u64 address, unsigned size) {
                           return address == 0x1000 ? std::optional<u64>(size) : std::nullopt;
                         }});
}

}  // namespace

TEST_CASE("packets are taken by their checksum, and what is between them is not") {
  const auto events = read("+$g#67noise$m0,4#fd-\x03$bad#00$m1,#$?#3f");
  REQUIRE(events.size() == 7);
  CHECK(events[0].kind == Event::Ack);
  CHECK(events[1].payload == "g");
  CHECK(events[2].payload == "m0,4");
  CHECK(events[3].kind == Event::Nack);
  CHECK(events[4].kind == Event::Interrupt);
  CHECK(events[5].kind == Event::Damaged);
  CHECK(events[6].kind == Event::Damaged);  // its "checksum" was the next packet's beginning
}

TEST_CASE("escapes go both ways, and a packet that is too long is dropped whole") {
  const std::string binary("a#$}*\x03\0z", 8);
  const auto events = read(frame(binary));
  REQUIRE(events.size() == 1);
  CHECK(events[0].payload == binary);
  CHECK(frame("OK") == "$OK#9a");
  const auto long_one = read(frame(std::string(kMostPayload + 1, 'x')) + "$?#3f");
  REQUIRE(long_one.size() == 2);
  CHECK(long_one[0].kind == Event::Damaged);
  CHECK(long_one[1].payload == "?");
  CHECK(read("$}#5d")[0].kind == Event::Damaged);
}

TEST_CASE("numbers that don't fit are no numbers") {
  CHECK(Reader("ffffffffffffffff").number() == ~u64{0});
  CHECK_FALSE(Reader("10000000000000000").number().has_value());
  CHECK_FALSE(Reader("").number().has_value());
  CHECK_FALSE(Reader("x").number().has_value());
  CHECK(Reader("0000000000000000000001").number() == 1);
  CHECK_FALSE(from_hex("abc").has_value());
  CHECK_FALSE(from_hex("zz").has_value());
  CHECK(to_hex(*from_hex("00ff7F")) == "00ff7f");
}

TEST_CASE("agent expressions compute as the manual says, and broken ones have no value") {
  CHECK(run({0x22, 5, 0x22, 3, 0x03, 0x27}) == 2);                          // 5 - 3
  CHECK(run({0x26, 0, 7, 0x22, 70, 0x13, 0x27}) == 1);                      // reg 7 == 70
  CHECK(run({0x23, 0x10, 0x00, 0x19, 0x27}) == 4);                          // *(u32*) 0x1000
  CHECK(run({0x22, 0xFF, 0x16, 8, 0x22, 0, 0x14, 0x27}) == 1);              // (i8) 0xff < 0
  CHECK(run({0x22, 1, 0x20, 0, 6, 0x27, 0x22, 9, 0x27}) == 9);              // if_goto
  CHECK(run({0x22, 6, 0x22, 2, 0x22, 1, 0x33, 0x27}) == 2);                 // a b c => c a b
  CHECK_FALSE(run({0x23, 0x20, 0x00, 0x17, 0x27}).has_value());             // no memory there
  CHECK_FALSE(run({0x22, 1, 0x22, 0, 0x05, 0x27}).has_value());             // 1 / 0
  CHECK_FALSE(run({0x02}).has_value());                                     // nothing to add
  CHECK_FALSE(run({0x21, 0, 0}).has_value());                               // for ever
  CHECK_FALSE(run({0x22}).has_value());                                     // cut
  CHECK_FALSE(run({0x27}).has_value());
  CHECK_FALSE(run({0x25, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x22, 0xFF, 0x16, 8, 0x05, 0x27}) == 0);  // INT64_MIN / -1 is no crash
  std::vector<u8> deep(1000, 0x28);
  deep.insert(deep.begin(), {0x22, 1});
  CHECK_FALSE(run(deep).has_value());
}

TEST_CASE("--gdb says where to listen in the ways that people know") {
  CHECK(parse_address("1234")->port == 1234);
  CHECK(parse_address("1234")->host == "127.0.0.1");
  CHECK(parse_address("tcp::1234")->host == "127.0.0.1");
  CHECK(parse_address("0.0.0.0:7")->host == "0.0.0.0");
  CHECK(parse_address("[::1]:7")->host == "::1");
  CHECK(parse_address("unix:/tmp/s")->path == "/tmp/s");
  CHECK(parse_address("./s,view=i8086")->path == "./s");
  CHECK(parse_address("./s,view=i8086")->view == View::I8086);
  CHECK(parse_address("tcp::1234,server,nowait")->port == 1234);
  for (const char* bad : {"", ":", "x", "70000", "-1", "1234,view=arm", "unix:", "1234x", ",", "1234,"})
    CHECK_FALSE_MESSAGE(parse_address(bad).has_value(), bad);
}
