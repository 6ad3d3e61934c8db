#include "base/log.h"

#include <array>

namespace callgate {

namespace {
constexpr std::array<std::string_view, static_cast<unsigned>(LogChannel::Count)> kNames = {
    "faults", "interrupts", "devices", "io", "msr", "boot", "cpu", "jit"};
}

std::string_view name_of(LogChannel channel) { return kNames[static_cast<unsigned>(channel)]; }

void Log::enable(LogChannel channel, bool on) {
  const u32 mask = u32{1} << static_cast<unsigned>(channel);
  mask_ = on ? mask_ | mask : mask_ & ~mask;
}

bool Log::enable_list(std::string_view names, std::string* bad) {
  while (!names.empty()) {
    const std::size_t comma = names.find(',');
    const std::string_view word = names.substr(0, comma);
    names = comma == std::string_view::npos ? std::string_view{} : names.substr(comma + 1);
    if (word == "all") {
      mask_ = ~u32{0};
      continue;
    }
    bool found = false;
    for (unsigned i = 0; i < kNames.size(); i++) {
      if (kNames[i] != word) continue;
      enable(static_cast<LogChannel>(i));
      found = true;
    }
    if (!found) {
      if (bad != nullptr) *bad = word;
      return false;
    }
  }
  return true;
}

void Log::emit(LogChannel channel, const std::string& text) {
  u64& printed = printed_[static_cast<unsigned>(channel)];
  if (limit_ != 0 && printed > limit_) return;
  if (!sink_) return;
  if (limit_ != 0 && printed++ == limit_) {
    sink_(channel, "more lines of this channel are left out");
    return;
  }
  sink_(channel, text);
}

}  // namespace callgate
