// Port 0x92, System Control Port A: the fast A20 gate and the fast reset. Knows the gate and the board's reset, no
// more. Ref: IBM "PS/2 Hardware Interface Technical Reference", System Control Port A; Intel "82371SB PIIX3".
#pragma once

#include "base/seam.h"
#include "devices/a20_gate.h"
#include "devices/byte_registers.h"

namespace callgate {

class Port92 final : public ByteRegisters {
 public:
  Port92(A20Gate& gate, PowerControl& power) : gate_(gate), power_(power) {}

  void reset();
  void sync(StateIo& io);

 private:
  u8 read8(u64 offset) override { return offset == 0 ? value_ : u8{0xFF}; }
  void write8(u64 offset, u8 value) override;

  A20Gate& gate_;
  PowerControl& power_;
  u8 value_ = 0;
};

}  // namespace callgate
