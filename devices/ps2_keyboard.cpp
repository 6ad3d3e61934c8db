#include "devices/ps2_keyboard.h"

#include <algorithm>

#include "base/verify.h"

namespace callgate {

namespace {

// PS/2 Hardware Interface Technical Reference, Keyboard: commands from and to the system.
constexpr u8 kSetLeds = 0xED;
constexpr u8 kEcho = 0xEE;
constexpr u8 kScanSet = 0xF0;
constexpr u8 kIdentify = 0xF2;
constexpr u8 kSetRate = 0xF3;
constexpr u8 kEnable = 0xF4;
constexpr u8 kDisable = 0xF5;
constexpr u8 kSetDefaults = 0xF6;
constexpr u8 kResend = 0xFE;
constexpr u8 kReset = 0xFF;

constexpr u8 kAcknowledge = 0xFA;
constexpr u8 kSelfTestPassed = 0xAA;
constexpr u8 kAskAgain = 0xFE;
constexpr u8 kId1 = 0xAB, kId2 = 0x83;

}  // namespace

void Ps2Keyboard::reply(u8 byte) {
  State& s = state_;
  if (s.reply_count < kReplies) s.replies[s.reply_count++] = byte;
}

void Ps2Keyboard::set_defaults() {
  state_.count = 0;
  state_.scan_set = 2;
  state_.awaiting = 0;
}

bool Ps2Keyboard::type(std::span<const u8> set2) {
  State& s = state_;
  if (!s.scanning || set2.size() > kKeys - s.count) return false;
  ScancodeTranslator to_set1;
  for (u8 byte : set2) {
    if (s.scan_set == 1 && !to_set1.translate(byte)) continue;
    s.keys[(s.first + s.count++) % kKeys] = byte;
  }
  return true;
}

u8 Ps2Keyboard::take() {
  State& s = state_;
  VERIFY(has_byte(), "the keyboard has nothing to send");
  if (s.reply_count != 0) {
    s.last_sent = s.replies[0];
    std::copy(s.replies + 1, s.replies + s.reply_count, s.replies);
    s.replies[--s.reply_count] = 0;
  } else {
    s.last_sent = s.keys[s.first];
    s.first = (s.first + 1) % kKeys;
    --s.count;
  }
  return s.last_sent;
}

void Ps2Keyboard::parameter(u8 command, u8 byte) {
  State& s = state_;
  switch (command) {
    case kSetLeds:
      s.leds = byte & 7;
      break;
    case kScanSet:
      if (byte == 0) {
        reply(kAcknowledge);
        reply(s.scan_set);
        return;
      }
      if (byte > 2) {  // set 3 is optional, and drivers ask before they use it
        reply(kAskAgain);
        return;
      }
      s.scan_set = byte;
      break;
    default:  // the typematic rate: repeats come from the host's keyboard
      break;
  }
  reply(kAcknowledge);
}

void Ps2Keyboard::command(u8 byte) {
  State& s = state_;
  const u8 awaiting = s.awaiting;
  s.awaiting = 0;
  if (awaiting != 0 && byte < kSetLeds) return parameter(awaiting, byte);  // else: a new command instead of it
  if (byte != kResend) s.reply_count = 0;  // a command cuts the answer to an earlier one short
  switch (byte) {
    case kSetLeds:
    case kScanSet:
    case kSetRate:
      s.awaiting = byte;
      reply(kAcknowledge);
      break;
    case kEcho:
      reply(kEcho);
      break;
    case kIdentify:
      reply(kAcknowledge);
      reply(kId1);
      reply(kId2);
      break;
    case kEnable:
      s.count = 0;
      s.scanning = true;
      reply(kAcknowledge);
      break;
    case kDisable:
      set_defaults();
      s.scanning = false;
      reply(kAcknowledge);
      break;
    case kSetDefaults:
      set_defaults();
      s.scanning = true;
      reply(kAcknowledge);
      break;
    case kResend:
      reply(s.last_sent);
      break;
    case kReset:
      s = State{};
      reply(kAcknowledge);
      reply(kSelfTestPassed);
      break;
    default:
      reply(kAskAgain);
  }
}

void Ps2Keyboard::sync(StateIo& io) {
  State& s = state_;
  io.fields(s.keys, s.first, s.count, s.replies, s.reply_count, s.awaiting, s.scan_set, s.leds, s.last_sent,
            s.scanning);
  io.limit(s.first, u8{kKeys - 1}, "keyboard: no such place in its buffer");
  io.limit(s.count, u8{kKeys}, "keyboard: more keys than its buffer holds");
  io.limit(s.reply_count, u8{kReplies}, "keyboard: more replies than there can be");
  io.limit(s.scan_set, u8{2}, "keyboard: no such scan code set");
  if (io.loading() && s.scan_set == 0) s.scan_set = 2;
}

}  // namespace callgate
