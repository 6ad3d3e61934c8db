// A machine for the tests of paravirt/: the test machine of cpu/ with a hypervisor above it.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/system/test_machine.h"
#include "devices/apic_bus.h"
#include "paravirt/paravirt.h"

namespace callgate::paravirt {

/// What a call of the port gives back.
struct Back {
  u32 status;
  u64 value;
  bool operator==(const Back&) const = default;
};
inline doctest::String toString(const Back& r) {
  return ("status " + std::to_string(r.status) + ", value " + std::to_string(r.value)).c_str();
}

/// Time stands where the test's board has it; alarms fire when the test says so.
class TestClock final : public Clock {
 public:
  explicit TestClock(test::TestBoard& board) : board_(board) {}
  u64 now() const override { return board_.now(); }
  void arm(Timer& timer, u64 deadline) override {
    timer.deadline = deadline;
    armed = &timer;
  }
  void cancel(Timer& timer) override {
    timer.deadline = kNever;
    if (armed == &timer) armed = nullptr;
  }
  Timer* armed = nullptr;  ///< the last one

 private:
  test::TestBoard& board_;
};

/// A processor beside the first: in the state that the test gives it, running nothing by itself.
class OtherProcessor : public CpuSignals {
 public:
  OtherProcessor(unsigned index, PhysicalMap& memory, Log& log, const CpuModel& model, Clock& clock, ApicBus& bus)
      : cpu(index, memory, board, log, model),
        apic({.id = index, .bootstrap = false, .physical_address_bits = kPhysicalBits}, clock, bus, *this, log) {}
  void nmi() override { cpu.s.nmi_pending = true; }
  void init() override {}
  void startup(u8) override {}
  void interrupt_line(bool asserted) override {
    board.interrupt = asserted;
    if (asserted && cpu.hypervisor != nullptr) static_cast<Paravirt*>(cpu.hypervisor)->interrupt_waits(cpu);
  }
  test::TestBoard board;
  Cpu cpu;
  LocalApic apic;
};

class TestHost : public test::TestMachine, public Host, public CpuSignals, public PowerControl {
 public:
  explicit TestHost(Set set, unsigned cpus = 1)
      : clock_(platform), apic_({.id = 0, .bootstrap = true, .physical_address_bits = kPhysicalBits}, clock_, bus_, *this, log) {
    for (unsigned n = 1; n < cpus; n++) others_.push_back(std::make_unique<OtherProcessor>(n, ram_map, log, model, clock_, bus_));
    if (set == 0) return;
    hypervisor = std::make_unique<Paravirt>(set, *this);
    for (unsigned n = 0; n < cpus; n++) TestHost::cpu_at(n).hypervisor = hypervisor.get();
  }

  unsigned cpus() const override { return 1 + static_cast<unsigned>(others_.size()); }
  Cpu& cpu_at(unsigned n) override { return n == 0 ? TestMachine::cpu : others_.at(n - 1)->cpu; }
  LocalApic& apic_at(unsigned n) override { return n == 0 ? apic_ : others_.at(n - 1)->apic; }
  TestClock& guest_clock() override { return clock_; }
  i64 epoch() const override { return 1'700'000'000; }
  PowerControl& power_control() override { return *this; }
  ByteSink& console() override { return console_; }
  ByteSink& debug_console() override { return debug_; }
  void debug_break(Cpu&) override { breaks++; }
  void keep_snapshot(Cpu&, unsigned slot) override { kept |= 1u << slot; }
  void forget_snapshot(Cpu&, unsigned slot) override { kept &= ~(1u << slot); }
  bool has_snapshot(unsigned slot) const override { return kept >> slot & 1; }
  void go_back(Cpu&, unsigned slot, u32 value) override { went_back.push_back({slot, value}); }
  void end_turn(Cpu&) override { turns_ended++; }

  void nmi() override {}
  void init() override {}
  void startup(u8) override {}
  void interrupt_line(bool asserted) override {
    platform.interrupt = asserted;
    if (asserted && hypervisor) hypervisor->interrupt_waits(TestMachine::cpu);
  }
  void request(PowerEvent event, u32 code) override { asked.push_back({event, code}); }

  struct Text final : ByteSink {
    std::string bytes;
    void write(std::span<const u8> more) override { bytes.append(more.begin(), more.end()); }
  };
  Text console_, debug_;
  /// WRMSR; false: #GP(0).
  bool wrmsr(u32 index, u64 value) {
    CpuState& s = TestMachine::cpu.s;
    s.rip = kCode;
    s.gpr[RCX] = index, s.gpr[RAX] = value & 0xFFFFFFFF, s.gpr[RDX] = value >> 32;
    const u64 faults = TestMachine::cpu.faults_delivered();
    run({0x0F, 0x30});
    const bool faulted = TestMachine::cpu.faults_delivered() != faults;
    if (faulted) long64();
    return !faulted;
  }
  /// RDMSR; all ones: #GP(0).
  u64 rdmsr(u32 index) {
    CpuState& s = TestMachine::cpu.s;
    s.rip = kCode;
    s.gpr[RCX] = index;
    const u64 faults = TestMachine::cpu.faults_delivered();
    run({0x0F, 0x32});
    if (TestMachine::cpu.faults_delivered() == faults) return s.gpr[RDX] << 32 | s.gpr[RAX];
    long64();
    return ~u64{0};
  }
  u64 hash() {
    StateHasher h;
    hypervisor->sync(h);
    return h.digest();
  }
  /// A figure of the hypervisor's; all ones: there is no such.
  u64 counted(std::string_view name) const {
    for (const Count& c : hypervisor->counts())
      if (c.name == name) return c.value;
    return ~u64{0};
  }

  unsigned breaks = 0, turns_ended = 0, kept = 0;
  std::vector<std::pair<unsigned, u32>> went_back;
  std::vector<std::pair<PowerEvent, u32>> asked;
  std::unique_ptr<Paravirt> hypervisor;

 private:
  TestClock clock_;
  ApicBus bus_;
  LocalApic apic_;
  std::vector<std::unique_ptr<OtherProcessor>> others_;
};

}  // namespace callgate::paravirt
