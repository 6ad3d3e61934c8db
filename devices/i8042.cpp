#include "devices/i8042.h"

#include <algorithm>

#include "devices/timer_state.h"

namespace callgate {

namespace {

// PS/2 Hardware Interface Technical Reference, Controller: status register.
constexpr u8 kOutputFull = 0x01;
constexpr u8 kSystemFlag = 0x04;
constexpr u8 kLastWasCommand = 0x08;
constexpr u8 kNotLocked = 0x10;
constexpr u8 kAuxData = 0x20;
constexpr u8 kTimeout = 0x40;
// ... configuration byte (controller command byte).
constexpr u8 kKeyboardInterrupt = 0x01;
constexpr u8 kAuxInterrupt = 0x02;
constexpr u8 kConfigSystemFlag = 0x04;
constexpr u8 kKeyboardDisabled = 0x10;
constexpr u8 kAuxDisabled = 0x20;
constexpr u8 kTranslate = 0x40;
// What firmware leaves to an operating system: keyboard with interrupt and translation, no mouse.
constexpr u8 kFirmwareConfiguration = kKeyboardInterrupt | kConfigSystemFlag | kAuxDisabled | kTranslate;
// ... output port.
constexpr u8 kNoReset = 0x01;
constexpr u8 kA20 = 0x02;
constexpr u8 kOutputIrq1 = 0x10;
constexpr u8 kOutputIrq12 = 0x20;
// ... commands.
constexpr u8 kWriteOutputPort = 0xD1;
constexpr u8 kWriteKeyboardBuffer = 0xD2;
constexpr u8 kWriteAuxBuffer = 0xD3;
constexpr u8 kWriteAuxDevice = 0xD4;

constexpr u8 kNoAnswer = 0xFE;

// A byte takes a keyboard about a millisecond. Enough of that is kept for the interrupt line to be seen low and for a
// handler that reads twice to read the same byte twice; the rest would only slow the guest's polling loops down.
constexpr u64 kByteGap = 20'000;

}  // namespace

I8042::I8042(Clock& clock, IrqLine& keyboard_irq, IrqLine& aux_irq, A20Gate& gate, PowerControl& power)
    : clock_(clock), keyboard_irq_(keyboard_irq), aux_irq_(aux_irq), gate_(gate), power_(power) {
  timer_.fire = [this] { pump(); };
  configuration() = kFirmwareConfiguration;
}

void I8042::reset() {
  clock_.cancel(timer_);
  state_ = State{};
  configuration() = kFirmwareConfiguration;
  keyboard_.reset();
  translator_ = {};
  gate_.set_keyboard_controller(true);
  update_irqs();
}

bool I8042::key(std::span<const u8> set2) {
  const bool typed = keyboard_.type(set2);
  pump();
  return typed;
}

// The output buffer -----------------------------------------------------------------------------------------------

void I8042::update_irqs() {
  const bool full = state_.status & kOutputFull;
  const bool aux = state_.status & kAuxData;
  keyboard_irq_.set(full && !aux && (configuration() & kKeyboardInterrupt));
  aux_irq_.set(full && aux && (configuration() & kAuxInterrupt));
}

void I8042::present(u8 byte, u8 flags) {
  state_.data = byte;
  state_.status = static_cast<u8>((state_.status & ~(kAuxData | kTimeout)) | flags | kOutputFull);
  update_irqs();
}

void I8042::reply(u8 byte, u8 flags) {
  State& s = state_;
  if (s.reply_count == kReplies) return;  // the guest sends commands and reads no answers
  s.replies[s.reply_count] = byte;
  s.reply_flags[s.reply_count] = flags;
  ++s.reply_count;
}

// Fills the output buffer from what waits: the controller's own answers first, then the keyboard.
void I8042::pump() {
  State& s = state_;
  if (s.status & kOutputFull) return;
  if (s.reply_count != 0) {
    const u8 byte = s.replies[0], flags = s.reply_flags[0];
    --s.reply_count;
    std::copy(s.replies + 1, s.replies + 1 + s.reply_count, s.replies);
    std::copy(s.reply_flags + 1, s.reply_flags + 1 + s.reply_count, s.reply_flags);
    return present(byte, flags);
  }
  while (keyboard_.has_byte() && !(configuration() & kKeyboardDisabled)) {
    if (clock_.now() < s.quiet_until) {
      clock_.arm(timer_, s.quiet_until);
      return;
    }
    u8 byte = keyboard_.take();
    if (!(configuration() & kTranslate) || translator_.translate(byte)) return present(byte, 0);
  }
}

u8 I8042::read_data() {
  State& s = state_;
  if (s.status & kOutputFull) {
    s.status &= static_cast<u8>(~kOutputFull);
    update_irqs();
    s.quiet_until = clock_.now() + kByteGap;
    const u8 byte = s.data;
    pump();
    return byte;
  }
  return s.data;
}

u8 I8042::read_status() const { return state_.status | (configuration() & kConfigSystemFlag ? kSystemFlag : u8{0}); }

// Commands --------------------------------------------------------------------------------------------------------

void I8042::set_output_port(u8 value) {
  state_.output_port = value & static_cast<u8>(~(kOutputIrq1 | kOutputIrq12));
  gate_.set_keyboard_controller(value & kA20);
  if (!(value & kNoReset)) {
    state_.output_port |= kNoReset;
    power_.request(PowerEvent::Reset, 0);
  }
}

void I8042::write_command(u8 command) {
  State& s = state_;
  s.status |= kLastWasCommand;
  s.awaiting = 0;
  switch (command) {
    case 0xA4:  // is a password installed? no
      reply(0xF1);
      break;
    case 0xA7:
      configuration() |= kAuxDisabled;
      break;
    case 0xA8:
      configuration() &= static_cast<u8>(~kAuxDisabled);
      break;
    case 0xA9:  // test the auxiliary port's wires
    case 0xAB:  // test the keyboard port's wires
      reply(0x00);
      break;
    case 0xAA:  // self-test
      configuration() |= kConfigSystemFlag;
      reply(0x55);
      break;
    case 0xAD:
      configuration() |= kKeyboardDisabled;
      break;
    case 0xAE:
      configuration() &= static_cast<u8>(~kKeyboardDisabled);
      break;
    case 0xC0:  // input port: the key lock is open
      reply(0x80);
      break;
    case 0xD0: {
      u8 value = s.output_port;
      if (s.status & kOutputFull) value |= s.status & kAuxData ? kOutputIrq12 : kOutputIrq1;
      reply(value);
      break;
    }
    case kWriteOutputPort:
    case kWriteKeyboardBuffer:
    case kWriteAuxBuffer:
    case kWriteAuxDevice:
      s.awaiting = command;
      break;
    case 0xDD:  // A20 off and on without a parameter, as many chipsets have it
    case 0xDF:
      set_output_port(static_cast<u8>(command == 0xDF ? s.output_port | kA20 : s.output_port & ~kA20));
      break;
    case 0xE0:  // test inputs: no clock is held low
      reply(0x00);
      break;
    default:
      if (command >= 0x20 && command < 0x40)
        reply(s.ram[command & 0x1F]);
      else if (command >= 0x60 && command < 0x80)
        s.awaiting = command;
      else if (command >= 0xF0 && !(command & kNoReset))  // pulses the output lines whose bits are clear
        power_.request(PowerEvent::Reset, 0);
  }
  pump();
}

void I8042::parameter(u8 command, u8 value) {
  State& s = state_;
  switch (command) {
    case kWriteOutputPort:
      set_output_port(value);
      break;
    case kWriteKeyboardBuffer:
      reply(value);
      break;
    case kWriteAuxBuffer:
      reply(value, kAuxData);
      break;
    case kWriteAuxDevice:  // nothing is plugged in: at once what else would come after a timeout
      reply(kNoAnswer, kAuxData | kTimeout);
      break;
    default:
      s.ram[command & 0x1F] = value;
      update_irqs();
  }
}

void I8042::write_data(u8 value) {
  State& s = state_;
  s.status &= static_cast<u8>(~kLastWasCommand);
  const u8 command = s.awaiting;
  s.awaiting = 0;
  if (command != 0) {
    parameter(command, value);
  } else {
    configuration() &= static_cast<u8>(~kKeyboardDisabled);  // sending to the keyboard turns its clock on
    keyboard_.command(value);
  }
  pump();
}

u8 I8042::Port::read8(u64 offset) {
  if (offset != 0) return 0xFF;
  return command_ ? owner_.read_status() : owner_.read_data();
}

void I8042::Port::write8(u64 offset, u8 value) {
  if (offset != 0) return;
  if (command_)
    owner_.write_command(value);
  else
    owner_.write_data(value);
}

void I8042::sync(StateIo& io) {
  io.section("i8042");
  State& s = state_;
  io.fields(s.ram, s.output_port, s.data, s.status, s.awaiting, s.replies, s.reply_flags, s.reply_count, s.quiet_until,
            translator_.breaking);
  io.limit(s.reply_count, u8{kReplies}, "8042: more replies than there can be");
  if (io.loading()) {
    s.status = static_cast<u8>((s.status & (kOutputFull | kLastWasCommand | kAuxData | kTimeout)) | kNotLocked);
    for (u8& flags : s.reply_flags) flags &= kAuxData | kTimeout;
  }
  keyboard_.sync(io);
  sync_timer(io, clock_, timer_);
}

}  // namespace callgate
