// Somebody outside who looks at instructions and accesses as they happen: a debugger. Engines ask it before instructions at
// which it may want to stop, and tell it of accesses to pages that it watches. Nothing that it does may change the state of
// the guest, nor how instructions are counted.
#pragma once

#include "mmu/page_watch.h"

namespace callgate {

class Cpu;

class ExecutionWatch : public PageWatch {
 public:
  /// Before the instruction at CS:RIP is executed, all waiting events having been taken: true when it must not be. The
  /// watch has then seen to it that the engine's run ends. Asked for at least every instruction in a page with stops.
  virtual bool stops_before(Cpu& c) = 0;
  /// The offset of the first stop at or behind `offset` in the page; kPageSize when there is none.
  virtual unsigned next_stop(u64 linear_page, u64 physical_page, unsigned offset) const = 0;
  /// An access that went the slow way was done. `linear` and `size` may span two pages.
  virtual void accessed(Cpu& c, u64 linear, unsigned size, AccessKind kind) = 0;
};

}  // namespace callgate
