// A wire that several sources pull: asserted while one of them asserts it. Knows neither its sources nor its target.
#pragma once

#include <deque>

#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

class WiredOr {
 public:
  explicit WiredOr(IrqLine& target) : target_(target) {}
  WiredOr(const WiredOr&) = delete;
  WiredOr& operator=(const WiredOr&) = delete;

  /// A new input. It lives as long as this. Make all of them before the first sync().
  IrqLine& input() { return inputs_.emplace_back(*this); }

  /// Which inputs are asserted. A restore pulls no wire: the target's state has its level.
  void sync(StateIo& io) {
    asserted_ = 0;
    for (Input& input : inputs_) {
      io.field(input.level_);
      asserted_ += input.level_ ? 1 : 0;
    }
  }

 private:
  class Input final : public IrqLine {
   public:
    explicit Input(WiredOr& owner) : owner_(owner) {}
    void set(bool level) override {
      if (level == level_) return;
      level_ = level;
      const unsigned before = owner_.asserted_;
      owner_.asserted_ += level ? 1 : -1;
      if ((before == 0) != (owner_.asserted_ == 0)) owner_.target_.set(level);
    }
    bool level_ = false;

   private:
    WiredOr& owner_;
  };

  IrqLine& target_;
  std::deque<Input> inputs_;
  unsigned asserted_ = 0;
};

}  // namespace callgate
