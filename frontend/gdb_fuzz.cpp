// GDB's stub against libFuzzer: whatever comes over the wire, it answers or refuses, the machine under it stays one, and looking
// at it changes no hash. An input is one byte of choices and then what a debugger sends: raw bytes, or payloads, a line each,
// that are framed here (else nearly every input would fail at its checksum).
#include "base/verify.h"
#include "frontend/gdb/stub.h"
#include "machine/test_guests.h"

using namespace callgate;

namespace {

enum Choice : u8 { kRaw = 1, kNoHistory = 2, kView32 = 4, kLookOnly = 8 };
constexpr u64 kRun = 3000;
constexpr unsigned kMostPackets = 40;

/// xor eax, eax; loop: inc eax; mov [0x180000], eax; push eax; pop ebx; mov esi, 0x180000; lodsd; test eax, 0xff; jnz loop;
/// mov dx, 0x8a00; mov ax, 0x8ae0; out dx, ax; jmp loop
const std::vector<u8> kGuest = {0x31, 0xC0, 0x40, 0xA3, 0x00, 0x00, 0x18, 0x00, 0x50, 0x5B, 0xBE, 0x00, 0x00, 0x18, 0x00, 0xAD,
                                0xA9, 0xFF, 0x00, 0x00, 0x00, 0x75, 0xEB, 0x66, 0xBA, 0x00, 0x8A, 0x66, 0xB8, 0xE0, 0x8A, 0x66,
                                0xEF, 0xEB, 0xDF};

struct Good {
  Good() : machine(test::machine_with(kGuest, {.ram_bytes = 2 << 20, .reset_stops = true})) {
    machine->run({.until_count = 1000});
    saved = machine->save();
  }
  std::unique_ptr<Machine> machine;
  std::vector<u8> saved;
};

/// Packets that only look, or set stops.
bool looks(std::string_view packet) {
  return !packet.empty() && std::string_view("mpxg?ZzHT").find(packet[0]) != std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static Good good;
  if (size == 0) return 0;
  const u8 choice = data[0];
  Machine& machine = *good.machine;
  VERIFY(machine.restore(good.saved).has_value(), "what a machine saved was refused");
  machine.journal().replay({});
  const u64 before = choice & kLookOnly ? machine.hash() : 0;
  {
    Timeline timeline(machine, {.memory_limit = 16 << 20, .spacing = 5000});
    gdb::Stub stub(machine, choice & kNoHistory ? nullptr : &timeline, choice & kView32 ? gdb::View::I8086 : gdb::View::X86_64);
    stub.connected();
    unsigned packets = 0;
    const auto send = [&](std::span<const u8> bytes) {
      stub.receive(bytes);
      for (unsigned n = 0; n < 3 && !stub.stopped() && !stub.over(); n++) stub.run({machine.count() + kRun, true});
      if (!stub.stopped()) {
        const u8 interrupt = 3;
        stub.receive({&interrupt, 1});
      }
      stub.take_output();
      packets++;
    };
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    if (choice & kRaw) {
      send({data + 1, size - 1});
    } else {
      for (std::size_t at = 0; at < text.size() && packets < kMostPackets && !stub.over();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view packet = text.substr(at, end - at);
        at = end + 1;
        if ((choice & kLookOnly) && !looks(packet)) continue;
        const std::string framed = gdb::frame(packet);
        send({reinterpret_cast<const u8*>(framed.data()), framed.size()});
      }
    }
    VERIFY(stub.stopped() || stub.over() || packets == 0, "the stub lost its machine");
  }
  if ((choice & kLookOnly) && !(choice & kRaw)) VERIFY(machine.hash() == before, "looking changed the state");
  machine.debugger().clear();
  machine.debugger().enable(true);
  machine.mute(false);
  machine.journal().hold(false);
  return 0;
}
