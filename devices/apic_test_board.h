// A small board for the tests of the APICs: processors' signals that remember, and register access in words of the
// manual.
#pragma once

#include <memory>
#include <vector>

#include "devices/local_apic.h"
#include "devices/test_support.h"

namespace callgate::test {

/// Remembers what a local APIC told its processor.
struct RecordingCpu final : CpuSignals {
  void nmi() override { ++nmis; }
  void init() override { ++inits; }
  void startup(u8 vector) override { startups.push_back(vector); }
  void interrupt_line(bool asserted) override {
    line = asserted;
    ++line_changes;
  }
  unsigned nmis = 0, inits = 0, line_changes = 0;
  std::vector<u8> startups;
  bool line = false;
};

/// An 8259 that always has the same vector to give.
struct FakePic final : InterruptSource {
  bool pending() const override { return true; }
  u8 acknowledge() override {
    ++acknowledged;
    return vector;
  }
  u8 vector = 0x08;
  unsigned acknowledged = 0;
};

/// `count` processors with consecutive APIC ids on one bus.
struct ApicBoard {
  explicit ApicBoard(unsigned count = 1, u32 first_id = 0) {
    for (unsigned i = 0; i < count; ++i) {
      cpu.push_back(std::make_unique<RecordingCpu>());
      apic.push_back(
          std::make_unique<LocalApic>(LocalApic::Config{first_id + i, i == 0, 39}, clock, bus, *cpu[i], log));
    }
  }
  u32 read(u32 reg, unsigned n = 0) { return static_cast<u32>(apic[n]->read(reg, 4)); }
  void write(u32 reg, u32 value, unsigned n = 0) { apic[n]->write(reg, 4, value); }
  u64 msr(u32 index, unsigned n = 0) {
    u64 value = ~u64{0};
    return apic[n]->read_msr(index, value) ? value : ~u64{0};
  }
  /// Software enable with the spurious vector FFh, on every processor.
  void enable() {
    for (unsigned n = 0; n < apic.size(); ++n) write(0xF0, 0x1FF, n);
  }
  void enter_x2apic() {
    for (auto& a : apic) {
      u64 base = 0;
      a->read_msr(kMsrApicBase, base);
      a->write_msr(kMsrApicBase, base | kApicBaseX2);
    }
  }
  /// Takes the interrupt and ends it; the vector, or -1 when none is pending.
  int take(unsigned n = 0) {
    if (!apic[n]->pending()) return -1;
    const u8 vector = apic[n]->acknowledge();
    if (apic[n]->x2apic())
      apic[n]->write_msr(0x80B, 0);
    else
      write(0xB0, 0, n);
    return vector;
  }

  FakeClock clock;
  Log log;
  ApicBus bus;
  std::vector<std::unique_ptr<RecordingCpu>> cpu;
  std::vector<std::unique_ptr<LocalApic>> apic;
};

}  // namespace callgate::test
