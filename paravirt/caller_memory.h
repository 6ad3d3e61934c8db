// Memory as the caller of a paravirtual call sees it: offsets in DS, checked as an access of the caller's own would be (segment
// limits, user and supervisor, SMAP, write protection, alignment), through the processor's usual paths. So writes to code,
// page tables and devices are what they always are. A fault becomes a number of bytes; nothing is raised.
#pragma once

#include "cpu/cpu.h"

namespace callgate::paravirt {

class CallerMemory {
 public:
  explicit CallerMemory(Cpu& c) : c_(c) {}

  // How many bytes were moved: less than `size` when the one after them may not be accessed. Up to a page border at a time:
  // whatever is counted was moved, and nothing else.
  u64 read(u64 offset, void* out, u64 size);
  u64 write(u64 offset, const void* in, u64 size);

  /// How far it is to the nearer end of the page that [offset] lies in, for moving piece by piece. At least 1.
  u64 to_page_end(u64 offset) const;

  // All or nothing.
  template <class T>
  bool load(u64 offset, T& value) {
    return read_whole(offset, &value, sizeof value);
  }
  template <class T>
  bool store(u64 offset, const T& value) {
    return write_whole(offset, &value, sizeof value);
  }
  bool read_whole(u64 offset, void* out, unsigned size);
  bool write_whole(u64 offset, const void* in, unsigned size);

 private:
  /// Outside 64-bit mode there is nothing beyond 4 GiB, and nothing wraps.
  bool exists(u64 offset, u64 size) const { return c_.bits64() || (offset <= 0xFFFFFFFF && size - 1 <= 0xFFFFFFFF - offset); }
  u64 piece(u64 offset, u64 size) const;
  Cpu& c_;
};

}  // namespace callgate::paravirt
