// The slow half of loads and stores: segment limits, canonical form, alignment checks, page crossings, page faults,
// registers, watched memory. The fast half is inline in cpu.h.
#include <cstring>

#include "cpu/cpu.h"
#include "cpu/system/debug.h"

namespace callgate {

namespace {

[[noreturn]] void raise_segment(SegReg seg, const char* reason, u64 a, u64 b = 0, u64 c = 0) {
  raise(seg == SS ? Vector::SS : Vector::GP, 0, reason, a, b, c);
}

}  // namespace

// SDM 3A 5.3 and 5.4: type and limit checks of a data access outside 64-bit mode.
u64 Cpu::linear_checked(SegReg seg, u64 offset, unsigned size, Access access) {
  if (long64_) return offset + engine.fast_base[seg];
  const Segment& d = s.seg[seg];
  if (d.unusable()) raise_segment(seg, "memory access through {0:r}, which holds a null selector", seg);
  if (protected_mode() && !v86()) {
    if (access == Access::Write && !d.writable())
      raise_segment(seg,
                    d.is_code() ? "write through the code segment {0:#x}"
                                : "write through the read-only data segment {0:#x}",
                    d.selector);
    if (access == Access::Read && !d.readable())
      raise_segment(seg, "read through the execute-only code segment {0:#x}", d.selector);
  }
  const u64 last = offset + size - 1;
  if (d.expand_down()) {
    const u64 top = d.big() ? 0xFFFFFFFF : 0xFFFF;
    if (offset <= d.limit || last > top)
      raise_segment(seg, "offset {0:#x} outside the expand-down segment {1:#x} with limit {2:#x}", offset, d.selector,
                    d.limit);
  } else if (last > d.limit) {
    // A flat segment lets an access wrap around 4 GiB.
    if (!(d.limit == 0xFFFFFFFF && offset <= 0xFFFFFFFF))
      raise_segment(seg, "offset {0:#x} beyond the limit {2:#x} of segment {1:#x}", last, d.selector, d.limit);
  }
  return (d.base + offset) & 0xFFFFFFFF;
}

void Cpu::check_canonical(SegReg seg, u64 linear, unsigned size, bool supervisor) {
  if (linear_wrap(supervisor) == 0xFFFFFFFF) return;
  if (is_canonical(linear) && is_canonical(linear + size - 1)) return;
  raise_segment(seg, "data access at the non-canonical address {0:#x}", linear);
}

// The alignment that a data type wants. SDM 3A, Alignment Requirements by Data Type. FXSAVE, XSAVE and 16-byte vectors have
// rules of their own.
static unsigned required_alignment(unsigned size) {
  switch (size) {
    case 10: return 8;                  // double extended precision, packed BCD
    case 14: case 94: return 2;         // FSTENV and FSAVE with 16-bit operand size
    case 28: case 108: return 4;        // and with 32-bit operand size
    default: return size <= 8 && (size & (size - 1)) == 0 ? size : 1;
  }
}

void Cpu::check_alignment(u64 linear, unsigned size) {
  if (alignment_checked_ && (linear & (required_alignment(size) - 1)) != 0)
    raise(Vector::AC, 0, "unaligned access of {1} bytes at {0:#x} with alignment checks on", linear, size);
}

Fault Cpu::page_fault(const WalkFault& fault) {
  return {Vector::PF, true, fault.error_code, fault.linear, {fault.reason, {fault.entry, fault.level, fault.linear}}};
}

void Cpu::raise_page_fault(const WalkFault& fault) { raise(page_fault(fault)); }

void Cpu::load_slow(SegReg seg, u64 lin, void* out, unsigned size, bool supervisor) {
  check_canonical(seg, lin, size, supervisor);
  if (!supervisor) check_alignment(lin, size);
  const AccessContext context = supervisor ? AccessContext::Supervisor : engine.data_context;
  const u64 epoch = tlb.epoch();
  if (!tlb.read(context, lin, out, size, linear_wrap(supervisor))) raise_page_fault(tlb.fault());
  if (slow_memory_ && !supervisor) check_data_breakpoints(*this, lin, size, Access::Read);
  if (watch != nullptr) watch->accessed(*this, lin, size, Access::Read);
  if (tlb.epoch() != epoch) request_attention();
}

void Cpu::store_slow(SegReg seg, u64 lin, const void* in, unsigned size, bool supervisor) {
  check_canonical(seg, lin, size, supervisor);
  if (!supervisor) check_alignment(lin, size);
  const AccessContext context = supervisor ? AccessContext::Supervisor : engine.data_context;
  if (!tlb.write(context, lin, in, size, linear_wrap(supervisor))) raise_page_fault(tlb.fault());
  if (slow_memory_ && !supervisor) check_data_breakpoints(*this, lin, size, Access::Write);
  if (watch != nullptr) watch->accessed(*this, lin, size, Access::Write);
}

void Cpu::probe_slow(SegReg seg, u64 lin, unsigned size, Access access, bool supervisor) {
  check_canonical(seg, lin, size, supervisor);
  if (!supervisor) check_alignment(lin, size);
  const AccessContext context = supervisor ? AccessContext::Supervisor : engine.data_context;
  if (access == Access::Write) {
    if (!tlb.prepare_write(context, lin, size, linear_wrap(supervisor))) raise_page_fault(tlb.fault());
    return;
  }
  for (u64 at = lin, left = size; left != 0;) {
    if (tlb.fill(context, at, access).fault) raise_page_fault(tlb.fault());
    const u64 step = std::min<u64>(left, kPageSize - (at & kPageMask));
    at = (at + step) & linear_wrap(supervisor);
    left -= step;
  }
}

void Cpu::probe_read(SegReg seg, u64 offset, unsigned size) {
  probe_slow(seg, linear(seg, offset, size, Access::Read), size, Access::Read, false);
}

void Cpu::load_bytes(SegReg seg, u64 offset, void* out, unsigned size) {
  const u64 lin = linear(seg, offset, size, Access::Read);
  if (const u8* p = tlb.find_read(engine.access_context, lin, size)) std::memcpy(out, p, size);
  else load_slow(seg, lin, out, size, false);
}

void Cpu::store_bytes(SegReg seg, u64 offset, const void* in, unsigned size) {
  const u64 lin = linear(seg, offset, size, Access::Write);
  if (u8* p = tlb.find_write(engine.access_context, lin, size)) std::memcpy(p, in, size);
  else store_slow(seg, lin, in, size, false);
}

void Cpu::load_linear_bytes(u64 lin, void* out, unsigned size, bool supervisor) {
  const AccessContext context = supervisor ? AccessContext::Supervisor : engine.access_context;
  if (const u8* p = tlb.find_read(context, lin, size)) std::memcpy(out, p, size);
  else load_slow(DS, lin, out, size, supervisor);
}

void Cpu::store_linear_bytes(u64 lin, const void* in, unsigned size, bool supervisor) {
  const AccessContext context = supervisor ? AccessContext::Supervisor : engine.access_context;
  if (u8* p = tlb.find_write(context, lin, size)) std::memcpy(p, in, size);
  else store_slow(DS, lin, in, size, supervisor);
}

void Cpu::probe_linear(u64 lin, unsigned size, Access access, bool supervisor) {
  const AccessContext context = supervisor ? AccessContext::Supervisor : engine.access_context;
  if (access == Access::Write && tlb.find_write(context, lin, size) != nullptr) return;
  if (access == Access::Read && tlb.find_read(context, lin, size) != nullptr) return;
  probe_slow(DS, lin, size, access, supervisor);
}

u8* Cpu::page_pointer(u64 lin, Access access) {
  if (slow_memory_) return nullptr;
  if (access == Access::Write) {
    if (u8* p = tlb.find_write(engine.access_context, lin, 1)) return p;
  } else if (const u8* p = tlb.find_read(engine.access_context, lin, 1)) {
    return const_cast<u8*>(p);
  }
  check_canonical(DS, lin, 1, false);
  const Translation t = tlb.fill(engine.data_context, lin, access);
  if (t.fault) raise_page_fault(tlb.fault());
  // A watched store goes by store_slow. Whoever reads through the pointer tells the watch (Cpu::note_read): how many
  // iterations a step of REP has must not depend on it.
  if (access == Access::Write && tlb.watched(lin, t.physical, access)) return nullptr;
  return t.host;
}

}  // namespace callgate
