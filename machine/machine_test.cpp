#include "machine/machine.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <thread>

using namespace callgate;

namespace {

/// A Multiboot 1 kernel whose code starts at 1 MiB: a flat binary with the address fields.
boot::BootInputs small_kernel(const Machine& machine, std::vector<u8> code) {
  constexpr u32 kLoad = 0x10'0000, kFlags = 1u << 16, kMagic = 0x1BADB002;
  boot::FileBytes image;
  const auto put = [&](u32 v) {
    for (unsigned i = 0; i < 4; i++) image.push_back(static_cast<u8>(v >> 8 * i));
  };
  for (const u32 v : {kMagic, kFlags, 0u - kMagic - kFlags, kLoad, kLoad, 0u, 0u, kLoad + 32}) put(v);
  image.insert(image.end(), code.begin(), code.end());
  boot::BootInputs inputs;
  inputs.kernel = {"small kernel", image, ""};
  inputs.memory = machine.memory_map();
  return inputs;
}

std::unique_ptr<Machine> machine_with(std::vector<u8> code, MachineConfig config = {.ram_bytes = 16 << 20}) {
  auto machine = Machine::create(config);
  REQUIRE(machine.has_value());
  const auto loaded = (*machine)->load(small_kernel(**machine, std::move(code)));
  REQUIRE_MESSAGE(loaded.has_value(), (loaded ? "" : loaded.error().message));
  return std::move(*machine);
}

// mov dx, 0x3f8; mov al, 'H'; out dx, al; mov al, 'i'; out dx, al; mov al, 21; out 0xf4, al
const std::vector<u8> kHello = {0x66, 0xBA, 0xF8, 0x03, 0xB0, 'H',  0xEE, 0xB0,
                                'i',  0xEE, 0xB0, 21,   0xE6, 0xF4, 0xEB, 0xFE};
// inc eax; jmp back
const std::vector<u8> kCount = {0x40, 0xEB, 0xFD};

}  // namespace

TEST_CASE("a guest writes to its serial line and ends the run with its own code") {
  auto m = machine_with(kHello);
  std::string text;
  m->on_serial(
      [&](std::span<const u8> bytes) { text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); });
  const Stop stop = m->run();
  CHECK(stop.reason == StopReason::DebugExit);
  CHECK(stop.code == (21 << 1 | 1));
  CHECK(text == "Hi");
  CHECK(m->count() == 7);  // the write to the debug-exit port is the last instruction
}

TEST_CASE("a run stops at exactly the count it was given, and a step is one instruction") {
  auto m = machine_with(kCount);
  CHECK(m->run({.until_count = 1001}).reason == StopReason::CountReached);
  CHECK(m->count() == 1001);
  const u64 rip = m->cpu_state(0).rip;
  m->step();
  CHECK(m->count() == 1002);
  CHECK(m->cpu_state(0).rip != rip);
}

TEST_CASE("several machines in one process don't touch each other") {
  auto a = machine_with(kCount);
  auto b = machine_with(kCount);
  a->run({.until_count = 500});
  for (u64 n = 10; n <= 500; n += 10) b->run({.until_count = n});
  CHECK(a->hash() == b->hash());
  a->run({.until_count = 501});
  CHECK(a->hash() != b->hash());
}

