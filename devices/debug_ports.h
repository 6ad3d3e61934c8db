// The ports through which firmware and test kernels talk to people: POST codes, the debug console and debug exit.
// Know where the words go, not what they mean.
// Ref: IBM AT, port 80h; Bochs's port E9 hack; QEMU's isa-debug-exit device.
#pragma once

#include "base/log.h"
#include "base/seam.h"
#include "base/state_io.h"
#include "devices/byte_registers.h"

namespace callgate {

/// Port 0x80: keeps and logs the last progress code. Linux writes here for a short delay, which costs nothing.
class PostPort final : public ByteRegisters {
 public:
  explicit PostPort(Log& log) : log_(log) {}
  u8 code() const { return code_; }
  void reset() { code_ = 0; }
  void sync(StateIo& io) {
    io.section("post_port");
    io.field(code_);
  }

 private:
  u8 read8(u64 offset) override { return offset == 0 ? code_ : u8{0xFF}; }
  void write8(u64 offset, u8 value) override {
    if (offset != 0) return;
    if (value != code_) log_.line(LogChannel::Boot, "POST code {:02x}", value);
    code_ = value;
  }

  Log& log_;
  u8 code_ = 0;
};

/// Port 0xE9: every byte written leaves the machine; it reads 0xE9, by which guests find it.
class DebugConsole final : public ByteRegisters {
 public:
  explicit DebugConsole(ByteSink& sink) : sink_(sink) {}

 private:
  u8 read8(u64 offset) override { return offset == 0 ? u8{0xE9} : u8{0xFF}; }
  void write8(u64 offset, u8 value) override {
    if (offset == 0) sink_.write({&value, 1});
  }

  ByteSink& sink_;
};

/// Port 0xF4 (four ports): a write ends the run with the exit status (value << 1) | 1, never zero.
class DebugExit final : public BusTarget {
 public:
  explicit DebugExit(PowerControl& power) : power_(power) {}
  u64 read(u64, unsigned) override { return 0; }
  void write(u64, unsigned, u64 value) override {
    power_.request(PowerEvent::DebugExit, static_cast<u32>(value) << 1 | 1);
  }

 private:
  PowerControl& power_;
};

}  // namespace callgate
