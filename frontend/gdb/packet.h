// GDB's remote protocol on the wire: $payload#checksum, acknowledgements, the interrupt byte. Knows no command. Bytes may be
// anything and come in any pieces; nothing is kept beyond the longest packet that is allowed.
// Ref: Debugging with GDB, appendix "GDB Remote Serial Protocol", Overview.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <string_view>

#include "base/types.h"

namespace callgate::gdb {

/// The longest payload that is taken: what PacketSize says. Longer ones are dropped as damaged.
constexpr std::size_t kMostPayload = 0x10000;

class PacketReader {
 public:
  struct Event {
    enum Kind { Packet, Damaged, Ack, Nack, Interrupt } kind;
    std::string payload;  ///< Packet: with escapes resolved
  };
  void feed(std::span<const u8> bytes);
  bool any() const { return !events_.empty(); }
  Event next();

 private:
  enum class State : u8 { Idle, Payload, Checksum1, Checksum2 };

  std::deque<Event> events_;
  State state_ = State::Idle;
  std::string payload_;
  bool escaped_ = false, damaged_ = false;
  u8 sum_ = 0;
  int digit_ = 0;
};

/// A payload as it goes out, escaped where it must be.
std::string frame(std::string_view payload);

}  // namespace callgate::gdb
