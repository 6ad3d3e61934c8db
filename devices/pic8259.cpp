#include "devices/pic8259.h"

#include <bit>

#include "base/bits.h"
#include "base/verify.h"

namespace callgate {

namespace {

// 8259A, Initialization Command Words.
constexpr u8 kIcw1 = 0x10;  // at A0=0, tells ICW1 from the OCWs
constexpr u8 kIcw1NeedsIcw4 = 0x01;
constexpr u8 kIcw1Single = 0x02;
constexpr u8 kIcw1Level = 0x08;
constexpr u8 kIcw4AutoEoi = 0x02;
constexpr u8 kIcw4FullyNested = 0x10;
// 8259A, Operation Command Words.
constexpr u8 kOcw3 = 0x08;  // at A0=0, tells OCW3 from OCW2
constexpr u8 kOcw3Poll = 0x04;
constexpr u8 kOcw3EnableReadSelect = 0x02;
constexpr u8 kOcw3ReadIsr = 0x01;
constexpr u8 kOcw3EnableMaskMode = 0x40;
constexpr u8 kOcw3MaskMode = 0x20;

constexpr unsigned kCascadeInput = 2;
constexpr unsigned kSpurious = 7;

// PIIX3, ELCR1 and ELCR2: the timer, the keyboard, the cascade, the RTC and the FPU are edge-triggered for ever.
constexpr u8 kElcrMaster = 0xF8;
constexpr u8 kElcrSlave = 0xDE;

constexpr u8 mask_of(unsigned irq) { return static_cast<u8>(1u << irq); }

}  // namespace

// One chip --------------------------------------------------------------------------------------------------------

u8 Pic8259::level_triggered() const {
  // The slave's INT is a level to us whatever the mode: it drops with the slave's last request, so no edge is left
  // over.
  return static_cast<u8>((state_.level_mode ? 0xFF : state_.elcr) | cascade_);
}

u8 Pic8259::requests() const {
  const u8 level = level_triggered();
  return static_cast<u8>((state_.lines & level) | (state_.edges & ~level));
}

void Pic8259::set_line(unsigned irq, bool level) {
  const u8 mask = mask_of(irq);
  // DEVIATION: the chip forgets an edge whose input drops before INTA and answers with input 7. The edge is kept here,
  // as chipsets' later controllers keep it: an interrupt sent as a pulse is never lost.
  if (level && !(state_.lines & mask)) state_.edges |= mask;
  state_.lines = static_cast<u8>(level ? state_.lines | mask : state_.lines & ~mask);
}

int Pic8259::first_by_priority(u8 set) const {
  if (set == 0) return -1;
  const unsigned first = (state_.lowest + 1) & 7;
  const u8 rotated = std::rotr(set, static_cast<int>(first));
  return static_cast<int>((first + static_cast<unsigned>(std::countr_zero(rotated))) & 7);
}

int Pic8259::highest() const {
  // Between ICW1 and the last ICW the vectors are not known yet.
  if (!state_.programmed || state_.next_icw != 0) return -1;
  const int request = first_by_priority(static_cast<u8>(requests() & ~state_.imr));
  if (request < 0) return -1;
  // Special mask mode: a level in service that is masked holds nobody back.
  const u8 holding = static_cast<u8>(state_.special_mask ? state_.isr & ~state_.imr : state_.isr);
  const int serving = first_by_priority(holding);
  if (serving < 0) return request;
  // Special fully nested mode: a slave in service is not locked out by itself; it has sorted out its own priorities.
  if (request == serving)
    return state_.fully_nested && (cascade_ & mask_of(static_cast<unsigned>(request))) ? request : -1;
  return priority(static_cast<unsigned>(request)) < priority(static_cast<unsigned>(serving)) ? request : -1;
}

unsigned Pic8259::take() {
  const int request = highest();
  if (request < 0) return kSpurious;
  const unsigned irq = static_cast<unsigned>(request);
  state_.edges &= static_cast<u8>(~mask_of(irq));
  if (!state_.auto_eoi)
    state_.isr |= mask_of(irq);
  else if (state_.rotate_auto_eoi)
    state_.lowest = static_cast<u8>(irq);
  return irq;
}

u8 Pic8259::read(bool a0) {
  if (state_.poll) {
    state_.poll = false;
    const int request = highest();
    return request < 0 ? u8{0} : static_cast<u8>(0x80 | take());
  }
  if (a0) return state_.imr;
  return state_.read_isr ? state_.isr : requests();
}

void Pic8259::start_initialisation(u8 icw1) {
  const State old = state_;
  state_ = State{};
  // An input that is high already must fall and rise again: its edge was before the initialisation.
  state_.lines = old.lines;
  state_.elcr = old.elcr;
  state_.programmed = true;
  state_.needs_icw4 = icw1 & kIcw1NeedsIcw4;
  state_.single = icw1 & kIcw1Single;
  state_.level_mode = icw1 & kIcw1Level;
  state_.next_icw = 2;
}

void Pic8259::operation(u8 ocw2) {
  const unsigned level = ocw2 & 7;
  // Without special mask mode every level counts; with it, a masked one is not the one that ends.
  const u8 ending = static_cast<u8>(state_.special_mask ? state_.isr & ~state_.imr : state_.isr);
  switch (ocw2 >> 5) {
    case 0:  // rotate in automatic EOI mode: clear
    case 4:  // ... set
      state_.rotate_auto_eoi = ocw2 & 0x80;
      break;
    case 1:  // non-specific EOI
    case 5:  // ... and rotate
      if (const int served = first_by_priority(ending); served >= 0) {
        state_.isr &= static_cast<u8>(~mask_of(static_cast<unsigned>(served)));
        if (ocw2 & 0x80) state_.lowest = static_cast<u8>(served);
      }
      break;
    case 3:  // specific EOI
    case 7:  // ... and rotate
      state_.isr &= static_cast<u8>(~mask_of(level));
      if (ocw2 & 0x80) state_.lowest = static_cast<u8>(level);
      break;
    case 6:  // set priority
      state_.lowest = static_cast<u8>(level);
      break;
    default:  // 2: no operation
      break;
  }
}

void Pic8259::write(bool a0, u8 value) {
  if (!a0) {
    if (value & kIcw1) {
      start_initialisation(value);
    } else if (value & kOcw3) {
      if (value & kOcw3EnableReadSelect) state_.read_isr = value & kOcw3ReadIsr;
      if (value & kOcw3EnableMaskMode) state_.special_mask = value & kOcw3MaskMode;
      state_.poll = value & kOcw3Poll;
    } else {
      operation(value);
    }
    return;
  }
  switch (state_.next_icw) {
    case 2:
      state_.vector_base = value & 0xF8;
      state_.next_icw = !state_.single ? 3 : state_.needs_icw4 ? 4 : 0;
      break;
    case 3:  // which input is the slave's: fixed by the board's wires
      state_.next_icw = state_.needs_icw4 ? 4 : 0;
      break;
    case 4:
      state_.auto_eoi = value & kIcw4AutoEoi;
      state_.fully_nested = value & kIcw4FullyNested;
      state_.next_icw = 0;
      break;
    default:
      state_.imr = value;
  }
}

void Pic8259::set_elcr(u8 value) { state_.elcr = value & elcr_writable_; }

void Pic8259::reset() {
  const u8 lines = state_.lines;
  state_ = State{};
  state_.lines = lines;
}

void Pic8259::sync(StateIo& io) {
  State& s = state_;
  io.fields(s.lines, s.edges, s.imr, s.isr, s.elcr, s.vector_base, s.lowest, s.next_icw);
  io.fields(s.programmed, s.needs_icw4, s.single, s.level_mode, s.auto_eoi, s.fully_nested, s.rotate_auto_eoi,
            s.special_mask, s.read_isr, s.poll);
  io.limit(s.lowest, u8{7}, "8259: the lowest priority is not an input");
  io.limit(s.next_icw, u8{4}, "8259: no such initialisation word");
  if (io.loading()) {
    s.vector_base &= 0xF8;
    s.elcr &= elcr_writable_;
  }
}

// The pair --------------------------------------------------------------------------------------------------------

Pic8259Pair::Pic8259Pair(IrqLine& intr)
    : intr_(intr),
      master_(mask_of(kCascadeInput), kElcrMaster),
      slave_(0, kElcrSlave),
      master_ports_(*this, master_),
      slave_ports_(*this, slave_),
      elcr_ports_(*this) {
  for (unsigned irq = 0; irq < inputs_.size(); ++irq) {
    inputs_[irq].owner = this;
    inputs_[irq].irq = irq;
  }
}

IrqLine& Pic8259Pair::line(unsigned irq) {
  VERIFY(irq < inputs_.size() && irq != kCascadeInput, "not an input of the 8259 pair");
  return inputs_[irq];
}

void Pic8259Pair::set_line(unsigned irq, bool level) {
  if (irq < 8)
    master_.set_line(irq, level);
  else
    slave_.set_line(irq - 8, level);
  update();
}

void Pic8259Pair::update() {
  master_.set_line(kCascadeInput, slave_.highest() >= 0);
  intr_.set(pending());
}

u8 Pic8259Pair::acknowledge() {
  const unsigned irq = master_.take();
  const u8 vector = irq == kCascadeInput ? slave_.vector(slave_.take()) : master_.vector(irq);
  update();
  return vector;
}

void Pic8259Pair::reset() {
  master_.reset();
  slave_.reset();
  update();
}

void Pic8259Pair::sync(StateIo& io) {
  io.section("pic8259");
  master_.sync(io);
  slave_.sync(io);
}

u8 Pic8259Pair::ChipPorts::read8(u64 offset) {
  if (offset > 1) return 0xFF;
  const u8 value = chip_.read(offset == 1);
  owner_.update();  // a poll is an acknowledge
  return value;
}

void Pic8259Pair::ChipPorts::write8(u64 offset, u8 value) {
  if (offset > 1) return;
  chip_.write(offset == 1, value);
  owner_.update();
}

u8 Pic8259Pair::ElcrPorts::read8(u64 offset) {
  if (offset > 1) return 0xFF;
  return offset == 0 ? owner_.master_.elcr() : owner_.slave_.elcr();
}

void Pic8259Pair::ElcrPorts::write8(u64 offset, u8 value) {
  if (offset > 1) return;
  (offset == 0 ? owner_.master_ : owner_.slave_).set_elcr(value);
  owner_.update();
}

}  // namespace callgate
