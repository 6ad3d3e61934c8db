// Local APIC: acceptance, priorities, EOI, the LINT pins, reset and state.
#include "devices/local_apic.h"

namespace callgate {

int LocalApic::VectorSet::highest() const {
  for (int n = 3; n >= 0; --n)
    if (word[n]) return n * 64 + 63 - std::countl_zero(word[n]);
  return -1;
}

LocalApic::LocalApic(const Config& config, Clock& clock, ApicBus& bus, CpuSignals& signals, Log& log)
    : config_(config), clock_(clock), bus_(bus), signals_(signals), log_(log) {
  timer_.fire = [this] {
    catch_up_timer();
    arm_timer();
  };
  reset();
  bus_.attach(*this);
}

LocalApic::~LocalApic() { clock_.cancel(timer_); }

void LocalApic::reset() {
  s_.base = kApicDefaultPage | kApicBaseEnable | (config_.bootstrap ? kApicBaseBsp : 0);
  clear_registers();
}

/// The state after power-up of everything but IA32_APIC_BASE, the pins and the TSC (SDM 3A, Local APIC State After
/// Power-Up or Reset).
void LocalApic::clear_registers() {
  if (lazy_eoi_ != nullptr) lazy_eoi_->collect();  // whatever the answer: nothing is in service
  State fresh;
  fresh.base = s_.base;
  fresh.tsc_offset = s_.tsc_offset;
  fresh.lint_level[0] = s_.lint_level[0];
  fresh.lint_level[1] = s_.lint_level[1];
  fresh.dfr = 0xFFFF'FFFF;
  fresh.svr = 0xFF;
  for (u32& lvt : fresh.lvt) lvt = kLvtMasked;
  s_ = fresh;
  highest_irr_ = highest_isr_ = -1;
  arm_timer();
  update();
}

/// INIT keeps the mode and the APIC id, so x2APIC mode survives it.
void LocalApic::init_signal() {
  clear_registers();
  signals_.init();
}

void LocalApic::enter_virtual_wire_mode() {
  s_.svr = 0x1FF;
  s_.lvt[kLint0] = static_cast<u32>(DeliveryMode::ExtInt) << 8;
  s_.lvt[kLint1] = static_cast<u32>(DeliveryMode::Nmi) << 8;
  update();
}

u8 LocalApic::ppr() const {
  const u32 in_service = highest_isr_ < 0 ? 0 : static_cast<u32>(highest_isr_);
  const u32 tpr = s_.tpr;
  return static_cast<u8>((tpr & 0xF0) >= (in_service & 0xF0) ? tpr : in_service & 0xF0);
}

bool LocalApic::extint_ready() const {
  if (!pic_) return false;
  if (!enabled()) return s_.lint_level[0];  // The pin is plain INTR then.
  if (s_.extint_latched && s_.lint_level[0]) return true;
  const u32 lvt = s_.lvt[kLint0];
  return s_.lint_level[0] && !(lvt & kLvtMasked) && bits(lvt, 10, 8) == static_cast<u32>(DeliveryMode::ExtInt);
}

bool LocalApic::vector_ready() const { return enabled() && highest_irr_ >= 0 && (highest_irr_ >> 4) > (ppr() >> 4); }

/// Recomputes pending() and tells the processor when it changed. To be called after every change of state.
void LocalApic::update() {
  const bool now = vector_ready() || extint_ready();
  if (now == pending_) return;
  pending_ = now;
  signals_.interrupt_line(now);
}

u8 LocalApic::acknowledge() {
  // The 8259 first: it has no way to be told to wait by the task priority.
  if (extint_ready()) {
    s_.extint_latched = false;
    const u8 vector = pic_->acknowledge();
    update();
    return vector;
  }
  if (!vector_ready()) return static_cast<u8>(s_.svr);
  const u8 vector = static_cast<u8>(highest_irr_);
  s_.irr.clear(vector);
  s_.isr.set(vector);
  highest_isr_ = vector;  // It was eligible, so it is above all that is in service.
  highest_irr_ = s_.irr.highest();
  update();
  // With nothing behind it and nobody to tell of its end, the EOI can be looked for when the next interrupt comes.
  if (lazy_eoi_ != nullptr && highest_irr_ < 0 && !s_.tmr.test(vector)) lazy_eoi_->offer();
  return vector;
}

void LocalApic::set_cr8(u8 value) {
  s_.tpr = static_cast<u32>(value & 0xF) << 4;
  update();
}

bool LocalApic::accept(u8 vector, bool level) {
  if (vector < 16) {
    error(kEsrReceiveIllegalVector);
    return false;
  }
  settle_eoi();
  s_.irr.set(vector);
  if (level)
    s_.tmr.set(vector);
  else
    s_.tmr.clear(vector);
  if (vector > highest_irr_) {
    highest_irr_ = vector;
    update();
  }
  return true;
}

bool LocalApic::receive(const ApicMessage& message) {
  if (!enabled()) return false;
  switch (message.mode) {
    case DeliveryMode::Fixed:
    case DeliveryMode::LowestPriority:
      return accepts_interrupts() && accept(message.vector, message.level_triggered);
    case DeliveryMode::Nmi:
      signals_.nmi();
      return true;
    case DeliveryMode::Init:
      init_signal();
      return true;
    case DeliveryMode::Startup:
      signals_.startup(message.vector);
      return true;
    case DeliveryMode::ExtInt:
      if (!accepts_interrupts()) return false;
      s_.extint_latched = true;
      update();
      return true;
    case DeliveryMode::Smi:  // There is no system management mode.
    case DeliveryMode::Reserved:
      log_.line(LogChannel::Interrupts, "lapic {}: message of delivery mode {} ignored", config_.id,
                static_cast<unsigned>(message.mode));
      return false;
  }
  return false;
}

/// An event at a local source. The pins come here only for their edges.
void LocalApic::deliver_lvt(Lvt which) {
  const u32 lvt = s_.lvt[which];
  if (!enabled() || (lvt & kLvtMasked)) return;
  // The timer and the error entry have no delivery mode field: always fixed.
  const auto mode =
      which == kTimer || which == kError ? DeliveryMode::Fixed : static_cast<DeliveryMode>(bits(lvt, 10, 8));
  switch (mode) {
    case DeliveryMode::Fixed:
      accept(static_cast<u8>(lvt), false);
      break;
    case DeliveryMode::Nmi:
      signals_.nmi();
      break;
    case DeliveryMode::Init:
      init_signal();
      break;
    case DeliveryMode::ExtInt:  // A level that update() looks at.
      break;
    default:
      log_.line(LogChannel::Interrupts, "lapic {}: LVT {:#x} ignored", config_.id, lvt);
  }
}

void LocalApic::lint_changed(unsigned n, bool level) {
  const bool rises = level && !s_.lint_level[n];
  s_.lint_level[n] = level;
  if (!enabled()) {
    if (n == 1 && rises) signals_.nmi();
  } else {
    const u32 lvt = s_.lvt[kLint0 + n];
    const bool level_fixed = n == 0 && (lvt & kLvtLevel) && bits(lvt, 10, 8) == 0;
    if (level_fixed)
      retry_level_lint0();
    else if (rises)
      deliver_lvt(static_cast<Lvt>(kLint0 + n));
  }
  update();
}

/// LINT0 as a level-triggered fixed interrupt: taken while asserted, once per EOI. LINT1 is always an edge.
void LocalApic::retry_level_lint0() {
  u32& lvt = s_.lvt[kLint0];
  if (!s_.lint_level[0] || (lvt & (kLvtMasked | kLvtRemoteIrr)) || !(lvt & kLvtLevel) || bits(lvt, 10, 8) != 0) return;
  if (accept(static_cast<u8>(lvt), true)) lvt |= kLvtRemoteIrr;
}

void LocalApic::end_of_interrupt() {
  if (highest_isr_ < 0) return;
  const u8 vector = static_cast<u8>(highest_isr_);
  s_.isr.clear(vector);
  highest_isr_ = s_.isr.highest();
  if (s_.tmr.test(vector)) {
    if ((s_.lvt[kLint0] & kLvtRemoteIrr) && static_cast<u8>(s_.lvt[kLint0]) == vector) {
      s_.lvt[kLint0] &= ~kLvtRemoteIrr;
      retry_level_lint0();
    }
    if (!bit(s_.svr, 12)) bus_.broadcast_eoi(vector);
  }
  update();
}

/// The first error since the last write to the ESR raises the error interrupt (SDM 3A, Error Handling).
void LocalApic::error(u32 esr_bit) {
  const bool first = s_.esr_pending == 0;
  s_.esr_pending |= esr_bit;
  if (first) deliver_lvt(kError);
}

void LocalApic::sync(StateIo& io) {
  io.section("local_apic");
  io.fields(s_.base, s_.tpr, s_.ldr, s_.dfr, s_.svr, s_.esr, s_.esr_pending);
  io.fields(s_.irr.word, s_.isr.word, s_.tmr.word, s_.icr, s_.lvt);
  io.fields(s_.initial_count, s_.divide, s_.timer_since, s_.timer_count, s_.timer_running);
  io.fields(s_.tsc_deadline, s_.tsc_offset, s_.lint_level[0], s_.lint_level[1], s_.extint_latched);
  if (!io.loading()) return;

  io.limit(s_.tpr, u32{0xFF}, "local_apic: TPR above 255");
  io.limit(s_.svr, u32{0x11FF}, "local_apic: reserved bits set in SVR");
  io.limit(s_.divide, u32{0xB}, "local_apic: reserved bits set in the divide register");
  io.limit(s_.esr, u32{0xFF}, "local_apic: reserved bits set in the ESR");
  io.limit(s_.esr_pending, u32{0xFF}, "local_apic: reserved bits set in the pending ESR");
  for (u32& lvt : s_.lvt) io.limit(lvt, u32{0x7FFFF}, "local_apic: reserved bits set in the LVT");
  io.limit(s_.base, low_mask(config_.physical_address_bits), "local_apic: IA32_APIC_BASE beyond physical memory");
  if (x2apic() && !enabled()) {
    io.damaged("local_apic: x2APIC mode without the enable bit");
    s_.base &= ~kApicBaseX2;
  }
  for (VectorSet* set : {&s_.irr, &s_.isr, &s_.tmr}) {
    if (set->word[0] & 0xFFFF) io.damaged("local_apic: a vector below 16");
    set->word[0] &= ~u64{0xFFFF};
  }
  highest_irr_ = s_.irr.highest();
  highest_isr_ = s_.isr.highest();
  arm_timer();
  // The processor is told in any case: what it believed was another machine's.
  pending_ = vector_ready() || extint_ready();
  signals_.interrupt_line(pending_);
}

}  // namespace callgate
