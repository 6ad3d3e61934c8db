#include "cpu/cpu.h"

#include <algorithm>

#include "cpu/system/random.h"

namespace callgate {

static_assert(sizeof(EngineSlots) % alignof(CpuState) == 0, "emitted code reaches both from one register");

Cpu::Cpu(unsigned cpu_index, PhysicalMap& map, CpuPlatform& board, Log& machine_log, const CpuModel& cpu_model)
    : index(cpu_index), memory(map), platform(board), log(machine_log), model(cpu_model), tlb(map) {
  s.random = first_random_place(index);
  reset();
}

Cpu::~Cpu() = default;

namespace {

Segment real_mode_segment(u16 selector, u64 base, u32 type) {
  Segment s;
  s.selector = selector;
  s.base = base;
  s.limit = 0xFFFF;
  s.rights = type | 1u << 4 | kRightsPresent;
  return s;
}

Segment system_segment(u32 type) {
  Segment s;
  s.limit = 0xFFFF;
  s.rights = type | kRightsPresent;
  return s;
}

}  // namespace

void Cpu::reset(bool init) {
  const CpuState before = s;
  s = CpuState{};
  s.retired = before.retired;
  s.random = before.random;
  if (init) {  // SDM 3A, Table 10-1: what INIT leaves alone
    s.x87 = before.x87;
    s.mxcsr = before.mxcsr;
    for (unsigned i = 0; i < 16; i++) s.vec[i] = before.vec[i];
    s.xcr0 = before.xcr0;
    s.msr = before.msr;
    s.msr.efer = 0;
    s.cr0 = before.cr0 & (kCr0Cd | kCr0Nw);
  } else {
    s.cr0 = kCr0Cd | kCr0Nw;
    s.x87.control = 0x40;
    s.x87.empty = 0;
    s.x87.status = 0;
  }
  s.cr0 |= kCr0Et;
  s.gpr[RDX] = kCpuidSignature;  // RAX = 0: no self-test was run
  s.rip = 0xFFF0;
  for (auto& seg : s.seg) seg = real_mode_segment(0, 0, 3);
  s.seg[CS] = real_mode_segment(0xF000, 0xFFFF0000, 0xB);
  s.ldtr = system_segment(2);
  s.tr = system_segment(11);
  s.gdtr.limit = s.idtr.limit = 0xFFFF;
  if (index != 0) s.activity = Activity::WaitForSipi;
  refresh();
}

void Cpu::refresh() {
  const bool lma = s.msr.efer & kEferLma;
  long64_ = lma && s.seg[CS].long_mode() && !s.flags.test(kVM);
  code_size_ = long64_ ? CodeSize::Bits64 : s.seg[CS].big() ? CodeSize::Bits32 : CodeSize::Bits16;
  linear_mask_ = long64_ ? ~u64{0} : 0xFFFFFFFF;
  if (long64_) {
    fast_segments_ = 0x3F;
    for (unsigned i = 0; i < FS; i++) engine.fast_base[i] = 0;
    engine.fast_base[FS] = s.seg[FS].base;
    engine.fast_base[GS] = s.seg[GS].base;
  } else {
    fast_segments_ = 0;
    for (unsigned i = 0; i < kSegCount; i++) {
      const Segment& seg = s.seg[i];
      engine.fast_base[i] = seg.base;
      const bool flat = !seg.unusable() && seg.writable() && !seg.expand_down() && seg.limit == 0xFFFFFFFF;
      if (flat) fast_segments_ |= static_cast<u8>(1u << i);
    }
  }

  // Most calls are about something else than paging.
  const u64 paging[8] = {s.cr0, s.cr3, s.cr4, s.msr.efer, s.pdpte[0], s.pdpte[1], s.pdpte[2], s.pdpte[3]};
  if (!std::equal(std::begin(paging), std::end(paging), paging_registers_)) {
    std::copy(std::begin(paging), std::end(paging), paging_registers_);
    PagingMode mode;
    mode.paging = s.cr0 & kCr0Pg;
    mode.pae = s.cr4 & kCr4Pae;
    mode.long_mode = lma;
    mode.pse = s.cr4 & kCr4Pse;
    mode.nxe = s.msr.efer & kEferNxe;
    mode.wp = s.cr0 & kCr0Wp;
    mode.smep = s.cr4 & kCr4Smep;
    mode.smap = s.cr4 & kCr4Smap;
    mode.root = s.cr3;
    for (unsigned i = 0; i < 4; i++) mode.pdpte[i] = s.pdpte[i];
    tlb.set_mode(mode);
  }

  const bool ac = s.flags.test(kAC);
  engine.data_context = s.cpl == 3 ? AccessContext::User : ac ? AccessContext::SupervisorAc : AccessContext::Supervisor;
  const bool data_breakpoints = (s.dr7 & 0xFF) != 0 && (s.dr7 >> 16 & 0x3333) != 0;
  alignment_checked_ = s.cpl == 3 && ac && (s.cr0 & kCr0Am);
  slow_memory_ = data_breakpoints || alignment_checked_;
  engine.access_context = slow_memory_ ? AccessContext::Watched : engine.data_context;
  request_attention();
}

void Cpu::set_flags(u32 value, u32 mask) {
  const u32 old = s.flags.value();
  const u32 now = (old & ~mask) | (value & mask);
  s.flags.set_value(now);
  if ((old ^ now) & (kVM | kAC)) refresh();
  // IF going off lets nothing in.
  if (((old ^ now) & (kTF | kRF | kVM | kAC)) != 0 || (now & ~old & kIF) != 0) request_attention();
}

std::vector<u64> Cpu::trail() const {
  std::vector<u64> rips;
  const u64 count = std::min<u64>(s.retired, kTrail - 1);
  for (u64 n = s.retired - count; n <= s.retired; n++)
    if (trail_[n % kTrail].count == n) rips.push_back(trail_[n % kTrail].rip);
  return rips;
}

bool Cpu::careful() const {
  return s.flags.test(kTF | kRF) || s.sti_shadow || s.mov_ss_shadow || (s.dr7 & 0xFF) != 0 || watch_each;
}

}  // namespace callgate
