// Reading and writing the hexadecimal text of GDB's packets. Packets are hostile input: nothing here throws, reads past the
// end or takes a number that doesn't fit.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace callgate::gdb {

constexpr int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// What is left of a packet, read from its front.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  std::string_view rest() const { return text_; }
  bool at_end() const { return text_.empty(); }
  /// True, and past it, when `prefix` comes next.
  bool take(std::string_view prefix) {
    if (text_.substr(0, prefix.size()) != prefix) return false;
    text_.remove_prefix(prefix.size());
    return true;
  }
  /// A number of 1 to 16 significant hexadecimal digits; nothing is taken when there is none.
  std::optional<u64> number() {
    u64 value = 0;
    std::size_t digits = 0;
    while (digits < text_.size() && hex_digit(text_[digits]) >= 0) {
      if (value >> 60) return std::nullopt;
      value = value << 4 | static_cast<u64>(hex_digit(text_[digits++]));
    }
    if (digits == 0) return std::nullopt;
    text_.remove_prefix(digits);
    return value;
  }
  /// A number and what must follow it.
  std::optional<u64> number_then(std::string_view follower) {
    const auto value = number();
    return value && take(follower) ? value : std::nullopt;
  }
  /// Up to `separator`, which is taken too, or the end.
  std::string_view until(char separator) {
    const std::size_t at = std::min(text_.find(separator), text_.size());
    const std::string_view word = text_.substr(0, at);
    text_.remove_prefix(std::min(at + 1, text_.size()));
    return word;
  }

 private:
  std::string_view text_;
};

/// Pairs of digits as bytes; nothing for anything else.
inline std::optional<std::vector<u8>> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<u8> bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); i++) {
    const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes[i] = static_cast<u8>(high << 4 | low);
  }
  return bytes;
}

inline void append_hex(std::string& text, std::span<const u8> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (const u8 b : bytes) {
    text += kDigits[b >> 4];
    text += kDigits[b & 15];
  }
}
inline std::string to_hex(std::span<const u8> bytes) {
  std::string text;
  append_hex(text, bytes);
  return text;
}
inline std::string to_hex(std::string_view text) {
  return to_hex(std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
}

}  // namespace callgate::gdb
