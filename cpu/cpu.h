// One processor: its state, its view of memory, and the rules that every instruction goes through.
// Engines (interpreter, translator) execute instructions on it; it does not know which one does.
#pragma once

#include <vector>

#include "base/log.h"
#include "cpu/execution_watch.h"
#include "cpu/fault.h"
#include "cpu/hypervisor.h"
#include "cpu/insn.h"
#include "cpu/model.h"
#include "cpu/platform.h"
#include "cpu/state.h"
#include "mmu/page_walk.h"
#include "mmu/physical_map.h"
#include "mmu/soft_tlb.h"

namespace callgate {

/// What a memory access is for.
using Access = AccessKind;

/// How an event enters through the IDT.
enum class EventKind : u8 {
  Exception,  ///< a fault or trap that the processor found
  External,   ///< a maskable interrupt or NMI
  Software,   ///< INT n
  IntN3,      ///< INT3, INTO: software, but not subject to the v86 IOPL check of INT n
  Icebp,      ///< ICEBP (F1): like an exception for privilege checks
};

/// The last faults, for a triple fault's report.
struct FaultRecord {
  Fault fault;
  u64 rip = 0;
  u16 cs = 0;
  u64 retired = 0;
};

/// What emitted code reaches by negative displacements from the register file. No part of the state.
struct EngineSlots {
  // What refresh() derives from the state, for every engine; emitted code keeps it up when it changes the privilege level.
  u64 fast_base[kSegCount] = {};
  AccessContext data_context = AccessContext::Supervisor;
  AccessContext access_context = AccessContext::Supervisor;  ///< data_context, or the one that never hits

  // Words of an engine's own; the interpreter has none. The last ones are near enough for short displacements.
  static constexpr unsigned kFar = 9, kCount = 16;
  u64 far[kFar] = {};
  u64 slot[kCount] = {};
};

class Cpu {
 public:
  Cpu(unsigned index, PhysicalMap& memory, CpuPlatform& platform, Log& log, const CpuModel& model);
  ~Cpu();
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;

  /// The state after power-on or INIT (SDM 3A, Processor State After Reset). INIT keeps x87, SSE and most MSRs.
  void reset(bool init = false);

  alignas(64) EngineSlots engine;  ///< directly in front of `s`
  CpuState s;  ///< the architectural state; after changing segments, CRs, flags or CPL from outside, call refresh()

  const unsigned index;
  PhysicalMap& memory;
  CpuPlatform& platform;
  Log& log;
  const CpuModel& model;
  SoftTlb tlb;
  Hypervisor* hypervisor = nullptr;  ///< who runs this guest; nullptr: nobody, bare metal. Set before the first instruction

  // --- mode ---------------------------------------------------------------------------------------------------
  bool protected_mode() const { return s.cr0 & kCr0Pe; }
  bool v86() const { return s.flags.test(kVM); }
  /// Real-address or virtual-8086 mode: segments are sel << 4.
  bool real_or_v86() const { return !protected_mode() || v86(); }
  bool long_mode() const { return s.msr.efer & kEferLma; }
  /// 64-bit code is being executed (not compatibility mode).
  bool bits64() const { return long64_; }
  CodeSize code_size() const { return code_size_; }
  unsigned cpl() const { return s.cpl; }
  /// Bytes of the stack pointer that pushes and pops use: 8, 4 or 2.
  unsigned stack_size() const { return long64_ ? 8 : s.seg[SS].big() ? 4 : 2; }

  /// Sets the base of FS or GS in 64-bit mode, where nothing else depends on it: no refresh() is needed.
  void set_base64(SegReg seg, u64 base) { s.seg[seg].base = engine.fast_base[seg] = base; }

  /// Recomputes what is derived from the state (mode, fast segments, paging, TLB context). Cheap enough to call after any
  /// change of segments, CR0, CR3, CR4, EFER, CPL, VM or AC; ends the engine's current block.
  void refresh();

  // --- registers ----------------------------------------------------------------------------------------------
  /// Writes a register of 1 (by byte offset), 2, 4 or 8 bytes with x86's rule: 4 bytes clear the upper half.
  template <class T>
  void set_gpr(unsigned reg, T value) {
    if constexpr (sizeof(T) == 8 || sizeof(T) == 4)
      s.gpr[reg] = value;
    else
      store_as<T>(&s.gpr[reg], value);
  }
  template <class T>
  T gpr(unsigned reg) const {
    return static_cast<T>(s.gpr[reg]);
  }
  /// The address of the next instruction; branches write it.
  u64& next_rip() { return s.gpr[kGprRip]; }

  /// Sets RFLAGS bits under `mask` from `value` and hears what follows from TF, IF, VM, AC and RF.
  void set_flags(u32 value, u32 mask);

