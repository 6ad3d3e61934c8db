#include "machine/start_state.h"

#include <algorithm>

namespace callgate {

namespace {

Segment loaded_segment(const boot::SegmentState& from) {
  Segment s;
  s.selector = from.selector;
  s.base = from.base;
  s.limit = from.limit;
  s.rights = from.attributes != 0 ? from.attributes & 0xF0FFu : kRightsUnusable;
  return s;
}

// Frames that are zero already are left alone: fresh RAM costs the host nothing.
void write_zeros(PhysicalMap& memory, u64 physical, u64 size) {
  const std::vector<u8> zeros(kPageSize);
  while (size != 0) {
    const u64 n = std::min<u64>(size, kPageSize - (physical & kPageMask));
    const PhysicalPage page = memory.page(physical);
    if (page.frame == kNoFrame || !memory.ram().is_zero(page.frame))
      memory.write(physical, std::span<const u8>(zeros).first(n));
    physical += n;
    size -= n;
  }
}

}  // namespace

void apply_plan(Board& board, const boot::BootPlan& plan) {
  for (const boot::Load& load : plan.loads) {
    board.memory.write(load.physical, load.bytes);
    write_zeros(board.memory, load.physical + load.bytes.size(), load.zeros);
  }
  Cpu& cpu = board.processors[0]->cpu;
  CpuState& s = cpu.s;
  const boot::EntryState& e = plan.entry;
  std::copy(e.gpr.begin(), e.gpr.end(), s.gpr);
  s.rip = e.rip;
  s.flags.set_value(static_cast<u32>(e.rflags));
  s.cr0 = e.cr0 | kCr0Et;
  s.cr3 = e.cr3;
  s.cr4 = e.cr4;
  s.msr.efer = e.efer;
  const boot::SegmentState* segments[kSegCount] = {&e.es, &e.cs, &e.ss, &e.ds, &e.fs, &e.gs};
  for (unsigned i = 0; i < kSegCount; i++) s.seg[i] = loaded_segment(*segments[i]);
  s.ldtr = loaded_segment(e.ldtr);
  s.tr = loaded_segment(e.tr);
  s.gdtr = {e.gdtr.base, e.gdtr.limit};
  s.idtr = {e.idtr.base, e.idtr.limit};
  s.cpl = 0;
  cpu.refresh();
}

}  // namespace callgate
