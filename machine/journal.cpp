#include "machine/journal.h"

#include <algorithm>

namespace callgate {

std::vector<u8> HostInput::take(InputChannel channel, std::size_t most, u64 count, u64 time) {
  const auto n = static_cast<std::ptrdiff_t>(std::min(most, waiting_.size()));
  std::vector<u8> bytes(waiting_.begin(), waiting_.begin() + n);
  waiting_.erase(waiting_.begin(), waiting_.begin() + n);
  if (!bytes.empty()) records_.push_back({channel, count, time, bytes});
  return bytes;
}

}  // namespace callgate
