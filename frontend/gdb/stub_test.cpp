#include "frontend/gdb/stub.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "frontend/gdb/hex.h"
#include "machine/test_guests.h"

using namespace callgate;
using namespace callgate::gdb;

namespace {

/// A debugger that types packets, and the machine under it.
class Wire {
 public:
  explicit Wire(std::unique_ptr<Machine> m, bool history = true, View view = View::X86_64)
      : machine(std::move(m)), timeline(*machine, {.memory_limit = 64 << 20, .spacing = 10'000}),
        stub(*machine, history ? &timeline : nullptr, view) {
    stub.connected();
  }
  /// Sends a packet, runs the machine until it stands still, and gives the last answer.
  std::string ask(const std::string& packet, u64 most = 10'000'000) {
    send(packet);
    const u64 end = machine->count() + most;
    while (!stub.stopped() && !stub.over() && machine->count() < end) stub.run({.until_count = machine->count() + 20'000});
    return answer();
  }
  void send(const std::string& packet) {
    const std::string framed = frame(packet);
    stub.receive({reinterpret_cast<const u8*>(framed.data()), framed.size()});
  }
  void interrupt() {
    const u8 byte = 3;
    stub.receive({&byte, 1});
  }
  std::string answer() {
    PacketReader reader;
    const std::string out = stub.take_output();
    reader.feed({reinterpret_cast<const u8*>(out.data()), out.size()});
    std::string last = "nothing";
    console.clear();
    while (reader.any()) {
      auto event = reader.next();
      if (event.kind != PacketReader::Event::Packet) continue;
      if (event.payload.size() > 2 && event.payload[0] == 'O' && event.payload != "OK") {
        const auto text = from_hex(event.payload.substr(1));
        if (text) console.append(text->begin(), text->end());
      }
      last = event.payload;
    }
    return last;
  }
  std::string monitor(const std::string& line) {
    CHECK(ask("qRcmd," + to_hex(line)) == "OK");
    return console;
  }
  u64 rip() const { return machine->cpu_state(0).rip; }

  std::unique_ptr<Machine> machine;
  Timeline timeline;
  Stub stub;
  std::string console;
};

// xor eax, eax; mov ecx, 1000; loop: inc eax; mov [0x200000], eax; mov ebx, [0x200800]; dec ecx; jnz loop; hlt
const std::vector<u8> kLoop = {0x31, 0xC0, 0xB9, 0xE8, 0x03, 0x00, 0x00, 0x40, 0xA3, 0x00, 0x00, 0x20, 0x00,
                               0x8B, 0x1D, 0x00, 0x08, 0x20, 0x00, 0x49, 0x75, 0xF1, 0xF4};
constexpr const char* kStore = "100028";

Wire loop_wire(unsigned cpus = 1) {
  return Wire(test::machine_with(kLoop, {.ram_bytes = 16 << 20, .cpus = cpus}));
}

bool starts(const std::string& text, const std::string& with) { return text.rfind(with, 0) == 0; }

}  // namespace

TEST_CASE("stub: it says what it can do, and nothing to what it doesn't know") {
  Wire w = loop_wire();
  const std::string can = w.ask("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386");
  for (const char* feature : {"PacketSize=10000", "QStartNoAckMode+", "qXfer:features:read+", "qXfer:memory-map:read+",
                              "qXfer:threads:read+", "ConditionalBreakpoints+", "ReverseStep+", "ReverseContinue+", "swbreak+"})
    CHECK_MESSAGE(can.find(feature) != std::string::npos, feature);
  CHECK(starts(w.ask("?"), "T05"));
  for (const char* unknown : {"", "!", "Y", "qFoo", "QFoo", "vFoo", "vMustReplyEmpty", "bx", "Z9,0,1", "qXfer:foo:read::0,10"})
    CHECK_MESSAGE(w.ask(unknown) == "", unknown);
  CHECK(w.ask("vCont?") == "vCont;c;C;s;S;r");
}

TEST_CASE("stub: broken packets are refused one by one and break nothing") {
  Wire w = loop_wire();
  for (const char* bad : {"m", "m,", "m100000", "m100000,", "mx,1", "m10000000000000000,1", "M100000,4:12", "M100000,1:zz", "M", "X",
                          "X100000,5:abc", "Z", "Z0", "Z0,", "Z0,100", "Z0,100,", "z0,100,1", "Z2,ffffffffffffffff,2", "Z2,0,0",
                          "Z0,100,1;X", "Z0,100,1;X5,00", "Z0,100,1;Xffffffffffffffff,00", "p", "pffff", "pfffffffffffffffff", "P",
                          "P0", "P0=", "P0=123", "Pffff=00", "G", "Gzz", "H", "Hg", "Hgffff", "T9", "vCont;", "vCont;q", "vCont;s:99",
                          "vCont;r", "vCont;r1,", "qXfer:features:read:other.xml:0,10", "qXfer:features:write:target.xml:0,10",
                          "qXfer:features:read:target.xml:", "qSearch:memory:", "qSearch:memory:0;10;", "qCRC:", "qCRC:0,",
                          "qCRC:0,ffffffffffffffff", "qRcmd,z", "qRcmd,1", "qThreadExtraInfo,", "Qqemu.sstep=99", "Qqemu.PhyMemMode:",
                          "Cx", "sx"}) {
    const std::string answer = w.ask(bad);
    CHECK_MESSAGE(answer[0] == 'E', (std::string(bad) + " gives " + answer));
  }
  CHECK(w.stub.stopped());
  CHECK(w.machine->count() == 0);
  w.send("g");
  CHECK(w.answer().size() == 2 * RegisterFile(View::X86_64).bytes());
}

TEST_CASE("stub: a range that is mapped in part is read in part; binary reads and writes carry any byte") {
  Wire w = loop_wire();
  CHECK(w.ask("mfffffc,10").size() == 8);
  CHECK(w.ask("m1000000,10") == "E0e");
  CHECK(w.ask("m1000000,0") == "");
  CHECK(w.ask(std::string("X200000,4:#$}*")) == "OK");
  CHECK(w.ask("x200000,4") == "b#$}*");
  CHECK(w.ask("m200000,4") == "23247d2a");
  CHECK(w.ask("M200000,2:0102") == "OK");
  CHECK(w.ask("m200000,4") == "01027d2a");
  CHECK(w.ask("Mfffffc,8:0000000000000000") == "E0e");
}

TEST_CASE("stub: step, breakpoint, continue, interrupt, registers") {
  Wire w = loop_wire();
  w.ask("qSupported:swbreak+;hwbreak+");
  CHECK(starts(w.ask("vCont;s:1"), "T05thread:1;"));
  CHECK(w.rip() == 0x100022);
  CHECK(w.ask(std::string("Z0,") + kStore + ",1") == "OK");
  CHECK(starts(w.ask("c"), "T05swbreak:;thread:1;"));
  CHECK(w.rip() == 0x100028);
  CHECK(w.ask(std::string("z0,") + kStore + ",1") == "OK");
  CHECK(w.ask("p0") == "0100000000000000");
  CHECK(w.ask("P0=0001000000000000") == "OK");
  CHECK(w.machine->cpu_state(0).gpr[RAX] == 0x100);
  CHECK(starts(w.ask("vCont;r100028,100036:1"), "T05"));  // as long as it is in the loop's body: the jump leads out of it
  CHECK(w.rip() == 0x100027);
  Wire busy(test::busy_machine());
  busy.send("vCont;c");
  busy.stub.run({.until_count = 10'000});
  CHECK_FALSE(busy.stub.stopped());
  busy.interrupt();
  CHECK(starts(busy.answer(), "T02"));
  busy.send("vCont;c");
  busy.send("vCtrlC");
  CHECK(starts(busy.answer(), "T02"));
}

TEST_CASE("stub: conditions are evaluated here, and replaced when the breakpoint is set again") {
  Wire w = loop_wire();
  // rax (register 0) == 500
  CHECK(w.ask(std::string("Z0,") + kStore + ",1;X8,2600002301f41327") == "OK");
  CHECK(starts(w.ask("c"), "T05"));
  CHECK(w.machine->cpu_state(0).gpr[RAX] == 500);
  CHECK(w.ask(std::string("Z1,") + kStore + ",1;X8,2600002302581327") == "OK");
  CHECK(starts(w.ask("c"), "T05"));
  CHECK(w.machine->cpu_state(0).gpr[RAX] == 600);
  CHECK(w.ask(std::string("z0,") + kStore + ",1") == "OK");
  CHECK(w.ask("c").find("replaylog:end") != std::string::npos);  // every processor halted
  CHECK(w.machine->cpu_state(0).gpr[RAX] == 1000);
}

TEST_CASE("stub: watchpoints say what they watched") {
  Wire w = loop_wire();
  CHECK(w.ask("Z2,200002,1") == "OK");
  CHECK(starts(w.ask("c"), "T05watch:200002;thread:1;"));
  CHECK(w.rip() == 0x10002D);
  CHECK(w.ask("z2,200002,1") == "OK");
  CHECK(w.ask("Z3,200801,20") == "OK");
  CHECK(w.ask("Z4,200000,1") == "OK");
  CHECK(starts(w.ask("c"), "T05rwatch:200801;"));
  CHECK(starts(w.ask("c"), "T05awatch:200000;"));
}

TEST_CASE("stub: searching and checksums") {
  Wire w = loop_wire();
  CHECK(w.ask("M300ffe,4:deadbeef") == "OK");
  CHECK(w.ask(std::string("qSearch:memory:0;1000000;\xde\xad\xbe\xef")) == "1,300ffe");
  CHECK(w.ask(std::string("qSearch:memory:300fff;1000;\xde\xad\xbe\xef")) == "0");
  CHECK(w.ask(std::string("qSearch:memory:0;ffffffffffffffff;no such words")) == "0");
  CHECK(w.ask("M200000,9:313233343536373839") == "OK");
  CHECK(w.ask("qCRC:200000,9") == "C0376e6e7");  // CRC-32/MPEG-2 of "123456789"
  CHECK(w.ask("qCRC:fffff0,20") == "E0e");
}

TEST_CASE("stub: QEMU's physical memory mode and single-step bits") {
  Wire w = loop_wire();
  CHECK(w.ask("qqemu.PhyMemMode") == "0");
  CHECK(w.ask("Qqemu.PhyMemMode:1") == "OK");
  CHECK(w.ask("qqemu.PhyMemMode") == "1");
  CHECK(w.ask("m100020,1") == "31");
  CHECK(w.ask("qqemu.sstepbits") == "ENABLE=1,NOIRQ=2,NOTIMER=4");
  CHECK(w.ask("qqemu.sstep") == "0x7");
  CHECK(w.ask("Qqemu.sstep=1") == "OK");
  CHECK(w.ask("qqemu.sstep") == "0x1");
}

TEST_CASE("stub: every processor is a thread") {
  Wire w = loop_wire(3);
  CHECK(w.ask("qfThreadInfo") == "m1,2,3");
  CHECK(w.ask("qsThreadInfo") == "l");
  CHECK(w.ask("T3") == "OK");
  CHECK(w.ask("T4") == "E16");
  CHECK(w.ask("Hg2") == "OK");
  CHECK(w.ask("qC") == "QC2");
  const auto extra = from_hex(w.ask("qThreadExtraInfo,2"));
  REQUIRE(extra.has_value());
  CHECK(std::string(extra->begin(), extra->end()).find("waits for a start-up IPI") != std::string::npos);
  CHECK(w.ask("qXfer:threads:read::0,1000").find("<thread id=\"3\"") != std::string::npos);
}

TEST_CASE("stub: documents come in pieces") {
  Wire w = loop_wire();
  std::string whole;
  for (;;) {
    const std::string part = w.ask(fmt::format("qXfer:features:read:target.xml:{:x},77", whole.size()));
    REQUIRE((part[0] == 'm' || part[0] == 'l'));
    whole += part.substr(1);
    if (part[0] == 'l') break;
  }
  CHECK(whole == RegisterFile(View::X86_64).xml());
}

TEST_CASE("stub: no acknowledgements when they were declined, and the last packet again when one got lost") {
  Wire w = loop_wire();
  const auto raw = [&](const std::string& bytes) {
    w.stub.receive({reinterpret_cast<const u8*>(bytes.data()), bytes.size()});
    return w.stub.take_output();
  };
  CHECK(raw(frame("qC")) == "+" + frame("QC1"));
  CHECK(raw("-") == frame("QC1"));
  CHECK(raw("$qC#00") == "-");
  CHECK(raw(frame("QStartNoAckMode")) == "+" + frame("OK"));
  CHECK(raw("+") == "");
  CHECK(raw(frame("qC")) == frame("QC1"));
}

TEST_CASE("stub: looking, stepping and stopping change no hash; writing what is there already doesn't, either") {
  Wire w(test::busy_machine());
  for (int n = 0; n < 300; n++) {
    w.ask("vCont;s:1");
    const std::string g = w.ask("g");
    CHECK(w.ask("G" + g) == "OK");
    w.ask("m200000,100");
    if (n % 50 == 0) {
      w.ask("Z0,100100,1");
      w.ask("Z4,200000,1000");
      w.ask("c", 5'000);
      if (!w.stub.stopped()) w.interrupt();
      w.ask("z0,100100,1");
      w.ask("z4,200000,1000");
    }
  }
  auto plain = test::busy_machine();
  plain->run({.until_count = w.machine->count()});
  CHECK(plain->hash() == w.machine->hash());
}

TEST_CASE("stub: stepping back leads through the states that stepping forward led through") {
  Wire w(test::busy_machine());
  w.ask("Qqemu.sstep=1");
  w.machine->run({.until_count = 30'000});
  w.timeline.run({.until_count = 31'000});
  std::vector<std::pair<u64, u64>> way;
  for (int n = 0; n < 40; n++) {
    way.emplace_back(w.machine->count(), w.rip());
    REQUIRE(starts(w.ask("s"), "T05"));
  }
  for (int n = 39; n >= 0; n--) {
    REQUIRE(starts(w.ask("bs"), "T05"));
    CHECK(w.machine->count() == way[static_cast<std::size_t>(n)].first);
    CHECK(w.rip() == way[static_cast<std::size_t>(n)].second);
  }
}

TEST_CASE("stub: going back stops where a search from the start says") {
  // Every write of the counter, by brute force.
  auto plain = test::busy_machine();
  plain->debugger().add_watchpoint({{test::kBusyCounter, false}, 4, WatchOn::Write, std::nullopt});
  std::vector<u64> writes;
  for (;;) {
    plain->debugger().resume();
    if (plain->run({.until_count = 400'000}).reason != StopReason::Debug) break;
    writes.push_back(plain->count());
  }
  REQUIRE(writes.size() > 10);
  Wire w(test::busy_machine());
  w.timeline.run({.until_count = 400'000});
  w.ask(fmt::format("Z2,{:x},4", test::kBusyCounter));
  for (std::size_t n = writes.size(); n-- > writes.size() - 5;) {
    CHECK(starts(w.ask("bc"), "T05watch:3000;"));
    CHECK(w.machine->count() == writes[n]);
  }
  CHECK(w.monitor("last-write 0x3000 4").find(fmt::format("ends at count {} ", writes[writes.size() - 5])) != std::string::npos);
  CHECK(w.ask("z2,3000,4") == "OK");
  // To the beginning, where there is nothing to stop at.
  CHECK(starts(w.ask("bc"), "T05replaylog:begin;"));
  CHECK(w.machine->count() == 0);
  CHECK(starts(w.ask("bs"), "T05replaylog:begin;"));
}

TEST_CASE("stub: a search back that is interrupted ends where it began") {
  Wire w(test::busy_machine());
  w.timeline.run({.until_count = 400'000});
  const u64 hash = w.machine->hash();
  w.ask("Z0,5,1");  // nothing is ever there
  unsigned polls = 0;
  w.stub.on_poll([&] {
    if (++polls == 3) w.interrupt();
    return w.stub.interrupt_asked();
  });
  CHECK(starts(w.ask("bc"), "T02"));
  CHECK(polls == 3);
  CHECK(w.machine->count() == 400'000);
  CHECK(w.machine->hash() == hash);
}

TEST_CASE("stub: a step back passes over an interrupt's handler as a step forward does") {
  Wire w(test::busy_machine());
  w.machine->run({.until_count = 30'000});
  w.timeline.run({.until_count = 30'001});
  // Forward until a step has passed over a handler.
  u64 before = 0, rip = 0;
  for (int n = 0; n < 100'000; n++) {
    before = w.machine->count();
    rip = w.rip();
    REQUIRE(starts(w.ask("s"), "T05"));
    if (w.machine->count() > before + 5) break;
  }
  REQUIRE(w.machine->count() > before + 5);
  // The step was made behind the handler, from the place that was interrupted; back behind the handler, back before it.
  REQUIRE(starts(w.ask("bs"), "T05"));
  CHECK(w.rip() == rip);
  CHECK(w.machine->count() > before + 4);
  REQUIRE(starts(w.ask("bs"), "T05"));
  CHECK(w.machine->count() == before - 1);
}

TEST_CASE("stub: without a history it can't go back, and says so") {
  Wire w(test::busy_machine(), false);
  CHECK(w.ask("bs") == "E16");
  CHECK(w.ask("bc") == "E16");
  CHECK(w.monitor("goto 5").find("no history") != std::string::npos);
}

TEST_CASE("stub: marks, goto and when") {
  Wire w(test::busy_machine());
  w.timeline.run({.until_count = 50'000});
  CHECK(w.monitor("mark here").find("50000") != std::string::npos);
  CHECK(w.monitor("goto 12345").find("count 12345,") != std::string::npos);
  CHECK(w.monitor("goto -45").find("count 12300,") != std::string::npos);
  CHECK(w.monitor("goto here").find("count 50000,") != std::string::npos);
  CHECK(w.monitor("goto nowhere").find("no mark") != std::string::npos);
  CHECK(w.monitor("nonsense").find("no monitor command") != std::string::npos);
  for (const char* line : {"help", "", "when", "translate", "translate $rip", "translate zz", "xp", "xp 0x100000 99999", "disas",
                           "disas 0x100020 3", "registers", "pbreak", "pbreak 0x100027", "pdelete", "pwatch 0x200000", "pwdelete",
                           "break-in", "break-in here", "break-in any", "break-in 0x1000 0x2000", "sstep", "sstep irq", "view",
                           "view i386", "find-kernel", "goto", "mark", "unmark x", "last-write", "last-write 0xfffff000 9999"})
    CHECK_MESSAGE(!w.monitor(line).empty(), line);
}

TEST_CASE("stub: a write in the past begins a new history") {
  Wire w(test::busy_machine());
  w.timeline.run({.until_count = 50'000});
  w.monitor("goto 20000");
  CHECK(w.timeline.end() == 50'000);
  CHECK(w.ask("M200000,4:01020304") == "OK");
  CHECK(w.timeline.end() == 20'000);
}

TEST_CASE("stub: the guest's end can be looked at; going on from there ends the run") {
  // mov al, 21; out 0xf4, al
  Wire w(test::machine_with({0xB0, 21, 0xE6, 0xF4}, {.ram_bytes = 16 << 20}));
  CHECK(w.ask("c").find("replaylog:end") != std::string::npos);
  CHECK(w.console.find("debug-exit") != std::string::npos);
  CHECK(starts(w.ask("p0"), "15"));
  CHECK(w.ask("c") == "W2b");
  CHECK(w.stub.over()->reason == StopReason::DebugExit);
}