TEST_CASE("several processors run the same however often the run is stopped") {
  // Every processor counts for itself: the first starts the others by INIT and SIPI at 0x8000 (16-bit code put there).
  const std::vector<u8> start_others = {0xC7, 0x05, 0x00, 0x80, 0x00, 0x00,
                                        0x66, 0x40, 0xEB, 0xFC,              // mov dword [0x8000], {inc eax; jmp back}
                                        0xBB, 0x00, 0x03, 0xE0, 0xFE,        // mov ebx, 0xfee00300
                                        0xC7, 0x03, 0x00, 0x45, 0x0C, 0x00,  // INIT to all others
                                        0xC7, 0x03, 0x08, 0x46, 0x0C, 0x00,  // SIPI, vector 8
                                        0x40, 0xEB, 0xFD};                   // inc eax; jmp back
  const MachineConfig config{.ram_bytes = 16 << 20, .cpus = 3};
  auto a = machine_with(start_others, config);
  auto b = machine_with(start_others, config);
  a->run({.until_count = 300'000});
  for (u64 n = 777; n < 300'000; n += 7'919) b->run({.until_count = n});
  b->run({.until_count = 300'000});
  CHECK(a->count() == 300'000);
  CHECK(b->count() == 300'000);
  CHECK(a->cpu_state(1).gpr[RAX] > 1000);
  CHECK(a->cpu_state(2).gpr[RAX] > 1000);
  CHECK(a->hash() == b->hash());

  // And saved in the middle of a round.
  auto c = Machine::create(config).value();
  REQUIRE(c->restore(b->save()).has_value());
  a->run({.until_count = 400'000});
  c->run({.until_count = 400'000});
  CHECK(a->hash() == c->hash());
}

TEST_CASE("looking at the hash changes nothing") {
  auto a = machine_with(kCount);
  auto b = machine_with(kCount);
  for (u64 n = 1; n <= 300; n++) {
    a->run({.until_count = n});
    a->hash();
  }
  b->run({.until_count = 300});
  CHECK(a->hash() == b->hash());
}

TEST_CASE("a saved machine goes on in another one as if nothing had happened") {
  auto a = machine_with(kCount);
  a->run({.until_count = 777});
  const auto saved = a->save();
  auto b = Machine::create({.ram_bytes = 16 << 20}).value();
  REQUIRE(b->restore(saved).has_value());
  CHECK(b->save() == saved);
  CHECK(a->hash() == b->hash());
  a->run({.until_count = 2000});
  b->run({.until_count = 2000});
  CHECK(a->hash() == b->hash());
}

namespace {
// `before` runs ahead of saving, `after` in the saved machine and in the restored one.
void check_goes_on_the_same(std::vector<u8> before, const std::vector<u8>& after, u64 saved_at) {
  before.insert(before.end(), after.begin(), after.end());
  before.insert(before.end(), {0xEB, 0xFE});
  auto a = machine_with(before);
  CHECK(a->run({.until_count = saved_at}).reason == StopReason::CountReached);
  auto b = Machine::create({.ram_bytes = 16 << 20}).value();
  REQUIRE(b->restore(a->save()).has_value());
  a->run({.until_count = saved_at + 50});
  b->run({.until_count = saved_at + 50});
  CHECK(a->cpu_state(0).gpr[RAX] == b->cpu_state(0).gpr[RAX]);
  CHECK(a->hash() == b->hash());
}
}  // namespace

TEST_CASE("an interrupt line that was asserted when saved falls in the restored machine") {
  const std::vector<u8> raise = {0x66, 0xBA, 0xFC, 0x03, 0xB0, 0x08, 0xEE,   // mov dx, 0x3fc; mov al, OUT2; out dx, al
                                 0x66, 0xBA, 0xF9, 0x03, 0xB0, 0x02, 0xEE};  // mov dx, 0x3f9; mov al, THRE; out dx, al
  const std::vector<u8> acknowledge = {0x66, 0xBA, 0xFA, 0x03, 0xEC};        // mov dx, 0x3fa; in al, dx
  check_goes_on_the_same(raise, acknowledge, 6);
}

TEST_CASE("a local APIC that the guest switched off stays off in the restored machine") {
  // mov ecx, IA32_APIC_BASE; rdmsr; and eax, ~EN; wrmsr
  const std::vector<u8> switch_off = {0xB9, 0x1B, 0, 0, 0, 0x0F, 0x32, 0x25, 0xFF, 0xF7, 0xFF, 0xFF, 0x0F, 0x30};
  const std::vector<u8> read_version = {0xA1, 0x30, 0x00, 0xE0, 0xFE};  // mov eax, [0xfee00030]
  check_goes_on_the_same(switch_off, read_version, 4);
}

TEST_CASE("an alarm after the end of guest time never comes") {
  // The TSC-deadline timer on the last nanosecond of 64 bits; sti; hlt.
  auto m = machine_with({0xC7, 0x05, 0x20, 0x03, 0xE0, 0xFE, 0x20, 0x00, 0x04, 0x00,  // LVT: TSC-deadline, vector 32
                         0xC7, 0x05, 0xF0, 0x00, 0xE0, 0xFE, 0xFF, 0x01, 0x00, 0x00,  // the APIC on
                         0xB9, 0xE0, 0x06, 0x00, 0x00, 0x31, 0xC0, 0x48, 0x89, 0xC2,  // IA32_TSC_DEADLINE = -2
                         0x48, 0x0F, 0x30, 0xFB, 0xF4});
  const Stop stop = m->run({.until_count = 1000, .stop_when_idle = true});
  CHECK(stop.reason == StopReason::Idle);
  CHECK(stop.idle_ns == kNever);
}

TEST_CASE("a damaged saved state is refused with a sentence") {
  auto a = machine_with(kCount);
  auto saved = a->save();
  saved.resize(saved.size() / 2);
  auto b = Machine::create({.ram_bytes = 16 << 20}).value();
  const auto r = b->restore(saved);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().message.find("damaged") != std::string::npos);
}

TEST_CASE("a halted processor with interrupts off ends the run") {
  auto m = machine_with({0xFA, 0xF4});  // cli; hlt
  CHECK(m->run().reason == StopReason::Halted);
}

TEST_CASE("a run that only skips halted time can still be stopped from outside") {
  // The 8254 ticks, but the 8259 lets nothing through: sti; hlt waits for ever.
  auto m = machine_with({0xB0, 0xFF, 0xE6, 0x21,              // mov al, 0xff; out 0x21, al
                         0xB0, 0x34, 0xE6, 0x43,              // mov al, 0x34; out 0x43, al: counter 0, mode 2
                         0xB0, 0x00, 0xE6, 0x40, 0xE6, 0x40,  // count 65536
                         0xFB, 0xF4});                        // sti; hlt
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    m->request_stop();
  });
  CHECK(m->run().reason == StopReason::Requested);
  stopper.join();
}

TEST_CASE("a triple fault ends the run, and the report tells the chain") {
  auto m = machine_with({0x0F, 0x0B});  // ud2 with an empty IDT
  CHECK(m->run().reason == StopReason::TripleFault);
  const std::string report = m->fault_report(0);
  CHECK(report.find("#UD") != std::string::npos);
  CHECK(report.find("#DF") != std::string::npos);
  CHECK(report.find("ud2") != std::string::npos);
}

TEST_CASE("a configuration that makes no sense is refused with a sentence") {
  CHECK_FALSE(Machine::create({.ram_bytes = 12345}).has_value());
  CHECK_FALSE(Machine::create({.ram_bytes = 16 << 20, .cpus = 0}).has_value());
  CHECK_FALSE(Machine::create({.ram_bytes = 16 << 20, .cpu_model = "z80"}).has_value());
}

TEST_CASE("physical memory outside RAM can't be read") {
  auto m = machine_with(kCount);
  u8 byte = 0;
  CHECK(m->read_physical(0x10'0000, {&byte, 1}));
  CHECK_FALSE(m->read_physical(0xD000'0000, {&byte, 1}));
}

TEST_CASE("the BIOS data area tells of the serial line and the RAM below 640 KiB") {
  auto m = machine_with(kCount);
  u8 word[2] = {};
  REQUIRE(m->read_physical(0x400, word));
  CHECK((word[0] + 256 * word[1]) == 0x3F8);
  REQUIRE(m->read_physical(0x410, word));
  CHECK(((word[1] >> 1) & 7) == 1);  // serial ports
  REQUIRE(m->read_physical(0x413, word));
  CHECK((word[0] + 256 * word[1]) == 640);
}

/// Puts processor 0 into real mode at segment:offset, with a stack at 0:0x7000.
void enter_real_mode(Machine& m, u16 segment, u16 offset) {
  CpuState s = m.cpu_state(0);
  s.cr0 &= ~u64{1};
  for (unsigned i = 0; i < kSegCount; i++) {
    const u16 selector = i == CS ? segment : u16{0};
    s.seg[i].selector = selector;
    s.seg[i].base = u64{selector} * 16;
    s.seg[i].limit = 0xFFFF;
    s.seg[i].rights = i == CS ? 0x9B : 0x93;
  }
  s.idtr = {0, 0x3FF};
  s.gpr[4] = 0x7000;
  s.rip = offset;
  m.set_cpu_state(0, s);
}

TEST_CASE("a BIOS service asked for in real mode returns with the carry and nothing else changed") {
  auto m = machine_with(kCount);
  const std::vector<u8> code = {
      0xB8, 0x20, 0xE8,        // mov ax, 0xE820
      0xBD, 0x34, 0x12,        // mov bp, 0x1234
      0x85, 0xED,              // test bp, bp: clears CF and ZF
      0xCD, 0x15,              // int 0x15
      0x9C, 0x5B,              // pushf; pop bx
      0x3D, 0x20, 0xE8,        // cmp ax, 0xE820
      0x75, 0x08,              // jne fail
      0x81, 0xFD, 0x34, 0x12,  // cmp bp, 0x1234
      0x75, 0x02,              // jne fail
      0x88, 0xD8,              // mov al, bl
      0xE6, 0xF4,              // fail: out 0xF4, al
  };
  REQUIRE(m->write_physical(0x8000, code));
  enter_real_mode(*m, 0, 0x8000);
  const Stop stop = m->run({.until_count = 1000});
  CHECK(stop.reason == StopReason::DebugExit);
  CHECK(((stop.code >> 1) & 0xC3) == 0x43);  // CF, ZF and the bit that is always set; no sign
}

TEST_CASE("a jump to the firmware's entry in real mode resets the machine") {
  auto m = machine_with(kCount, {.ram_bytes = 16 << 20, .reset_stops = true});
  enter_real_mode(*m, 0xF000, 0xFFF0);
  CHECK(m->run({.until_count = 1000}).reason == StopReason::Reset);
}
