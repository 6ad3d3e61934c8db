// For tests of the emitter: all that it needs of a translator, and a way to run one block.
#pragma once

#include <functional>

#include "base/verify.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

struct TestBench {
  TestBench() {
    VERIFY(arena.open(std::size_t{4} << 20).has_value(), "4 MiB for a test's emitted code");
    thunks = emit_thunks(arena, {});
    keep = arena.used();
  }

  /// Emits `block` and runs it on `c` to its end; flags and registers are complete then. The slow paths are not there: memory
  /// must be in the TLB.
  Exit run(const ir::Block& block, Cpu& c) {
    arena.reset(keep);
    workshop.flags.clear();
    workshop.segments.clear();
    sites.clear();
    insns.clear();
    const EmitContext context{arena, thunks, host, sites, insns, counts, states, workshop, new_counter};
    Emitter emitter(context, block);
    const Emitted emitted = emitter.emit();
    c.engine.slot[kBudget] = 1000;
    c.engine.slot[kVectors] = u64{0x1F80} << 32;  // the host's own MXCSR
    c.engine.slot[kFlagsImage] = flags_image(c.s.flags);
    c.engine.slot[kTlbView] = reinterpret_cast<std::uintptr_t>(c.tlb.table(c.access_context()));
    const Exit why = thunks.enter(&c.engine, emitted.entry);
    set_from_image(c.s.flags, c.engine.slot[kFlagsImage]);
    return why;
  }

  CodeArena arena;
  Host host = probe_host();
  Thunks thunks;
  std::deque<Site> sites;
  std::deque<Insn> insns;
  std::unordered_map<const Row*, RowCounts> counts;
  EntryStates states;
  u32 counter = 0;
  x64::Workshop workshop{arena};
  std::function<u32*()> new_counter = [this] { return &counter; };
  std::size_t keep = 0;
};

}  // namespace callgate::jit::x64
