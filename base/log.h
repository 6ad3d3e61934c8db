// Diagnostics by channel: free when off, rate-limited where a guest can trigger them.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace callgate {

/// What a line is about. `--log NAME,...` turns channels on.
enum class LogChannel : u8 { Faults, Interrupts, Devices, Io, Msr, Boot, Cpu, Translator, Count };

/// The channel's name on the command line ("faults", "interrupts", ...).
std::string_view name_of(LogChannel channel);

/// One machine's log. Lines go to the sink that the owner gave; without one they are dropped.
class Log {
 public:
  using Sink = std::function<void(LogChannel, std::string_view line)>;

  void set_sink(Sink sink) { sink_ = std::move(sink); }
  void enable(LogChannel channel, bool on = true);
  /// Turns on the channels of a comma-separated list, or "all". False, with the bad word in `bad`, for an unknown name.
  bool enable_list(std::string_view names, std::string* bad);
  /// Lines a channel may print before it says that it stops; 0 = no limit (the default).
  void set_limit(u64 lines) { limit_ = lines; }

  bool on(LogChannel channel) const { return mask_ >> static_cast<unsigned>(channel) & 1; }

  template <class... Args>
  void line(LogChannel channel, fmt::format_string<Args...> format, Args&&... args) {
    if (on(channel)) [[unlikely]]
      emit(channel, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void emit(LogChannel channel, const std::string& text);

  Sink sink_;
  u32 mask_ = 0;
  u64 limit_ = 0;
  u64 printed_[static_cast<unsigned>(LogChannel::Count)] = {};
};

}  // namespace callgate
