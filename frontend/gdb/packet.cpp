#include "frontend/gdb/packet.h"

#include "frontend/gdb/hex.h"

namespace callgate::gdb {

namespace {
constexpr char kEscape = '}';
constexpr char kEscapeXor = 0x20;
constexpr u8 kInterruptByte = 3;
}  // namespace

void PacketReader::feed(std::span<const u8> bytes) {
  for (const u8 byte : bytes) {
    const char c = static_cast<char>(byte);
    switch (state_) {
      case State::Idle:
        if (c == '$') {
          state_ = State::Payload;
          payload_.clear();
          sum_ = 0;
          escaped_ = damaged_ = false;
        } else if (c == '+') {
          events_.push_back({Event::Ack, {}});
        } else if (c == '-') {
          events_.push_back({Event::Nack, {}});
        } else if (byte == kInterruptByte) {
          events_.push_back({Event::Interrupt, {}});
        }
        break;
      case State::Payload:
        if (c == '#') {
          damaged_ |= escaped_;
          state_ = State::Checksum1;
          break;
        }
        if (c == '$') {  // the rest of the last packet was lost
          payload_.clear();
          sum_ = 0;
          escaped_ = damaged_ = false;
          break;
        }
        sum_ = static_cast<u8>(sum_ + byte);
        if (escaped_) {
          escaped_ = false;
          payload_ += static_cast<char>(c ^ kEscapeXor);
        } else if (c == kEscape) {
          escaped_ = true;
        } else {
          payload_ += c;
        }
        if (payload_.size() > kMostPayload) {
          damaged_ = true;
          payload_.clear();
        }
        break;
      case State::Checksum1:
        digit_ = hex_digit(c);
        state_ = State::Checksum2;
        break;
      case State::Checksum2: {
        const int low = hex_digit(c);
        state_ = State::Idle;
        if (damaged_ || digit_ < 0 || low < 0 || (digit_ << 4 | low) != sum_) events_.push_back({Event::Damaged, {}});
        else events_.push_back({Event::Packet, std::move(payload_)});
        payload_.clear();
        break;
      }
    }
  }
}

PacketReader::Event PacketReader::next() {
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::string frame(std::string_view payload) {
  std::string out = "$";
  out.reserve(payload.size() + 4);
  for (const char c : payload) {
    if (c == '#' || c == '$' || c == '}' || c == '*') {
      out += kEscape;
      out += static_cast<char>(c ^ kEscapeXor);
    } else {
      out += c;
    }
  }
  u8 sum = 0;
  for (const char c : std::string_view(out).substr(1)) sum = static_cast<u8>(sum + static_cast<u8>(c));
  out += '#';
  append_hex(out, std::span(&sum, 1));
  return out;
}

}  // namespace callgate::gdb
