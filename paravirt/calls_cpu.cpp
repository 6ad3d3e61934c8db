// Descriptor tables, address spaces, model-specific registers. Every call is for ring 0 and checks what its instructions check;
// what they refuse is kInvalid, or kFault for memory.
#include <algorithm>

#include "cpu/attempt.h"
#include "cpu/system/control.h"
#include "cpu/system/msr.h"
#include "cpu/system/segments.h"
#include "paravirt/port_call.h"

namespace callgate::paravirt::calls {

using namespace abi;

namespace {

constexpr u32 kDescriptorBytes = 8;
constexpr u32 kSmallestTssLimit = 0x67;
constexpr u64 kSp0Offset = 4;  // SDM 3A, 32-Bit Task-State Segment and 64-Bit TSS

/// What a fault of an instruction is as an answer: memory that is not there, or a value that is refused.
Answer refused(const Fault& fault, u64 index) { return {fault.vector == Vector::PF ? kFault : kInvalid, index}; }

/// A table register as a table: where it is and its last byte. False: there is none.
bool table_of(const Cpu& c, u64 which, u64& base, u32& limit) {
  if (which == 0) {
    base = c.s.gdtr.base;
    limit = c.s.gdtr.limit;
    return true;
  }
  base = c.s.ldtr.base;
  limit = c.s.ldtr.limit;
  return !c.s.ldtr.unusable();
}

std::optional<Fault> store_descriptor(Cpu& c, u64 base, u64 index, u64 descriptor) {
  return attempt([&] { c.store_linear<u64>(system_linear(c, base, index * kDescriptorBytes), descriptor, true); });
}

/// Makes an LDT descriptor in `c`'s GDT and loads it. `size` is in bytes; 0: no LDT.
std::optional<Fault> install_ldt(Cpu& c, u16 selector, u64 base, u32 size) {
  constexpr u64 kPresentLdt = u64{0x82} << 40;
  return attempt([&] {
    if (size == 0) return load_ldtr(c, 0, Vector::GP);
    const u64 limit = size - 1;
    const u64 low = (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | kPresentLdt | (base >> 24 & 0xFF) << 56;
    const u64 at = system_linear(c, c.s.gdtr.base, selector & ~7u);
    const u64 image[2] = {low, base >> 32};
    c.store_linear_bytes(at, image, c.long_mode() ? 16 : 8, true);
    load_ldtr(c, selector, Vector::GP);
  });
}

/// CR3's page tables, without what only says how they are cached.
u64 tables_of(const Cpu& c) { return c.s.cr3 & (c.s.cr4 & kCr4Pae ? ~u64{0x1F} : ~u64{0xFFF}) & (c.long_mode() ? ~u64{0xFFF} : ~u64{0}); }

Answer store_sp0(Cpu& c, u64 sp0, u64 index) {
  const Segment& tss = c.s.tr;
  if (tss.unusable() || tss.limit < kSmallestTssLimit) return {kInvalid, index};
  if (tss.type() != kTssAvailable && tss.type() != kTssBusy) return {kBadMode};
  if (!c.long_mode() && sp0 >> 32 != 0) return {kInvalid, index};
  const auto fault = attempt([&] {
    const u64 at = system_linear(c, tss.base, kSp0Offset);
    if (c.long_mode()) c.store_linear<u64>(at, sp0, true);
    else c.store_linear<u32>(at, static_cast<u32>(sp0), true);
  });
  return fault ? refused(*fault, index) : Answer{};
}

}  // namespace

// WRITE_DESCRIPTORS(table, first, descriptors, count)
Answer write_descriptors(PortCall& call) {
  const u64 table = call.arg[0], first = call.arg[1], from = call.arg[2], count = call.arg[3];
  u64 base = 0;
  u32 limit = 0;
  if (table > 1 || !table_of(call.c, table, base, limit)) return {kInvalid};
  if (count > kMostDescriptors) return {kTooBig, kMostDescriptors};
  if (first >= kMostDescriptors || (first + count) * kDescriptorBytes > u64{limit} + 1) return {kInvalid, 1};
  for (u64 n = 0; n < count; n++) {
    u64 descriptor = 0;
    if (!call.memory().load(from + n * kDescriptorBytes, descriptor)) return {kFault, n};
    if (const auto fault = store_descriptor(call.c, base, first + n, descriptor)) return refused(*fault, n);
  }
  return {kOk, count};
}

// LOAD_LDT(selector, base, size, processors, flags)
Answer load_ldt(PortCall& call) {
  const u64 selector = call.arg[0], base = call.arg[1], size = call.arg[2], cpus = call.arg[3];
  const u64 flags = call.wide ? call.arg[4] : 0;
  if (size != 0 && (selector > 0xFFFF || (selector & 7) != 0 || selector == 0)) return {kInvalid, 0};
  if (call.c.long_mode() ? !is_canonical(base) : base >> 32 != 0) return {kInvalid, 1};
  if (size > kMostDescriptors * kDescriptorBytes) return {kTooBig, kMostDescriptors * kDescriptorBytes};
  if (size % kDescriptorBytes != 0) return {kInvalid, 2};
  if (cpus & ~call.all_cpus()) return {kInvalid, 3};
  if (flags & ~kLdtSameMm) return {kInvalid, 4};
  for (unsigned n = 0; n < call.host.cpus(); n++) {
    if (!(cpus >> n & 1)) continue;
    Cpu& target = call.host.cpu_at(n);
    if (&target != &call.c) {
      // One that has not come so far has nothing to load; it will when it does.
      if (target.s.activity == Activity::WaitForSipi || !target.protected_mode()) continue;
      if ((flags & kLdtSameMm) && tables_of(target) != tables_of(call.c)) continue;
      if (target.long_mode() != call.c.long_mode()) return {kBadMode, n};
    }
    const u32 bytes = target.long_mode() ? 16 : 8;
    if (size != 0 && selector + bytes - 1 > target.s.gdtr.limit) return {kInvalid, 0};
    if (const auto fault = install_ldt(target, static_cast<u16>(selector), base, static_cast<u32>(size))) return refused(*fault, n);
  }
  return {};
}

// LOAD_TLS(first, descriptor, descriptor, descriptor): entries of the GDT.
Answer load_tls(PortCall& call) {
  if (!call.wide) return {kBadMode};
  constexpr u64 kCount = 3;
  const u64 first = call.arg[0];
  if (first >= kMostDescriptors || (first + kCount) * kDescriptorBytes > u64{call.c.s.gdtr.limit} + 1) return {kInvalid};
  for (u64 n = 0; n < kCount; n++)
    if (const auto fault = store_descriptor(call.c, call.c.s.gdtr.base, first + n, call.arg[1 + n])) return refused(*fault, n);
  return {};
}

// SET_SP0(stack pointer)
Answer set_sp0(PortCall& call) { return store_sp0(call.c, call.arg[0], 0); }

// SWITCH_MM(cr3, flags, LDT's selector, stack pointer). The index of a refusal is that of the argument; what comes before it
// is done.
Answer switch_mm(PortCall& call) {
  const u64 cr3 = call.arg[0], flags = call.arg[1];
  Cpu& c = call.c;
  if (flags & ~(kSwitchLdt | kSwitchSp0)) return {kInvalid, 1};
  if ((flags & kSwitchLdt) && call.arg[2] > 0xFFFF) return {kInvalid, 2};
  if (const auto fault = attempt([&] { write_cr3(c, cr3); })) return refused(*fault, 0);
  if (flags & kSwitchLdt)
    if (const auto fault = attempt([&] { load_ldtr(c, static_cast<u16>(call.arg[2]), Vector::GP); })) return refused(*fault, 2);
  return flags & kSwitchSp0 ? store_sp0(c, call.arg[3], 3) : Answer{};
}

// FLUSH_TLB(first address, pages, processors). No TLB here holds what the page tables don't (docs/design.md): nothing to do.
Answer flush_tlb(PortCall& call) {
  if (call.arg[2] & ~call.all_cpus()) return {kInvalid, 2};
  return {};
}

// MSR_BATCH(entries, count)
Answer msr_batch(PortCall& call) {
  const u64 at = call.arg[0], count = call.arg[1];
  if (count > kMostMsrs) return {kTooBig, kMostMsrs};
  for (u64 n = 0; n < count; n++) {
    MsrEntry entry;
    if (!call.memory().load(at + n * sizeof entry, entry)) return {kFault, n};
    if (entry.write > 1) return {kInvalid, n};
    const auto fault = attempt([&] {
      if (entry.write) write_msr(call.c, entry.index, entry.value);
      else entry.value = read_msr(call.c, entry.index);
    });
    if (fault) return {kInvalid, n};
    if (!entry.write && !call.memory().store(at + n * sizeof entry, entry)) return {kFault, n};
  }
  return {kOk, count};
}

}  // namespace callgate::paravirt::calls
