#include "machine/journal.h"

#include <algorithm>

#include "base/verify.h"
#include "machine/teeth.h"

namespace callgate {

const InputRecord* HostInput::take(std::size_t room, u64 count, u64 time) {
  if (taken_ < records_.size()) {
    const InputRecord& next = records_[taken_];
    if (next.count == count && next.time == time) return &records_[taken_++];
    missed_ |= next.count < count || (next.count == count && next.time < time);
    return nullptr;
  }
  const auto n = static_cast<std::ptrdiff_t>(std::min(room, waiting_.size()));
  if (held_ || n == 0) return nullptr;
  if (teeth::active == teeth::Tooth::UnloggedByte && records_.size() == 4) [[unlikely]] {
    static InputRecord unlogged;
    unlogged = {InputChannel::Serial, count, time, {waiting_.front()}};
    waiting_.pop_front();
    return &unlogged;
  }
  records_.push_back({InputChannel::Serial, count, time, {waiting_.begin(), waiting_.begin() + n}});
  waiting_.erase(waiting_.begin(), waiting_.begin() + n);
  return &records_[taken_++];
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
