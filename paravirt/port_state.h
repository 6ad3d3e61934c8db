// What Callgate's port remembers between calls. Plain data, all of it part of the machine's state.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/seam.h"
#include "base/state_io.h"
#include "cpu/hooked_code.h"

namespace callgate::paravirt {

/// Bytes from outside that the guest has not read yet.
class ByteQueue {
 public:
  explicit ByteQueue(std::size_t most) : most_(most) {}
  std::size_t room() const { return most_ - bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  void put(std::span<const u8> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  std::size_t size() const { return bytes_.size(); }
  u8 at(std::size_t n) const { return bytes_[n]; }
  void drop(std::size_t n) { bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(n)); }
  void clear() { bytes_.clear(); }
  void sync(StateIo& io);

 private:
  std::size_t most_;
  std::deque<u8> bytes_;
};

/// One processor's part.
struct PortCpu {
  u64 ring = 0;  ///< the ring's offset in DS; 0: none
  u32 ring_entries = 0;
  u8 timer_vector = 0;
  Timer timer;  ///< DEADLINE's alarm
  Timer wake;   ///< the end of SKIP and HALT_UNTIL
  u64 slept_at = 0;  ///< the count at which it went to sleep: an alarm for a processor that ran since is void
  bool sleeping = false;
  bool kicked = false;  ///< by KICK, while it was not asleep: its next sleep ends at once
};

constexpr std::size_t kTestQueue = 64 << 10;

struct PortState {
  explicit PortState(PhysicalMap& memory) : hooks(memory) {}
  HookedCode hooks;
  u32 version = 0;   ///< of HELLO; 0: nothing negotiated
  u32 features = 0;  ///< granted
  u32 user_mask = 0; ///< groups that ring 3 may call
  bool attached = false;  ///< console input comes here
  u8 input_vector = 0;    ///< sent to `input_cpu` when input comes; 0: none
  u32 input_cpu = 0;
  ByteQueue console{4096}, test{kTestQueue};
  std::vector<std::unique_ptr<PortCpu>> cpu;  ///< by index; timers have a place of their own

  void sync(StateIo& io, Clock& clock);
  void reset(Clock& clock);
};

}  // namespace callgate::paravirt
