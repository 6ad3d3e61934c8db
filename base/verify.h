// VERIFY: our own bug, never the guest's. On in release; ends the process with a sentence and the place.
#pragma once

namespace callgate {

/// Prints the failed condition and aborts. Never returns.
[[noreturn]] void verify_failed(const char* condition, const char* file, int line, const char* why);

}  // namespace callgate

#define VERIFY(condition, why) \
  (__builtin_expect(!!(condition), 1) ? void(0) : ::callgate::verify_failed(#condition, __FILE__, __LINE__, why))
