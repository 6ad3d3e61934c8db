#include "cpu/system/task_switch.h"

#include "cpu/system/control.h"
#include "cpu/system/debug.h"
#include "cpu/system/frame.h"

namespace callgate {

namespace {

// SDM 3A, Figure 7-2 "32-Bit Task-State Segment" and Figure 7-10 "16-Bit TSS Format".
constexpr u32 kMinLimit32 = 0x67, kMinLimit16 = 0x2B;
struct Layout {
  u32 ip, flags, registers, segments, segment_count, ldt, end;
};
constexpr Layout kLayout32{32, 36, 40, 72, 6, 96, 104}, kLayout16{14, 16, 18, 34, 4, 42, 44};
constexpr u32 kCr3At = 28, kTrapAt = 100;

/// What a TSS holds for its task.
struct TaskImage {
  u32 cr3 = 0, eip = 0, eflags = 0;
  u32 gpr[8] = {};
  u16 seg[kSegCount] = {};
  u16 ldt = 0;
  bool trap = false;
};

/// A TSS in memory.
class Tss {
 public:
  Tss(Cpu& c, u64 base, bool wide) : c_(c), base_(base), wide_(wide), at_(wide ? kLayout32 : kLayout16) {}

  void probe(Access access) {
    c_.probe_linear(linear(0), 1, access, true);
    c_.probe_linear(linear(at_.end - 1), 1, access, true);
  }
  void save(u32 eip, u32 eflags) {
    put(at_.ip, eip);
    put(at_.flags, eflags);
    for (unsigned r = 0; r < 8; r++) put(at_.registers + r * word(), static_cast<u32>(c_.s.gpr[r]));
    for (unsigned n = 0; n < at_.segment_count; n++)
      c_.store_linear<u16>(linear(at_.segments + n * word()), c_.s.seg[n].selector, true);
  }
  TaskImage load() {
    TaskImage t;
    t.eip = get(at_.ip);
    t.eflags = get(at_.flags);
    for (unsigned r = 0; r < 8; r++) t.gpr[r] = get(at_.registers + r * word());
    for (unsigned n = 0; n < at_.segment_count; n++)
      t.seg[n] = c_.load_linear<u16>(linear(at_.segments + n * word()), true);
    t.ldt = c_.load_linear<u16>(linear(at_.ldt), true);
    if (wide_) {
      t.cr3 = get(kCr3At);
      t.trap = c_.load_linear<u8>(linear(kTrapAt), true) & 1;
    }
    return t;
  }
  void set_back_link(u16 selector) { c_.store_linear<u16>(linear(0), selector, true); }

 private:
  u32 word() const { return wide_ ? 4 : 2; }
  u64 linear(u32 offset) const { return system_linear(c_, base_, offset); }
  u32 get(u32 offset) {
    return wide_ ? c_.load_linear<u32>(linear(offset), true) : c_.load_linear<u16>(linear(offset), true);
  }
  void put(u32 offset, u32 value) {
    if (wide_) c_.store_linear<u32>(linear(offset), value, true);
    else c_.store_linear<u16>(linear(offset), static_cast<u16>(value), true);
  }

