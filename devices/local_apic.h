// Local APIC of one processor: xAPIC registers at a 4 KiB page, x2APIC registers as MSRs, timer with TSC deadline.
// Knows its clock, the APIC bus and its processor's signals; refuses to know instructions, RFLAGS.IF and the memory
// map. Ref: SDM 3A, "Advanced Programmable Interrupt Controller (APIC)".
//   local_apic.cpp            acceptance, priority, EOI, LINT pins, reset, state
//   local_apic_registers.cpp  the register file by MMIO and by MSR, IA32_APIC_BASE
//   local_apic_timer.cpp      the timer's three modes
//   local_apic_ipi.cpp        the interrupt command register and destination matching
#pragma once

#include <optional>

#include "base/bits.h"
#include "base/log.h"
#include "base/seam.h"
#include "base/state_io.h"
#include "devices/apic_bus.h"

namespace callgate {

/// The TSC's, the core crystal's and the APIC timer's frequency: one tick is one guest nanosecond. CPUID leaf 15h has
/// to say EAX = EBX = 1, ECX = this.
constexpr u64 kTscHz = 1'000'000'000;

constexpr u32 kMsrApicBase = 0x1B;      // SDM 4, IA32_APIC_BASE
constexpr u32 kMsrTscDeadline = 0x6E0;  // SDM 4, IA32_TSC_DEADLINE
constexpr u32 kMsrX2ApicFirst = 0x800;  // SDM 3A, x2APIC Register Address Space
constexpr u32 kMsrX2ApicLast = 0x8FF;

constexpr u64 kApicBaseBsp = u64{1} << 8;
constexpr u64 kApicBaseX2 = u64{1} << 10;
constexpr u64 kApicBaseEnable = u64{1} << 11;
constexpr u64 kApicDefaultPage = 0xFEE0'0000;

/// An EOI that a guest makes in its memory instead of in the register: a hypervisor's.
class LazyEoi {
 public:
  virtual ~LazyEoi() = default;
  /// An interrupt was taken whose EOI would do nothing but end it: the guest may say so in memory, if it likes.
  virtual void offer() = 0;
  /// Takes the offer back, if there is one. True: the guest has made its EOI.
  virtual bool collect() = 0;
};

class LocalApic final : public BusTarget, public InterruptSource {
 public:
  struct Config {
    u32 id = 0;                           ///< the initial (x2)APIC id
    bool bootstrap = true;                ///< IA32_APIC_BASE.BSP
    unsigned physical_address_bits = 39;  ///< as CPUID 8000_0008h says: bits above are reserved in IA32_APIC_BASE
  };

  /// Attaches itself to `bus`. Everything passed has to outlive it.
  LocalApic(const Config& config, Clock& clock, ApicBus& bus, CpuSignals& signals, Log& log);
  ~LocalApic() override;
  LocalApic(const LocalApic&) = delete;
  LocalApic& operator=(const LocalApic&) = delete;

  /// The 8259 whose interrupt output drives lint0(); asked for the vector of an ExtINT.
  void connect_pic(InterruptSource& pic) { pic_ = &pic; }

  /// Who is asked about EOIs in memory; nullptr: nobody, as on bare metal.
  void connect_lazy_eoi(LazyEoi* lazy) { lazy_eoi_ = lazy; }
  /// Makes the EOI that waits in the guest's memory, if one does. Before anything that depends on what is in service.
  void settle_eoi() {
    if (lazy_eoi_ != nullptr && lazy_eoi_->collect()) end_of_interrupt();
  }

  // --- The processor's side.
  bool pending() const override { return pending_; }
  /// The vector to take now. The spurious vector if nothing is eligible any more.
  u8 acknowledge() override;
  u8 cr8() const { return static_cast<u8>(s_.tpr >> 4); }
  /// CR8 bits 3:0; TPR's sub-class becomes 0 (SDM 3A, Task Priority in IA-32e Mode).
  void set_cr8(u8 value);

  /// IA32_APIC_BASE, IA32_TSC_DEADLINE and 800h to 8FFh belong here.
  static constexpr bool owns_msr(u32 index) {
    return index == kMsrApicBase || index == kMsrTscDeadline || (index >= kMsrX2ApicFirst && index <= kMsrX2ApicLast);
  }
  /// False means #GP(0); then nothing changed.
  bool read_msr(u32 index, u64& value);
  bool write_msr(u32 index, u64 value);

  /// IA32_APIC_BASE.EN: what CPUID.1:EDX.APIC has to show.
  bool enabled() const { return s_.base & kApicBaseEnable; }
  bool x2apic() const { return s_.base & kApicBaseX2; }
  /// Where the processor sees the registers: none while disabled or in x2APIC mode. May change with every write_msr.
  std::optional<u64> mmio_page() const;

  /// The guest's TSC is Clock::now() + offset (IA32_TSC_ADJUST and writes to the TSC change it).
  void set_tsc_offset(u64 offset);

  // --- The board's side.
  /// xAPIC registers. Aligned double words are the architectural access.
  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  /// LINT0: the 8259's output. LINT1: NMI. Levels are assertion, whatever the polarity bit says.
  IrqLine& lint0() { return lint_[0]; }
  IrqLine& lint1() { return lint_[1]; }
  /// Internal sources: a thermal or performance-counter event.
  void performance_event() { deliver_lvt(kPerf); }
  void thermal_event() { deliver_lvt(kThermal); }

