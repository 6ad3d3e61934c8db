// A machine for the tests of paravirt/: the test machine of cpu/ with a hypervisor above it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/system/test_machine.h"
#include "devices/apic_bus.h"
#include "paravirt/paravirt.h"

namespace callgate::paravirt {

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

class TestHost : public test::TestMachine, public Host, public CpuSignals, public PowerControl {
 public:
  explicit TestHost(Set set)
      : clock_(platform), apic_({.id = 0, .bootstrap = true, .physical_address_bits = kPhysicalBits}, clock_, bus_, *this, log) {
    if (set == 0) return;
    hypervisor = std::make_unique<Paravirt>(set, *this);
    TestMachine::cpu.hypervisor = hypervisor.get();
  }

  unsigned cpus() const override { return 1; }
  Cpu& cpu_at(unsigned) override { return TestMachine::cpu; }
  LocalApic& apic_at(unsigned) override { return apic_; }
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
  void interrupt_line(bool asserted) override { platform.interrupt = asserted; }
  void request(PowerEvent event, u32 code) override { asked.push_back({event, code}); }

  struct Text final : ByteSink {
    std::string bytes;
    void write(std::span<const u8> more) override { bytes.append(more.begin(), more.end()); }
  };
  Text console_, debug_;
  unsigned breaks = 0, turns_ended = 0, kept = 0;
  std::vector<std::pair<unsigned, u32>> went_back;
  std::vector<std::pair<PowerEvent, u32>> asked;
  std::unique_ptr<Paravirt> hypervisor;

 private:
  TestClock clock_;
  ApicBus bus_;
  LocalApic apic_;
};

}  // namespace callgate::paravirt
