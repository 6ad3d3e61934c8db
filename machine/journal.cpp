#include "machine/journal.h"

#include <algorithm>

#include "base/verify.h"
#include "machine/teeth.h"

namespace callgate {

const InputRecord* HostInput::take(const Room& room, u64 count, u64 time) {
  if (taken_ < records_.size()) {
    const InputRecord& next = records_[taken_];
    if (next.channel == InputChannel::State) return nullptr;
    if (next.count == count && next.time == time) return &records_[taken_++];
    missed_ |= next.count < count || (next.count == count && next.time < time);
    return nullptr;
  }
  if (held_) return nullptr;
  for (std::size_t channel = 0; channel < kInputChannels; channel++) {
    auto& waiting = waiting_[channel];
    const auto n = static_cast<std::ptrdiff_t>(std::min(room[channel], waiting.size()));
    if (n == 0) continue;
    if (teeth::active == teeth::Tooth::UnloggedByte && records_.size() == 4) [[unlikely]] {
      static InputRecord unlogged;
      unlogged = {InputChannel::Serial, count, time, {waiting.front()}};
      waiting.pop_front();
      return &unlogged;
    }
    records_.push_back({static_cast<InputChannel>(channel), count, time, {waiting.begin(), waiting.begin() + n}});
    waiting.erase(waiting.begin(), waiting.begin() + n);
    return &records_[taken_++];
  }
  return nullptr;
}

const InputRecord* HostInput::take_state(u64 count) {
  for (std::size_t at = taken_; at < records_.size() && records_[at].count == count; at++) {
    if (records_[at].channel != InputChannel::State) continue;
    taken_ = at + 1;
    return &records_[at];
  }
  return nullptr;
}

void HostInput::replay(std::vector<InputRecord> records) {
  records_ = std::move(records);
  rewind(0);
}

void HostInput::rewind(std::size_t taken) {
  VERIFY(taken <= records_.size(), "the journal is shorter than that");
  taken_ = taken;
  missed_ = false;
}

}  // namespace callgate
