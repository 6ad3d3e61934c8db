// The reset control register, port 0xCF9, which the FADT names as RESET_REG.
// Ref: Intel 82371SB (PIIX3) datasheet, Reset Control Register.
#pragma once

#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

/// The value that resets the machine when written, for the FADT: SYS_RST and RST_CPU.
constexpr u8 kResetControlValue = 0x06;

class ResetControl final : public BusTarget {
 public:
  explicit ResetControl(PowerControl& power) : power_(power) {}

  u64 read(u64, unsigned) override { return kind_; }
  void write(u64 offset, unsigned, u64 value) override {
    if (offset != 0) return;
    kind_ = value & 0x0A;  // SYS_RST (hard or soft) and FULL_RST; both mean the same here
    if (value & 0x04) power_.request(PowerEvent::Reset, 0);
  }

  void reset() { kind_ = 0; }
  void sync(StateIo& io) {
    io.section("reset_control");
    io.field(kind_);
    io.limit(kind_, u8{0x0A}, "reset_control: reserved bits set");
  }

 private:
  PowerControl& power_;
  u8 kind_ = 0;
};

}  // namespace callgate
