// The one way in for what is not computed. Every input is stamped with the count and the guest time at which the machine
// took it, and kept in order: this is the journal that a recording holds. The same journal given back makes a replay:
// each record is delivered at its own moment again, and nothing else is let in before the journal is over.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <span>
#include <vector>

#include "base/types.h"

namespace callgate {

/// Where an input goes.
enum class InputChannel : u8 {
  Serial,  ///< the console: COM1, or what the guest has put in its place
  Test,    ///< what a guest that is a test asks for (paravirt/ABI.md, GET_INPUT)
  State,   ///< the machine was changed by hand: what it became. Only in journals that are replayed
};
constexpr std::size_t kInputChannels = 2;  ///< on which bytes come from outside

/// One input as the machine took it.
struct InputRecord {
  InputChannel channel;
  u64 count = 0;  ///< retired instructions
  u64 time = 0;   ///< guest ns: halted time passes without instructions
  std::vector<u8> bytes;

  bool operator==(const InputRecord&) const = default;
};

class HostInput {
 public:
  /// Bytes that wait until the device has room and the journal is at its end.
  void offer(InputChannel channel, std::span<const u8> bytes) {
    auto& waiting = waiting_[static_cast<std::size_t>(channel)];
    waiting.insert(waiting.end(), bytes.begin(), bytes.end());
  }
  /// True when there may be something to deliver, now or at a later moment.
  bool any() const {
    return taken_ < records_.size() || (!held_ && std::any_of(waiting_.begin(), waiting_.end(), [](auto& w) { return !w.empty(); }));
  }
  /// Room for bytes, by channel.
  using Room = std::array<std::size_t, kInputChannels>;
  /// What is to be delivered at this moment of the run: the next record of the journal when its moment has come, or
  /// waiting bytes for which there is room, which are written down. nullptr: nothing. Good until the next call.
  const InputRecord* take(const Room& room, u64 count, u64 time);
  /// The next record when it is of this count and of the channel State, whatever inputs of this count come before it: they
  /// are in it. nullptr: there is none.
  const InputRecord* take_state(u64 count);
  /// The count of the next record to be replayed, or ~0.
  u64 next_count() const { return taken_ < records_.size() ? records_[taken_].count : ~u64{0}; }

  /// Everything taken, and after that everything still to be replayed.
  const std::vector<InputRecord>& records() const { return records_; }
  std::size_t taken() const { return taken_; }
  /// The moment of the next record went by: the run is not the one that the journal is of.
  bool missed() const { return missed_; }

  /// Replays from here: the records taken so far are forgotten.
  void replay(std::vector<InputRecord> records);
  /// Back to the moment when `taken` records had been taken.
  void rewind(std::size_t taken);
  /// Forgets what is still to be replayed: from here on live inputs are let in.
  void forget_future() { records_.resize(taken_); }
  /// While held, waiting bytes stay outside even when the journal is over.
  void hold(bool held) { held_ = held; }
  bool held() const { return held_; }

 private:
  std::array<std::deque<u8>, kInputChannels> waiting_;  ///< by channel
  std::vector<InputRecord> records_;
  std::size_t taken_ = 0;
  bool held_ = false;
  bool missed_ = false;
};

}  // namespace callgate