  // --- memory -------------------------------------------------------------------------------------------------
  // Loads and stores through a segment, with every check; they raise faults. T is u8 to u64, or V128 (16 bytes, any
  // alignment). A store commits only when all of its bytes may be written.
  template <class T> T load(SegReg seg, u64 offset);
  template <class T> void store(SegReg seg, u64 offset, T value);
  /// Raises what a store of `size` bytes would raise; the store that follows cannot fault. For read-modify-write.
  void probe_write(SegReg seg, u64 offset, unsigned size);
  void probe_read(SegReg seg, u64 offset, unsigned size);
  /// Any number of bytes (up to 4096), all checked before the first is moved.
  void load_bytes(SegReg seg, u64 offset, void* out, unsigned size);
  void store_bytes(SegReg seg, u64 offset, const void* in, unsigned size);

  // The same at a linear address, for what the processor itself reads and writes. `supervisor` accesses (descriptor
  // tables, TSS, IDT, frames for ring 0) don't look at CPL. Stack frames for an inner ring pass supervisor = (cpl < 3).
  template <class T> T load_linear(u64 linear, bool supervisor);
  template <class T> void store_linear(u64 linear, T value, bool supervisor);
  void load_linear_bytes(u64 linear, void* out, unsigned size, bool supervisor);
  void store_linear_bytes(u64 linear, const void* in, unsigned size, bool supervisor);
  void probe_linear(u64 linear, unsigned size, Access access, bool supervisor);

  /// Accesses through `seg` need no check of its type and limit.
  bool flat(SegReg seg) const { return fast_segments_ >> seg & 1; }
  /// The linear address of [seg:offset] for an access of `size` bytes; raises #GP or #SS by the segment's rules.
  u64 linear(SegReg seg, u64 offset, unsigned size, Access access) {
    if (fast_segments_ >> seg & 1) [[likely]]
      return (offset + engine.fast_base[seg]) & linear_mask_;
    return linear_checked(seg, offset, size, access);
  }

  /// For REP strings and other page-wise work: the host's memory of the RAM page of `linear` (from that byte to the end of
  /// its page) when plain access is allowed there, else nullptr: then go by load and store. Raises what an access would raise.
  u8* page_pointer(u64 linear, Access access);

  /// Bytes at [seg:offset] were read through a page_pointer(): tells the watch, if there is one.
  void note_read(SegReg seg, u64 offset, u64 bytes) {
    if (watch != nullptr) [[unlikely]]
      watch->accessed(*this, linear(seg, offset, 1, Access::Read), static_cast<unsigned>(bytes), Access::Read);
  }

  // --- stack, at CPL's own stack ------------------------------------------------------------------------------
  // push and pop of 2, 4 or 8 bytes. RSP is committed after the access.
  void push(u64 value, unsigned size);
  u64 pop(unsigned size);
  /// The value `depth` bytes above the top of the stack, RSP unchanged.
  u64 peek_stack(u64 depth, unsigned size);
  /// Adds to SP, ESP or RSP, by the stack's size.
  void add_rsp(i64 bytes) { set_rsp(s.gpr[RSP] + static_cast<u64>(bytes)); }
  /// Writes SP, ESP or RSP by the stack's size (the upper part is kept for a 16-bit stack).
  void set_rsp(u64 value);

  // --- control flow -------------------------------------------------------------------------------------------
  /// A near jump: cuts `target` to the operand size, checks the CS limit or canonical form, sets the next RIP.
  void jump_near(u64 target, unsigned width);
  /// Checks that `offset` may be the next RIP in segment `cs` as loaded; raises #GP(0).
  void check_target(const Segment& cs, u64 offset);

  // --- system half (cpu/system) -------------------------------------------------------------------------------
  /// MOV to a segment register, POP, LDS...: all checks; DS, ES, FS, GS, SS. Not CS. (system/segments.cpp)
  void load_segment(SegReg seg, u16 selector);
  /// Sets a segment as real-address mode does: base only (or everything for v86).
  void load_segment_real(SegReg seg, u16 selector);
  /// Delivers an event through the IVT or IDT; raises when the delivery itself faults. `return_rip` is what is pushed.
  /// (system/interrupt.cpp)
  void deliver_event(u8 vector, EventKind kind, bool has_error_code, u32 error_code, u64 return_rip);
  /// Delivers a fault of the current instruction with the double and triple fault rules. Never raises.
  /// (system/exceptions.cpp)
  void deliver_fault(const Fault& fault);
  /// Between instructions: takes what is pending by priority (reset, traps, NMI, interrupts) and wakes from HLT.
  /// True when something was delivered or the activity changed. Never raises. (system/events.cpp)
  bool service_events();
  /// True when an event would be serviced now: a halted CPU has something to wake up for.
  bool event_ready();
  /// True when an event would be serviced if only interrupts and NMIs were let in. No new one comes without attention.
  bool event_waits();

  /// Makes the engine leave its current block after this instruction and look at events again.
  void request_attention() { limit_ = 0; }
  /// A debug trap (DR6 bits) to deliver after the current instruction.
  void pend_debug_trap(u32 dr6_bits) {
    s.pending_db |= dr6_bits;
    request_attention();
  }

