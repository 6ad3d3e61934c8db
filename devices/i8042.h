// The keyboard controller at ports 0x60 and 0x64 with a keyboard on its first port and nothing on its second. Gates A20
// and resets the board through its output port. Knows no host keyboard.
// Ref: IBM "PS/2 Hardware Interface Technical Reference", Keyboard and Auxiliary Device Controller; Intel "UPI-42AH".
#pragma once

#include <span>

#include "base/seam.h"
#include "base/state_io.h"
#include "devices/a20_gate.h"
#include "devices/byte_registers.h"
#include "devices/ps2_keyboard.h"

namespace callgate {

class I8042 {
 public:
  static constexpr unsigned kReplies = 4;

  struct State {
    u8 ram[32] = {};                ///< the controller's RAM; byte 0 is the configuration
    u8 output_port = 0xCF;          ///< reset and A20 high, as at power-on
    u8 data = 0;                    ///< the output buffer
    u8 status = 0x18;               ///< the status register without SYS: not locked, the last write was a command
    u8 awaiting = 0;                ///< the command whose parameter is the next write to 0x60, or 0
    u8 replies[kReplies] = {};      ///< the controller's own answers, the oldest first
    u8 reply_flags[kReplies] = {};  ///< the status bits that each comes with
    u8 reply_count = 0;
    u64 quiet_until = 0;  ///< the keyboard's next byte comes no sooner (guest ns)
  };

  /// `keyboard_irq` is input 1 and `aux_irq` input 12 of a PC.
  I8042(Clock& clock, IrqLine& keyboard_irq, IrqLine& aux_irq, A20Gate& gate, PowerControl& power);
  ~I8042() { clock_.cancel(timer_); }
  I8042(const I8042&) = delete;
  I8042& operator=(const I8042&) = delete;

  BusTarget& data_port() { return data_port_; }        ///< one port, at 0x60
  BusTarget& command_port() { return command_port_; }  ///< one port, at 0x64

  /// Types keys: scan codes of set 2, as PS/2 keyboards send them (see set2_from_set1). The guest reads set 1 unless it
  /// turns the translation off. False, and nothing typed, when the keyboard's buffer is full or scanning is off.
  bool key(std::span<const u8> set2);
  /// Bit 0 scroll lock, 1 num lock, 2 caps lock.
  u8 leds() const { return keyboard_.leds(); }

  Timer& timer() { return timer_; }
  void reset();
  void sync(StateIo& io);

 private:
  class Port final : public ByteRegisters {
   public:
    Port(I8042& owner, bool command) : owner_(owner), command_(command) {}

   private:
    u8 read8(u64 offset) override;
    void write8(u64 offset, u8 value) override;
    I8042& owner_;
    bool command_;
  };

  u8 read_data();
  u8 read_status() const;
  void write_data(u8 value);
  void write_command(u8 command);
  void parameter(u8 command, u8 value);
  void set_output_port(u8 value);
  void reply(u8 byte, u8 flags = 0);
  void present(u8 byte, u8 flags);
  void pump();
  void update_irqs();
  u8& configuration() { return state_.ram[0]; }
  u8 configuration() const { return state_.ram[0]; }

  Clock& clock_;
  IrqLine& keyboard_irq_;
  IrqLine& aux_irq_;
  A20Gate& gate_;
  PowerControl& power_;
  Timer timer_;
  Ps2Keyboard keyboard_;
  ScancodeTranslator translator_;
  State state_;
  Port data_port_{*this, false};
  Port command_port_{*this, true};
};

}  // namespace callgate
