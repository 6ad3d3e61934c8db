// For tests of instructions: a processor with 16 MiB of RAM, no paging and flat segments in the mode asked for, and a way to
// run a few instructions on it. Code is at kCode; linear addresses are physical ones. Faults are returned, not delivered.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "base/verify.h"
#include "cpu/cpu.h"
#include "cpu/decoder.h"
#include "cpu/test_engine.h"

namespace callgate::test {

/// A board with nothing on it but ports that remember.
class PortBoard final : public CpuPlatform {
 public:
  struct PortWrite {
    u16 port;
    unsigned size;
    u32 value;
  };
  std::vector<PortWrite> written;
  u32 next_read = 0;  ///< what the next port read gives; counts up

  u32 io_read(u16, unsigned) override { return next_read++; }
  void io_write(u16 port, unsigned size, u32 value) override { written.push_back({port, size, value}); }
  bool apic_msr_read(u32, u64&) override { return false; }
  bool apic_msr_write(u32, u64) override { return false; }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  bool interrupt_pending() override { return false; }
  u8 acknowledge_interrupt() override { return 0; }
  u64 now() override { return 0; }
  void tsc_adjusted(u64) override {}
  void set_ferr(bool) override {}
  void shutdown() override {}
};

enum class Mode : u8 { Real, V86, Protected16, Protected32, Long64 };

class TestCpu {
 public:
  static constexpr u64 kRamSize = 16 << 20;
  static constexpr u64 kCode = 0x10000;
  static constexpr u64 kStack = 0x9000;  ///< RSP at first

  explicit TestCpu(Mode mode)
      : memory_(make_ram(), kRamSize), cpu_(0, memory_, platform, log_, model_), decoded_(memory_), interpreter_(decoded_) {
    if (make_test_engine != nullptr) engine_ = make_test_engine(memory_, interpreter_);
    CpuState& s = cpu_.s;
    s.flags.set_value(kFlagsFixed);
    s.gpr[RSP] = kStack;
    s.gpr[RDX] = 0;
    s.cr0 = kCr0Et | (mode == Mode::Real ? 0 : u64{kCr0Pe});
    const bool real = mode == Mode::Real || mode == Mode::V86;
    const bool big = mode == Mode::Protected32;
    for (unsigned i = 0; i < kSegCount; i++) {
      Segment& seg = s.seg[i];
      seg.base = 0;
      seg.selector = real ? 0 : static_cast<u16>(8 * (i + 1));
      seg.limit = real ? 0xFFFF : 0xFFFFFFFF;
      seg.rights = 1u << 4 | kRightsPresent | (i == CS && !real ? 0xBu : 3u) | (real ? 0 : kRightsG);
      if (big) seg.rights |= kRightsDb;
    }
    if (real) {
      s.seg[CS].selector = kCode >> 4;
      s.seg[CS].base = kCode;
    }
    if (mode == Mode::Long64) {
      s.msr.efer = kEferLme | kEferLma;
      s.seg[CS].rights |= kRightsL;
    }
    if (mode == Mode::V86) {
      s.flags.set_value(kFlagsFixed | kVM);
      s.cpl = 3;
      for (auto& seg : s.seg) seg.rights |= 3u << 5;
    }
    s.rip = real ? 0 : kCode;
    cpu_.refresh();
  }

  /// Puts code where the next instruction is.
  void place(std::span<const u8> code) {
    const u64 at = (cpu_.bits64() ? 0 : cpu_.s.seg[CS].base) + cpu_.s.rip;
    memory_.bus_write(at, code);
    end_ = cpu_.s.rip + code.size();
  }
  /// Executes the instruction at RIP as an engine would. A fault leaves RIP on it.
  std::optional<Fault> step() {
    if (engine_) return step_on_engine();
    CpuState& s = cpu_.s;
    const u64 at = (cpu_.bits64() ? 0 : s.seg[CS].base) + s.rip;
    Insn insn;
    decode({ram() + at, kMaxInsnLength}, cpu_.code_size(), insn);
    cpu_.next_rip() = s.rip + insn.length;
    try {
      insn.exec(cpu_, insn);
    } catch (const Fault& fault) {
      return fault;
    }
    s.rip = cpu_.next_rip();
    s.retired++;
    return std::nullopt;
  }
  /// Places code and runs it to its end.
  std::optional<Fault> run(std::span<const u8> code) {
    place(code);
    if (engine_)
      if (const auto fault = run_as_block(code)) return fault;
    while (cpu_.s.rip != end_)
      if (const auto fault = step()) return fault;
    return std::nullopt;
  }
  std::optional<Fault> run(std::initializer_list<u8> code) { return run(std::span<const u8>(code.begin(), code.size())); }

  Cpu& cpu() { return cpu_; }
  CpuState& s() { return cpu_.s; }
  u64& gpr(unsigned reg) { return cpu_.s.gpr[reg]; }
  PhysicalMap& memory() { return memory_; }
  /// RAM, for looking and for setting up before anything was executed.
  u8* ram() { return memory_.ram().data(); }
  template <class T>
  T peek(u64 address) {
    return load_as<T>(ram() + address);
  }
  template <class T>
  void poke(u64 address, T value) {
    memory_.bus_write(address, sizeof(T), value);
  }

  PortBoard platform;

 private:
  /// There is no IDT: a fault ends in the shutdown of a processor that is as it was before the instruction.
  std::optional<Fault> step_on_engine(u64 instructions = 1) {
    const u64 faults = cpu_.faults_delivered(), until = cpu_.s.retired + instructions;
    const bool stop = false;
    engine_->run(cpu_, until, stop);
    cpu_.s.pending_db = 0;  // nobody delivers traps here
    const u64 delivered = cpu_.faults_delivered() - faults;
    if (delivered == 0) return std::nullopt;
    cpu_.s.activity = Activity::Running;
    const auto all = cpu_.recent_faults();
    return all[all.size() - delivered].fault;
  }

  /// Straight code in one go: an engine that executes blocks has it as one, with a jump to itself at its end.
  std::optional<Fault> run_as_block(std::span<const u8> code) {
    u64 count = 0;
    for (std::size_t at = 0; at < code.size(); count++) {
      Insn insn;
      if (decode(code.subspan(at), cpu_.code_size(), insn) != DecodeStatus::Ok || insn.ends_block) return std::nullopt;
      at += insn.length;
    }
    memory_.bus_write((cpu_.bits64() ? 0 : cpu_.s.seg[CS].base) + end_, std::array<u8, 2>{0xEB, 0xFE});
    const u64 before = cpu_.s.retired;
    const auto fault = step_on_engine(count + 1);
    if (!fault && cpu_.s.rip == end_ && cpu_.s.retired == before + count + 1) cpu_.s.retired--;  // the jump
    return fault;
  }

  static std::unique_ptr<Ram> make_ram() {
    auto ram = Ram::create(kRamSize);
    VERIFY(ram.has_value(), "16 MiB for a test");
    return std::move(ram.value());
  }

  Log log_;
  CpuModel model_;
  PhysicalMap memory_;
  Cpu cpu_;
  DecodeCache decoded_;
  Interpreter interpreter_;
  std::unique_ptr<TestEngine> engine_;  ///< nullptr: instructions are executed one by one by their handlers
  u64 end_ = 0;
};

}  // namespace callgate::test
