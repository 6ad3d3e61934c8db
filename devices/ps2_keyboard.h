// A PS/2 keyboard: the commands that drivers send it and the bytes that it sends. Knows neither controller nor host
// keys. Ref: IBM "PS/2 Hardware Interface Technical Reference", Keyboards.
#pragma once

#include <span>

#include "base/state_io.h"
#include "devices/scancodes.h"

namespace callgate {

class Ps2Keyboard {
 public:
  static constexpr unsigned kKeys = 64;
  static constexpr unsigned kReplies = 8;

  struct State {
    u8 keys[kKeys] = {};  ///< bytes typed, a ring
    u8 first = 0;
    u8 count = 0;
    u8 replies[kReplies] = {};  ///< answers to commands, the oldest first: they go before keys
    u8 reply_count = 0;
    u8 awaiting = 0;   ///< the command whose parameter comes next, or 0
    u8 scan_set = 2;   ///< 1 or 2
    u8 leds = 0;       ///< bit 0 scroll lock, 1 num lock, 2 caps lock
    u8 last_sent = 0;  ///< for "resend"
    bool scanning = true;
  };

  /// A byte from the controller: a command or its parameter.
  void command(u8 byte);
  /// Types keys, as set 2 bytes. False, and nothing typed, without room or while the guest has switched scanning off.
  bool type(std::span<const u8> set2);
  bool has_byte() const { return state_.reply_count != 0 || state_.count != 0; }
  /// The next byte on the wire; only when has_byte().
  u8 take();
  u8 leds() const { return state_.leds; }
  void reset() { state_ = State{}; }
  void sync(StateIo& io);

 private:
  void reply(u8 byte);
  void parameter(u8 command, u8 byte);
  void set_defaults();

  State state_;
};

}  // namespace callgate
