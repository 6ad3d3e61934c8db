#include "devices/pit8254.h"

#include "devices/timer_state.h"

namespace callgate {

namespace {
constexpr u64 kControl = 3;  // 8254, Control Word Register: A1,A0 = 11
}

Pit8254::Pit8254(Clock& clock, IrqLine& irq) : clock_(clock), irq_(irq) {
  timer_.fire = [this] { on_timer(); };
  reset();
}

void Pit8254::reset() {
  counters_ = {};
  counters_[2].set_gate(false, 0);
  clock_.cancel(timer_);
  irq_level_ = true;
}

u8 Pit8254::read8(u64 offset) { return offset < counters_.size() ? counters_[offset].read(tick()) : u8{0xFF}; }

void Pit8254::write8(u64 offset, u8 value) {
  const PitTick now = tick();
  if (offset < counters_.size()) {
    counters_[offset].write(value, now);
    if (offset == 0) drive_irq();
    return;
  }
  if (offset != kControl) return;
  const unsigned select = value >> 6;
  const u8 access = value >> 4 & 3;
  if (select == 3) {
    read_back(value);
  } else if (access == 0) {
    counters_[select].latch_count(now);
  } else {
    counters_[select].control(access, value >> 1 & 7, value & 1, now);
    if (select == 0) drive_irq();
  }
}

void Pit8254::read_back(u8 command) {
  const PitTick now = tick();
  for (unsigned i = 0; i < counters_.size(); ++i) {
    if (!(command >> (i + 1) & 1)) continue;
    if (!(command & 0x20)) counters_[i].latch_count(now);  // both bits are active low
    if (!(command & 0x10)) counters_[i].latch_status(now);
  }
}

// Brings the line to OUT's level and waits for its next change. In the strobing modes the line is high but for a pulse
// at the strobe's end, the edge that interrupts: one alarm a period instead of two. The strobe's own 838 ns are visible
// in the status, where they are exact.
void Pit8254::drive_irq() {
  const PitTick now = tick();
  const bool level = counters_[0].strobes() || counters_[0].output(now);
  if (level != irq_level_) {
    irq_level_ = level;
    irq_.set(level);
  }
  const PitTick next = counters_[0].next_change(now);
  if (next == kNoTick)
    clock_.cancel(timer_);
  else
    clock_.arm(timer_, pit_tick_time(next));
}

void Pit8254::on_timer() {
  if (counters_[0].strobes()) {
    irq_.set(false);
    irq_.set(true);
  }
  drive_irq();
}

void Pit8254::sync(StateIo& io) {
  io.section("pit8254");
  for (PitCounter& counter : counters_) counter.sync(io);
  io.field(irq_level_);
  sync_timer(io, clock_, timer_);
}

}  // namespace callgate
