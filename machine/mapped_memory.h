// Linear memory as the page tables stand now, for reports and debuggers: looking changes nothing.
#pragma once

#include "cpu/cpu.h"

namespace callgate {

/// Where the host keeps the byte at `linear`; nullptr when no plain memory is mapped there.
inline const u8* mapped_byte(const Cpu& c, u64 linear) {
  if (c.long_mode() ? !is_canonical(linear) : linear > 0xFFFFFFFF) return nullptr;
  const Walk w = probe(c.memory, c.tlb.mode(), linear);
  if (!w.ok) return nullptr;
  const PhysicalPage page = c.memory.page(w.physical);
  return page.host != nullptr ? page.host + (w.physical & kPageMask) : nullptr;
}

}  // namespace callgate