  Cpu& c_;
  u64 base_;
  bool wide_;
  const Layout& at_;
};

u64 type_byte(const Cpu& c, u16 tss) { return system_linear(c, c.s.gdtr.base, (tss & 0xFFF8u) + 5); }

void set_busy(Cpu& c, u16 tss, bool busy) {
  const u64 at = type_byte(c, tss);
  const u8 old = c.load_linear<u8>(at, true);
  c.store_linear<u8>(at, static_cast<u8>(busy ? old | 2 : old & ~2), true);
}

/// The new task's CS. SDM 3A, Table 7-1: every failure but presence is #TS.
void load_task_code(Cpu& c, u16 selector, u32 ext) {
  const u32 error = selector_error(selector) | ext;
  if (is_null(selector)) raise(Vector::TS, ext, "the new task's CS is null");
  Descriptor d = fetch_descriptor(c, selector, Vector::TS, ext);
  const unsigned rpl = selector & 3;
  if (!d.is_code()) raise(Vector::TS, error, "the new task's CS {0:#x} is no code segment", selector);
  if (d.conforming() ? d.dpl() > rpl : d.dpl() != rpl)
    raise(Vector::TS, error, "the new task's CS {0:#x} has DPL {1} and RPL {2}", selector, d.dpl(), rpl);
  if (!d.present()) raise(Vector::NP, error, "the new task's CS {0:#x} is not present", selector);
  mark_accessed(c, d);
  c.s.seg[CS] = d.segment();
}

void load_task_data(Cpu& c, SegReg seg, u16 selector, u32 ext) {
  if (seg != SS && is_null(selector)) return;
  Descriptor d = fetch_data_segment(c, seg, selector, c.cpl(), Vector::TS, ext);
  mark_accessed(c, d);
  c.s.seg[seg] = d.segment();
}

void load_task_segments(Cpu& c, const TaskImage& t, u32 ext) {
  load_ldtr(c, t.ldt, Vector::TS, ext);
  if (c.v86()) {
    for (unsigned n = 0; n < kSegCount; n++) c.s.seg[n] = v86_segment(t.seg[n]);
    return;
  }
  load_task_code(c, t.seg[CS], ext);
  for (const SegReg seg : {SS, ES, DS, FS, GS}) load_task_data(c, seg, t.seg[seg], ext);
}

/// Everything of the new task that can't fault.
void commit_registers(Cpu& c, const TaskImage& t, u32 eflags, bool wide) {
  for (unsigned r = 0; r < 8; r++) c.s.gpr[r] = t.gpr[r];
  c.s.flags.set_value(eflags);
  c.s.cpl = c.v86() ? 3 : t.seg[CS] & 3;
  for (unsigned n = 0; n < kSegCount; n++) c.s.seg[n] = null_segment(t.seg[n], n == SS ? c.cpl() : 0);
  c.s.ldtr = null_segment(t.ldt);
  // A fault from here on belongs to the new task: its frame shows the new task's place.
  c.s.rip = c.next_rip() = wide ? t.eip : t.eip & 0xFFFF;
  c.s.dr7 &= ~u64{0x155};  // L0 to L3 and LE are per task. SDM 3B 17.2.4.
  c.s.cr0 |= kCr0Ts;
}

}  // namespace

Descriptor fetch_available_tss(Cpu& c, u16 selector, u32 ext) {
  const u32 error = selector_error(selector) | ext;
  if (is_null(selector)) raise(Vector::GP, ext, "the TSS selector is null");
  if (selector & 4) raise(Vector::GP, error, "the TSS selector {0:#x} is not in the GDT", selector);
  const Descriptor d = fetch_descriptor(c, selector, Vector::GP, ext);
  if (d.is_code_or_data() || (d.type() != kTssAvailable && d.type() != kTss16Available))
    raise(Vector::GP, error, "{0:#x} is no available TSS (type {1:#x})", selector, d.high >> 8 & 31);
  if (!d.present()) raise(Vector::NP, error, "TSS {0:#x} is not present", selector);
  return d;
}

void switch_task(Cpu& c, const Descriptor& d, TaskSwitch how, u64 return_eip, u32 ext, std::optional<u32> error_code) {
  const bool wide = d.type() & 8, old_wide = c.s.tr.type() & 8;
  const bool nested = how == TaskSwitch::Call || how == TaskSwitch::Event;
  const u16 old_selector = c.s.tr.selector;
  if (d.limit() < (wide ? kMinLimit32 : kMinLimit16))
    raise(Vector::TS, selector_error(d.selector) | ext, "the new TSS {0:#x} has limit {1:#x}: too small", d.selector,
          d.limit());
  if (c.s.tr.limit < (old_wide ? kMinLimit32 : kMinLimit16))
    raise(Vector::TS, selector_error(old_selector) | ext, "the old TSS {0:#x} has limit {1:#x}: too small",
          old_selector, c.s.tr.limit);

  // All that is written or read is touched first, while the old task is whole.
  Tss from(c, c.s.tr.base, old_wide), to(c, d.base(), wide);
  from.probe(Access::Write);
  to.probe(nested ? Access::Write : Access::Read);
  if (!nested) c.probe_linear(type_byte(c, old_selector), 1, Access::Write, true);
  if (how != TaskSwitch::Iret) c.probe_linear(type_byte(c, d.selector), 1, Access::Write, true);
  const bool changes_cr3 = wide && c.s.cr0 & kCr0Pg;
  TaskImage t = to.load();
  if (changes_cr3 && c.s.cr4 & kCr4Pae && !load_pdptes(c, t.cr3))
    raise(Vector::TS, selector_error(d.selector) | ext, "the new task's CR3 {0:#x} names PDPTEs with reserved bits",
          t.cr3);

  u32 old_flags = c.s.flags.value();
  if (how == TaskSwitch::Iret) old_flags &= ~u32{kNT};
  if (!nested) set_busy(c, old_selector, false);
  from.save(static_cast<u32>(return_eip), old_flags);
  t = to.load();  // the new TSS may overlap the old one
  if (nested) to.set_back_link(old_selector);
  if (how != TaskSwitch::Iret) set_busy(c, d.selector, true);

  c.s.tr = d.segment();
  c.s.tr.rights |= 2;  // busy
  if (changes_cr3) c.s.cr3 = t.cr3;
  commit_registers(c, t, nested ? t.eflags | kNT : t.eflags, wide);
  if (!wide) {
    c.s.seg[FS] = null_segment(0);
    c.s.seg[GS] = null_segment(0);
  }
  c.suppress_single_step = true;  // TF is the new task's now
  c.refresh();

  load_task_segments(c, t, ext);
  if (t.trap) c.pend_debug_trap(kDr6Bt);
  c.refresh();
  if (error_code) {
    StackFrame frame(c, c.s.seg[SS], c.s.gpr[RSP], stack_bytes(c.s.seg[SS]), false, ext);
    frame.push(*error_code, wide ? 4 : 2);
    frame.check();
    frame.write();
    c.s.gpr[RSP] = frame.rsp();
  }
  c.check_target(c.s.seg[CS], c.next_rip());
}

void return_to_previous_task(Cpu& c, u64 return_eip) {
  const u16 link = c.load_linear<u16>(system_linear(c, c.s.tr.base, 0), true);
  const u32 error = selector_error(link);
  if (is_null(link) || link & 4)
    raise(Vector::TS, error, "IRET with NT: the back link {0:#x} is null or in the LDT", link);
  const Descriptor d = fetch_descriptor(c, link, Vector::TS);
  if (d.is_code_or_data() || (d.type() != kTssBusy && d.type() != kTss16Busy))
    raise(Vector::TS, error, "IRET with NT: the back link {0:#x} is no busy TSS (type {1:#x})", link, d.high >> 8 & 31);
  if (!d.present()) raise(Vector::NP, error, "IRET with NT: TSS {0:#x} is not present", link);
  switch_task(c, d, TaskSwitch::Iret, return_eip);
}

}  // namespace callgate
