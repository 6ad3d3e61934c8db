// Which pages somebody outside watches (a debugger). Accesses to them are never cached for the fast path, so that each one
// comes through the slow twin, which reports it. Costs nothing elsewhere.
#pragma once

#include "base/types.h"
#include "mmu/page_walk.h"

namespace callgate {

class PageWatch {
 public:
  virtual ~PageWatch() = default;
  /// True when accesses of this kind to the page are watched: by its linear address, or by its physical one.
  virtual bool watches(u64 linear_page, u64 physical_page, AccessKind kind) const = 0;
};

}  // namespace callgate
