// The gate of address line 20: open while port 0x92 or the keyboard controller opens it. Knows no memory.
// Ref: Intel "82371SB PIIX3", A20M# signal.
#pragma once

#include <functional>

#include "base/state_io.h"

namespace callgate {

class A20Gate {
 public:
  /// `changed` hears of every change of the line, and of its level after a restore. At power-on the line passes: the
  /// keyboard controller's output starts high.
  explicit A20Gate(std::function<void(bool passes)> changed) : changed_(std::move(changed)) {}

  void set_port92(bool on) { set(port92_, on); }
  void set_keyboard_controller(bool on) { set(keyboard_controller_, on); }
  bool passes() const { return port92_ || keyboard_controller_; }

  void sync(StateIo& io) {
    io.section("a20_gate");
    io.fields(port92_, keyboard_controller_);
    if (io.loading()) changed_(passes());
  }

 private:
  void set(bool& input, bool on) {
    const bool before = passes();
    input = on;
    if (passes() != before) changed_(passes());
  }

  std::function<void(bool)> changed_;
  bool port92_ = false;
  bool keyboard_controller_ = true;
};

}  // namespace callgate
