// Port 0x61: the gate of timer counter 2, the speaker's enable bit, and the refresh toggle that old delay loops count.
// Makes no sound.
// Ref: Intel "82371SB PIIX3", NMISC (NMI Status and Control).
#pragma once

#include "base/seam.h"
#include "base/state_io.h"
#include "devices/byte_registers.h"
#include "devices/pit8254.h"

namespace callgate {

class SystemControlB final : public ByteRegisters {
 public:
  SystemControlB(const Clock& clock, Pit8254& pit) : clock_(clock), pit_(pit) {}

  /// True while counter 2's output reaches the speaker.
  bool speaker_enabled() const { return writable_ & 0x02; }
  void reset();
  void sync(StateIo& io);

 private:
  u8 read8(u64 offset) override;
  void write8(u64 offset, u8 value) override;

  const Clock& clock_;
  Pit8254& pit_;
  u8 writable_ = 0;
};

}  // namespace callgate