  /// Where the alarm stands among alarms of the same deadline (Timer::order).
  void set_timer_order(u32 order) { timer_.order = order; }

  /// Power-up or RESET#.
  void reset();
  /// What firmware leaves behind on the bootstrap processor: enabled, LINT0 = ExtINT, LINT1 = NMI
  /// (MultiProcessor Specification 1.4, Virtual Wire Mode).
  void enter_virtual_wire_mode();

  void sync(StateIo& io);

  // --- The bus's side.
  u32 id() const { return config_.id; }
  bool matches(const ApicMessage& message) const;
  /// True if the message was taken. Call only when it matches, or was sent without a destination.
  bool receive(const ApicMessage& message);
  /// Enabled by hardware and software, so that it takes Fixed and lowest-priority messages.
  bool accepts_interrupts() const { return enabled() && bit(s_.svr, 8); }
  u8 ppr() const;

  /// Index in the local vector table, in the order of the registers from 320h on.
  enum Lvt : unsigned { kTimer, kThermal, kPerf, kLint0, kLint1, kError, kLvtCount };

 private:
  /// 256 bits, one a vector.
  struct VectorSet {
    u64 word[4] = {};
    bool test(u8 v) const { return word[v >> 6] >> (v & 63) & 1; }
    void set(u8 v) { word[v >> 6] |= u64{1} << (v & 63); }
    void clear(u8 v) { word[v >> 6] &= ~(u64{1} << (v & 63)); }
    /// The highest member, or -1.
    int highest() const;
    u32 dword(unsigned n) const { return static_cast<u32>(word[n >> 1] >> (32 * (n & 1))); }
  };

  struct State {
    u64 base = 0;  // IA32_APIC_BASE
    u32 tpr = 0, ldr = 0, dfr = 0, svr = 0;
    u32 esr = 0, esr_pending = 0;  // what a read shows; what the next write makes visible
    VectorSet irr, isr, tmr;
    u64 icr = 0;  // as x2APIC lays it out; in xAPIC mode bits 63:56 are the destination
    u32 lvt[kLvtCount] = {};
    u32 initial_count = 0, divide = 0;
    // The counter held `timer_count` at `timer_since` and reloads `initial_count` afterwards.
    u64 timer_since = 0;
    u32 timer_count = 0;
    bool timer_running = false;
    u64 tsc_deadline = 0;  // 0: disarmed
    u64 tsc_offset = 0;
    bool lint_level[2] = {};
    bool extint_latched = false;  // an ExtINT message came and was not acknowledged yet
  };

  class LintPin final : public IrqLine {
   public:
    LintPin(LocalApic& apic, unsigned n) : apic_(apic), n_(n) {}
    void set(bool level) override { apic_.lint_changed(n_, level); }

   private:
    LocalApic& apic_;
    unsigned n_;
  };

  enum TimerMode : u32 { kOneShot = 0, kPeriodic = 1, kDeadline = 2, kReserved = 3 };

  // local_apic.cpp
  void clear_registers();
  void init_signal();
  bool accept(u8 vector, bool level);
  void deliver_lvt(Lvt which);
  void lint_changed(unsigned n, bool level);
  void retry_level_lint0();
  void end_of_interrupt();
  void error(u32 esr_bit);
  bool extint_ready() const;
  bool vector_ready() const;
  void update();

  // local_apic_registers.cpp
  u32 id_register() const;
  u32 ldr_register() const;
  /// The register at byte offset `reg`; nothing if there is none that can be read.
  std::optional<u32> read_register(u32 reg) const;
  /// False if there is no such register that can be written.
  bool write_register(u32 reg, u32 value);
  void write_lvt(Lvt which, u32 value);
  void write_svr(u32 value);
  bool write_apic_base(u64 value);
  bool write_x2apic(u32 reg, u64 value);

  // local_apic_timer.cpp
  TimerMode timer_mode() const { return static_cast<TimerMode>(bits(s_.lvt[kTimer], 18, 17)); }
  u64 timer_divisor() const;
  u64 tsc() const { return clock_.now() + s_.tsc_offset; }
  u32 current_count() const;
  void catch_up_timer();
  void arm_timer();
  void write_initial_count(u32 value);
  void write_divide(u32 value);
  void write_timer_lvt(u32 value);
  void write_tsc_deadline(u64 value);

  // local_apic_ipi.cpp
  void send_ipi();
  void self_ipi(u8 vector);

  const Config config_;
  Clock& clock_;
  ApicBus& bus_;
  CpuSignals& signals_;
  Log& log_;
  InterruptSource* pic_ = nullptr;
  LazyEoi* lazy_eoi_ = nullptr;
  LintPin lint_[2]{{*this, 0}, {*this, 1}};
  Timer timer_;
  State s_;

  // Derived from s_.
  int highest_irr_ = -1;
  int highest_isr_ = -1;
  bool pending_ = false;
};

// Bits of an LVT entry (SDM 3A, Local Vector Table).
constexpr u32 kLvtMasked = 1u << 16;
constexpr u32 kLvtLevel = 1u << 15;
constexpr u32 kLvtRemoteIrr = 1u << 14;

// Bits of the error status register (SDM 3A, Error Status Register).
constexpr u32 kEsrSendIllegalVector = 1u << 5;
constexpr u32 kEsrReceiveIllegalVector = 1u << 6;
constexpr u32 kEsrIllegalRegister = 1u << 7;

}  // namespace callgate
