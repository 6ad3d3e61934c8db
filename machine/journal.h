// The one way in for what is not computed: a seed of the recording to come. Every input is stamped with the count and
// the guest time at which the machine took it, and kept in order.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "base/types.h"

namespace callgate {

/// Where an input goes.
enum class InputChannel : u8 { Serial };

/// One input as the machine took it.
struct InputRecord {
  InputChannel channel;
  u64 count = 0;  ///< retired instructions
  u64 time = 0;   ///< guest ns: halted time passes without instructions
  std::vector<u8> bytes;
};

class HostInput {
 public:
  /// Bytes that wait until the device has room.
  void offer(std::span<const u8> bytes) { waiting_.insert(waiting_.end(), bytes.begin(), bytes.end()); }
  bool waiting() const { return !waiting_.empty(); }
  /// Takes at most `most` waiting bytes at this moment of the run, and writes them down.
  std::vector<u8> take(InputChannel channel, std::size_t most, u64 count, u64 time);
  /// Everything taken so far.
  const std::vector<InputRecord>& records() const { return records_; }

 private:
  std::deque<u8> waiting_;
  std::vector<InputRecord> records_;
};

}  // namespace callgate
