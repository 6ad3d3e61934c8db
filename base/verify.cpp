#include "base/verify.h"

#include <cstdio>
#include <cstdlib>

namespace callgate {

void verify_failed(const char* condition, const char* file, int line, const char* why) {
  std::fprintf(stderr, "callgate: internal error: %s (%s, %s:%d). Please report this.\n", why, condition, file, line);
  std::abort();
}

}  // namespace callgate
