// The reader of saved states against libFuzzer: hostile bytes give an error that is a sentence, or a machine that runs
// on without harm and can be saved again.
//
// The first byte chooses what happens to the rest: it is the saved state itself, or patches to a good one (an offset of
// two bytes, a length, the bytes), which reach deep fields without first guessing everything before them.
#include <algorithm>
#include <span>

#include "base/verify.h"
#include "machine/machine.h"

using namespace callgate;

namespace {

enum Choice : u8 {
  kTwoProcessors = 1,
  kWhole = 2,          ///< the bytes are the state, not patches
  kGoodProcessor = 4,  ///< after restoring, processor 0 tours the devices instead of going where its state says
  kSaveAgain = 8,      ///< what it saves is a state that is read again, to the same
};

// Multiboot guest at 1 MiB that tours the board with interrupts on: it reads every device's ports and registers, halts,
// and starts again; any interrupt or exception is acknowledged and the tour goes on. In words, of GNU as:
//   lgdt [gdtr]; jmp 8:1f; 1: mov eax, 0x10; mov ds, es, ss from eax
//   256 gates at 0x1000, all to `handler`; lidt [idtr]; the 8259s at vector 0x20, the 8254's counter 0 in mode 2
//   with 4096, the local APIC's timer every 10,000 ns, vector 0x40; xor edx, edx
//   handler: mov esp, 0x90000; EOI to both 8259s and to the local APIC; sti; jmp ports
//   tour: xor edx, edx
//   ports: in al, dx; inc edx; over 0-0xFF, 0x3F8-0x3FF, 0x510-0x51F, 0x600-0x61F, 0xCF8-0xCFF
//   reads of the local APIC, of the I/O APIC by its index, of 1 KiB of the HPET; rdtsc; fninit; hlt; jmp tour
constexpr u8 kTour[] = {
    0x0F, 0x01, 0x15, 0x4E, 0x01, 0x10, 0x00, 0xEA, 0x2E, 0x00, 0x10, 0x00, 0x08, 0x00, 0xB8, 0x10, 0x00, 0x00, 0x00,
    0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xD0, 0xBF, 0x00, 0x10, 0x00, 0x00, 0xB8, 0xA0, 0x00, 0x10, 0x00, 0x66, 0x89, 0x07,
    0x66, 0xC7, 0x47, 0x02, 0x08, 0x00, 0x66, 0xC7, 0x47, 0x04, 0x00, 0x8E, 0x66, 0xC7, 0x47, 0x06, 0x10, 0x00, 0x83,
    0xC7, 0x08, 0x81, 0xFF, 0x00, 0x18, 0x00, 0x00, 0x75, 0xDB, 0x0F, 0x01, 0x1D, 0x54, 0x01, 0x10, 0x00, 0xB0, 0x11,
    0xE6, 0x20, 0xB0, 0x20, 0xE6, 0x21, 0xB0, 0x04, 0xE6, 0x21, 0xB0, 0x01, 0xE6, 0x21, 0xB0, 0x00, 0xE6, 0x21, 0xB0,
    0x34, 0xE6, 0x43, 0xB0, 0x00, 0xE6, 0x40, 0xB0, 0x10, 0xE6, 0x40, 0xC7, 0x05, 0x20, 0x03, 0xE0, 0xFE, 0x40, 0x00,
    0x02, 0x00, 0xC7, 0x05, 0x80, 0x03, 0xE0, 0xFE, 0x10, 0x27, 0x00, 0x00, 0x31, 0xD2, 0xBC, 0x00, 0x00, 0x09, 0x00,
    0xB0, 0x20, 0xE6, 0xA0, 0xE6, 0x20, 0xC7, 0x05, 0xB0, 0x00, 0xE0, 0xFE, 0x00, 0x00, 0x00, 0x00, 0xFB, 0xEB, 0x02,
    0x31, 0xD2, 0xEC, 0x42, 0x81, 0xFA, 0x00, 0x01, 0x00, 0x00, 0x75, 0x05, 0xBA, 0xF8, 0x03, 0x00, 0x00, 0x81, 0xFA,
    0x00, 0x04, 0x00, 0x00, 0x75, 0x05, 0xBA, 0x10, 0x05, 0x00, 0x00, 0x81, 0xFA, 0x20, 0x05, 0x00, 0x00, 0x75, 0x05,
    0xBA, 0x00, 0x06, 0x00, 0x00, 0x81, 0xFA, 0x20, 0x06, 0x00, 0x00, 0x75, 0x05, 0xBA, 0xF8, 0x0C, 0x00, 0x00, 0x81,
    0xFA, 0x00, 0x0D, 0x00, 0x00, 0x72, 0xC2, 0xBB, 0x00, 0x00, 0xE0, 0xFE, 0x8B, 0x03, 0x83, 0xC3, 0x10, 0x81, 0xFB,
    0x00, 0x04, 0xE0, 0xFE, 0x75, 0xF3, 0x31, 0xC9, 0x89, 0x0D, 0x00, 0x00, 0xC0, 0xFE, 0xA1, 0x10, 0x00, 0xC0, 0xFE,
    0x41, 0x83, 0xF9, 0x40, 0x75, 0xEF, 0xBB, 0x00, 0x00, 0xD0, 0xFE, 0x8B, 0x03, 0x83, 0xC3, 0x04, 0x81, 0xFB, 0x00,
    0x04, 0xD0, 0xFE, 0x75, 0xF3, 0x0F, 0x31, 0xDB, 0xE3, 0xF4, 0xEB, 0x82, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x9B, 0xCF, 0x00, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x93, 0xCF, 0x00, 0x17, 0x00,
    0x36, 0x01, 0x10, 0x00, 0xFF, 0x07, 0x00, 0x10, 0x00, 0x00,
};
constexpr u64 kRam = (u64{1} << 20) + (64 << 10), kRun = 10'000;

boot::BootInputs tour_kernel(const Machine& machine) {
  constexpr u32 kLoad = 0x10'0000, kFlags = 1u << 16, kMagic = 0x1BADB002;
  boot::BootInputs inputs;
  inputs.kernel.name = "tour";
  auto& image = inputs.kernel.bytes;
  for (const u32 v : {kMagic, kFlags, 0u - kMagic - kFlags, kLoad, kLoad, 0u, 0u, kLoad + 32})
    for (unsigned i = 0; i < 4; i++) image.push_back(static_cast<u8>(v >> 8 * i));
  image.insert(image.end(), std::begin(kTour), std::end(kTour));
  inputs.memory = machine.memory_map();
  return inputs;
}

std::unique_ptr<Machine> make_machine(unsigned cpus) {
  auto machine = Machine::create({.ram_bytes = kRam, .cpus = cpus, .reset_stops = true});
  VERIFY(machine.has_value(), "a good configuration was refused");
  return std::move(*machine);
}

/// A machine in the middle of its tour. What is made once is used again and again: making it takes longer than all the
/// rest, and a restored machine must not depend on what it was before.
struct Good {
  explicit Good(unsigned cpus) : machine(make_machine(cpus)), second(make_machine(cpus)) {
    VERIFY(machine->load(tour_kernel(*machine)).has_value(), "the tour was not loaded");
    const Stop stop = machine->run({.until_count = 2 * kRun});
    VERIFY(stop.reason == StopReason::CountReached, "the tour goes on for ever");
    saved = machine->save();
    processor = machine->cpu_state(0);
    // Patches leave RAM's contents alone: the guest is hostile anyway, and
    // there are better fuzzers for that.
    const u64 tag = hash_bytes({reinterpret_cast<const u8 *>("memory"), 6});
    u8 bytes[sizeof tag];
    std::memcpy(bytes, &tag, sizeof tag);
    const auto memory = std::search(saved.begin(), saved.end(), std::begin(bytes), std::end(bytes));
    VERIFY(memory != saved.end(), "a saved state has no memory");
    before_ram = static_cast<std::size_t>(memory - saved.begin()) + 21;  // and its size, A20, the first frame's number
  }
  std::unique_ptr<Machine> machine, second;
  std::vector<u8> saved;
  CpuState processor;
  std::size_t before_ram = 0;
};

std::vector<u8> patched(const Good& good, std::span<const u8> patches) {
  constexpr std::size_t kAfterRam = 41;  // the end mark and the round
  std::vector<u8> state = good.saved;
  while (patches.size() >= 3) {
    std::size_t at = (patches[0] | patches[1] << 8) % (good.before_ram + kAfterRam);
    if (at >= good.before_ram) at += state.size() - good.before_ram - kAfterRam;
    const std::size_t size = std::min<std::size_t>({patches[2] % 17u, patches.size() - 3, state.size() - at});
    std::copy_n(patches.begin() + 3, size, state.begin() + static_cast<std::ptrdiff_t>(at));
    patches = patches.subspan(3 + size);
  }
  return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static const Good goods[] = {Good(1), Good(2)};
  if (size == 0) return 0;
  const u8 choice = data[0];
  const unsigned cpus = choice & kTwoProcessors ? 2 : 1;
  const Good& good = goods[cpus - 1];
  const std::span<const u8> rest(data + 1, size - 1);

  const auto& machine = good.machine;
  const auto restored =
      machine->restore(choice & kWhole ? std::vector<u8>(rest.begin(), rest.end()) : patched(good, rest));
  if (!restored) {
    const std::string& message = restored.error().message;
    VERIFY(message.size() > 10 && message.find('\n') == std::string::npos, "an error is a sentence");
    return 0;
  }
  if (choice & kSaveAgain) {
    const std::vector<u8> saved = machine->save();
    VERIFY(good.second->restore(saved).has_value(), "what a machine saved was refused");
    VERIFY(good.second->save() == saved, "a restored machine saves another state");
  }

  if (choice & kGoodProcessor) {
    CpuState processor = good.processor;
    processor.retired = machine->cpu_state(0).retired;
    machine->set_cpu_state(0, processor);
  }
  const u64 until = machine->count() + kRun;
  // Halted time is skipped a few times only: timers may go on for ever.
  for (unsigned idle = 0; idle < 50; idle++)
    if (machine->run({.until_count = until, .stop_when_idle = true}).reason != StopReason::Idle) break;
  machine->fault_report(0);
  machine->hash();
  return 0;
}
