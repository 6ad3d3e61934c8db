// What KVM's interface keeps in the guest's memory: wall clock, clock, steal time, EOI. Only ever written by an instruction of
// the guest, at a boundary of a processor's turn, or with an interrupt: moments that every run has alike.
#include "cpu/system/msr.h"
#include "paravirt/guest_ram.h"
#include "paravirt/kvm.h"

namespace callgate::paravirt {

namespace {

// Linux, arch/x86/include/asm/pvclock-abi.h and arch/x86/include/uapi/asm/kvm_para.h.
struct WallClock {
  u32 version, seconds, nanoseconds;
};
struct VcpuTime {
  u32 version, pad;
  u64 tsc, system_time;
  u32 multiplier;
  i8 shift;
  u8 flags, pad2[2];
};
static_assert(sizeof(VcpuTime) == 32);
struct StealTime {
  u64 steal;
  u32 version, flags;
};
constexpr u64 kPreemptedOffset = 16, kStealBytes = 64;

constexpr u64 kEnabled = 1, kStealAddress = ~u64{0x3F};
constexpr u8 kPreempted = 1, kFlushTlb = 2;
constexpr u8 kTscStable = 1;

// Nanoseconds = (ticks << shift) * multiplier >> 32: one for one.
constexpr u32 kMultiplier = 0x80000000;
constexpr i8 kShift = 1;
static_assert(kTscHz == 1'000'000'000);

/// The odd version while the rest is written: a reader that saw it begins again.
constexpr u32 odd_after(u32 version) { return (version + 1) | 1; }

}  // namespace

/// The time at which the clock was 0: power-on.
void Kvm::write_wall_clock(Cpu& c, u64 address) {
  WallClock wall;
  if (address == 0 || !read_ram(c.memory, address, wall)) return;
  wall.version = odd_after(wall.version);
  write_ram(c.memory, address, wall.version);
  wall.seconds = static_cast<u32>(host_.epoch());
  wall.nanoseconds = 0;
  write_ram(c.memory, address, wall);
  write_ram(c.memory, address, wall.version + 1);
}

/// The clock goes on from this line by the TSC alone: it has to be drawn anew only when the TSC is changed.
void Kvm::write_clock(Cpu& by, Vcpu& v) {
  if (!(v.system_time & kEnabled)) return;
  const u64 at = v.system_time & ~kEnabled;
  if ((at & kPageMask) > kPageSize - sizeof(VcpuTime)) return;
  VcpuTime time;
  if (!read_ram(by.memory, at, time)) return;
  const u64 adjust = host_.cpu_at(v.n).s.msr.tsc_adjust, now = by.platform.now();
  bool stable = true;
  for (unsigned n = 0; n < cpu_.size(); n++) stable &= host_.cpu_at(n).s.msr.tsc_adjust == adjust;
  time = {odd_after(time.version), 0, now + adjust, now, kMultiplier, kShift, stable ? kTscStable : u8{0}, {}};
  write_ram(by.memory, at, time.version);
  write_ram(by.memory, at, time);
  write_ram(by.memory, at, time.version + 1);
}

// All of them: whether the TSCs agree is told in each.
void Kvm::tsc_changed(Cpu& c) {
  for (auto& v : cpu_) write_clock(c, *v);
}

/// Nothing is ever stolen: in guest time, the processors run at the same time, whatever their turns on the host.
void Kvm::write_steal_time(Cpu& c, const Vcpu& v) {
  if (!(v.steal_time & kEnabled)) return;
  const u64 at = v.steal_time & kStealAddress;
  StealTime steal;
  if (!is_ram(c.memory, at, kStealBytes) || !read_ram(c.memory, at, steal)) return;
  constexpr u64 kVersionOffset = 8;
  steal.version = odd_after(steal.version);
  write_ram(c.memory, at + kVersionOffset, steal.version);
  write_ram(c.memory, at + kPreemptedOffset, u8{0});
  write_ram(c.memory, at + kVersionOffset, steal.version + 1);
}

// Others leave a flush in the byte instead of sending an interrupt. No TLB here holds what the page tables don't
// (docs/design.md), so that nothing is left to do for it.
void Kvm::slice_begins(Cpu& c) {
  const Vcpu& v = of(c);
  if (!(v.steal_time & kEnabled)) return;
  const u64 at = (v.steal_time & kStealAddress) + kPreemptedOffset;
  u8 state;
  if (!read_ram(c.memory, at, state) || state == 0) return;
  if (state & kFlushTlb) counted_.flushes_deferred++;
  write_ram(c.memory, at, u8{0});
}

void Kvm::slice_ends(Cpu& c) {
  const Vcpu& v = of(c);
  if (!(v.steal_time & kEnabled)) return;
  const u64 at = (v.steal_time & kStealAddress) + kPreemptedOffset;
  write_ram(c.memory, at, kPreempted);
}

std::optional<u64> Kvm::Vcpu::place() const {
  return eoi & kEnabled ? std::optional(eoi & ~kEnabled) : std::nullopt;
}

}  // namespace callgate::paravirt
