#include "devices/port92.h"

namespace callgate {

namespace {
constexpr u8 kFastReset = 0x01;
constexpr u8 kA20 = 0x02;
}  // namespace

void Port92::write8(u64 offset, u8 value) {
  if (offset != 0) return;
  const u8 rising = value & ~value_;
  value_ = value;
  gate_.set_port92(value & kA20);
  if (rising & kFastReset) power_.request(PowerEvent::Reset, 0);
}

void Port92::reset() {
  value_ = 0;
  gate_.set_port92(false);
}

void Port92::sync(StateIo& io) {
  io.section("port92");
  io.field(value_);
}

}  // namespace callgate