  /// The faults delivered last, oldest first: what a triple fault's report shows.
  std::vector<FaultRecord> recent_faults() const;
  void record_fault(const Fault& fault);
  /// How many faults were delivered so far.
  u64 faults_delivered() const { return fault_count_; }

  /// The #PF that a failed translation stands for, and the same raised.
  static Fault page_fault(const WalkFault& fault);
  [[noreturn]] void raise_page_fault(const WalkFault& fault);

  /// Who is asked before instructions and told of watched accesses; nullptr: nobody. `watch_each`: before every instruction.
  ExecutionWatch* watch = nullptr;
  bool watch_each = false;

  /// Set by an instruction that enters a handler (INT n, SYSCALL with TF masked): no single-step trap after it.
  bool suppress_single_step = false;

  /// Engine's loop: instructions run until `retired` reaches this; request_attention() makes it 0.
  u64 limit() const { return limit_; }
  void set_limit(u64 count) { limit_ = count; }

  /// Where the last instructions were (RIPs, oldest first), for a report: as far as the engine noted them. No part of the
  /// state.
  std::vector<u64> trail() const;
  void note_on_trail(u64 rip) { trail_[s.retired % kTrail] = {s.retired, rip}; }

  /// True while single-step (the guest's or the watch's), code breakpoints or a shadow need one instruction at a time with all checks.
  bool careful() const;

  /// TLB context of data accesses at the current CPL and AC; the context of implicit supervisor accesses.
  AccessContext data_context() const { return engine.data_context; }
  /// The context for fast accesses: data_context(), or one that never hits while every access must be looked at.
  AccessContext access_context() const { return engine.access_context; }

 private:
  u64 linear_checked(SegReg seg, u64 offset, unsigned size, Access access);
  void load_slow(SegReg seg, u64 linear, void* out, unsigned size, bool supervisor);
  void store_slow(SegReg seg, u64 linear, const void* in, unsigned size, bool supervisor);
  void probe_slow(SegReg seg, u64 linear, unsigned size, Access access, bool supervisor);
  void check_canonical(SegReg seg, u64 linear, unsigned size, bool supervisor);
  void check_alignment(u64 linear, unsigned size);
  /// What a linear address wraps at. The processor's own accesses are 64-bit wide in compatibility mode, too.
  u64 linear_wrap(bool supervisor) const {
    return long64_ || (supervisor && long_mode()) ? ~u64{0} : 0xFFFFFFFF;
  }

  u64 linear_mask_ = 0xFFFFFFFF;
  u64 limit_ = 0;
  u8 fast_segments_ = 0;  ///< bit i: segment i needs no check for data accesses
  bool long64_ = false;
  u64 paging_registers_[8] = {};  ///< what the TLB's mode was made from: CR0, CR3, CR4, EFER, the PDPTEs
  bool slow_memory_ = false;  ///< data breakpoints or alignment checks: no access takes the fast path
  bool alignment_checked_ = false;
  CodeSize code_size_ = CodeSize::Bits16;
  static constexpr unsigned kTrail = 16;
  struct TrailNote {
    u64 count = ~u64{0};  ///< instructions retired before it
    u64 rip = 0;
  };
  TrailNote trail_[kTrail];
  FaultRecord faults_[8] = {};
  u64 fault_count_ = 0;
};

// --- the fast path of loads and stores, inline; slow twins in memory.cpp ------------------------------------------

template <class T>
inline T Cpu::load(SegReg seg, u64 offset) {
  const u64 lin = linear(seg, offset, sizeof(T), Access::Read);
  if (const u8* p = tlb.find_read(engine.access_context, lin, sizeof(T))) [[likely]]
    return load_as<T>(p);
  T v;
  load_slow(seg, lin, &v, sizeof(T), false);
  return v;
}

template <class T>
inline void Cpu::store(SegReg seg, u64 offset, T value) {
  const u64 lin = linear(seg, offset, sizeof(T), Access::Write);
  if (u8* p = tlb.find_write(engine.access_context, lin, sizeof(T))) [[likely]] {
    store_as<T>(p, value);
    return;
  }
  store_slow(seg, lin, &value, sizeof(T), false);
}

inline void Cpu::probe_write(SegReg seg, u64 offset, unsigned size) {
  const u64 lin = linear(seg, offset, size, Access::Write);
  if (tlb.find_write(engine.access_context, lin, size)) [[likely]] return;
  probe_slow(seg, lin, size, Access::Write, false);
}

template <class T>
inline T Cpu::load_linear(u64 lin, bool supervisor) {
  T v;
  load_linear_bytes(lin, &v, sizeof v, supervisor);
  return v;
}

template <class T>
inline void Cpu::store_linear(u64 lin, T value, bool supervisor) {
  store_linear_bytes(lin, &value, sizeof value, supervisor);
}

}  // namespace callgate
