#include "paravirt/port_state.h"

#include "paravirt/abi.h"

namespace callgate::paravirt {

void ByteQueue::sync(StateIo& io) {
  std::vector<u8> bytes(bytes_.begin(), bytes_.end());
  io.blob(bytes, most_, "the port's input is longer than its queue");
  bytes_.assign(bytes.begin(), bytes.end());
}

void PortState::sync(StateIo& io, Clock& clock) {
  io.fields(version, features, user_mask, attached, input_vector, input_cpu);
  io.limit(input_cpu, static_cast<u32>(cpu.size() - 1), "the port's input goes to a processor that there is not");
  console.sync(io);
  test.sync(io);
  hooks.sync(io);
  for (auto& p : cpu) {
    u64 timer = p->timer.deadline, wake = p->wake.deadline;
    io.fields(p->ring, p->ring_entries, p->timer_vector, timer, wake, p->slept_at, p->sleeping, p->kicked);
    io.limit(p->ring_entries, abi::kMostRingEntries, "the port's ring is larger than a ring");
    if (!io.loading()) continue;
    clock.cancel(p->timer);
    clock.cancel(p->wake);
    if (timer != kNever) clock.arm(p->timer, timer);
    if (wake != kNever) clock.arm(p->wake, wake);
  }
}

void PortState::reset(Clock& clock) {
  version = features = user_mask = input_cpu = 0;
  attached = false;
  input_vector = 0;
  console.clear();
  test.clear();
  hooks.clear();
  for (auto& p : cpu) {
    clock.cancel(p->timer);
    clock.cancel(p->wake);
    p->ring = p->slept_at = 0;
    p->ring_entries = 0;
    p->timer_vector = 0;
    p->sleeping = p->kicked = false;
  }
}

}  // namespace callgate::paravirt
