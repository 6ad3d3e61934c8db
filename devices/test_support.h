// Stand-ins for the board, for the devices' tests: a clock moved by hand, wires and sinks that remember.
// Knows no device.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/seam.h"
#include "base/state_io.h"

namespace callgate::test {

/// A clock that stands still until it is advanced. Alarms fire at their own deadlines, in the board's order.
class FakeClock final : public Clock {
 public:
  u64 now() const override { return now_; }
  void arm(Timer& timer, u64 deadline) override {
    cancel(timer);
    timer.deadline = deadline;
    if (deadline != kNever) armed_.push_back(&timer);
  }
  void cancel(Timer& timer) override {
    std::erase(armed_, &timer);
    timer.deadline = kNever;
  }
  /// Moves to `now() + ns`, firing all that becomes due on the way.
  void advance(u64 ns) { advance_to(now_ + ns); }
  void advance_to(u64 target) {
    while (Timer* next = first()) {
      if (next->deadline > target) break;
      now_ = std::max(now_, next->deadline);
      cancel(*next);
      next->fire();
    }
    now_ = target;
  }
  /// Sets the time without firing anything: as a restored machine starts.
  void jump_to(u64 now) { now_ = now; }
  /// The nearest deadline, or kNever.
  u64 next_deadline() const {
    const Timer* next = first();
    return next ? next->deadline : kNever;
  }

 private:
  Timer* first() const {
    const auto sooner = [](const Timer* a, const Timer* b) {
      return std::pair(a->deadline, a->order) < std::pair(b->deadline, b->order);
    };
    const auto it = std::min_element(armed_.begin(), armed_.end(), sooner);
    return it == armed_.end() ? nullptr : *it;
  }

  u64 now_ = 0;
  std::vector<Timer*> armed_;
};

/// A wire that remembers its level and counts its rising edges.
class RecordingLine final : public IrqLine {
 public:
  void set(bool level) override {
    rises += level && !this->level;
    falls += !level && this->level;
    this->level = level;
  }
  bool level = false;
  unsigned rises = 0;
  unsigned falls = 0;
};

/// Keeps every byte that left the machine.
class RecordingSink final : public ByteSink {
 public:
  void write(std::span<const u8> bytes) override { text.append(bytes.begin(), bytes.end()); }
  std::string text;
};

/// Keeps every power request.
class FakePower final : public PowerControl {
 public:
  void request(PowerEvent event, u32 code) override { requests.emplace_back(event, code); }
  std::vector<std::pair<PowerEvent, u32>> requests;
};

/// A few KiB of guest memory from address 0.
class FakeMemory final : public DmaMemory {
 public:
  explicit FakeMemory(std::size_t size) : data(size) {}
  void read(u64 physical, std::span<u8> out) override {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = physical < data.size() && i < data.size() - physical ? data[physical + i] : 0xFF;
  }
  void write(u64 physical, std::span<const u8> in) override {
    for (std::size_t i = 0; i < in.size(); ++i)
      if (physical < data.size() && i < data.size() - physical) data[physical + i] = in[i];
  }
  std::vector<u8> data;
};

/// The bytes that a device's `sync` writes.
template <class Device>
std::vector<u8> saved(Device& device) {
  StateWriter writer;
  device.sync(writer);
  return writer.take();
}

/// Restores `device` from `bytes`; the message of the first problem, empty when all was good.
template <class Device>
std::string restored(Device& device, const std::vector<u8>& bytes) {
  StateReader reader{bytes};
  device.sync(reader);
  if (reader.good() && !reader.at_end()) return "bytes left over";
  return reader.error();
}

}  // namespace callgate::test
