#include "paravirt/caller_memory.h"

#include <algorithm>

#include "cpu/attempt.h"

namespace callgate::paravirt {

u64 CallerMemory::to_page_end(u64 offset) const {
  const u64 linear = offset + c_.engine.fast_base[DS];
  return kPageSize - (linear & kPageMask);
}

u64 CallerMemory::piece(u64 offset, u64 size) const {
  // With alignment checks the bytes are accessed one by one: the caller's copy would be of whatever size is aligned.
  if (c_.cpl() == 3 && c_.s.flags.test(kAC)) return 1;
  return std::min(size, to_page_end(offset));
}

u64 CallerMemory::read(u64 offset, void* out, u64 size) {
  for (u64 done = 0; done < size;) {
    const u64 n = piece(offset + done, size - done);
    if (!exists(offset + done, n)) return done;
    const auto fault = attempt([&] {
      c_.load_bytes(DS, offset + done, static_cast<u8*>(out) + done, static_cast<unsigned>(n));
    });
    if (fault) return done;
    done += n;
  }
  return size;
}

u64 CallerMemory::write(u64 offset, const void* in, u64 size) {
  for (u64 done = 0; done < size;) {
    const u64 n = piece(offset + done, size - done);
    if (!exists(offset + done, n)) return done;
    const auto fault = attempt([&] {
      c_.store_bytes(DS, offset + done, static_cast<const u8*>(in) + done, static_cast<unsigned>(n));
    });
    if (fault) return done;
    done += n;
  }
  return size;
}

bool CallerMemory::read_whole(u64 offset, void* out, unsigned size) { return read(offset, out, size) == size; }

// The processor checks all bytes of one access before it writes the first.
bool CallerMemory::write_whole(u64 offset, const void* in, unsigned size) {
  if (!exists(offset, size)) return false;
  if (c_.cpl() == 3 && c_.s.flags.test(kAC)) {
    const auto fault = attempt([&] {
      for (unsigned n = 0; n < size; n++) c_.probe_write(DS, offset + n, 1);
    });
    return !fault && write(offset, in, size) == size;
  }
  return !attempt([&] { c_.store_bytes(DS, offset, in, size); });
}

}  // namespace callgate::paravirt
