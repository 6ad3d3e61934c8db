// The words that emitted code and the engine share: what EngineSlots (cpu/cpu.h) hold while a translation runs.
#pragma once

#include <iterator>

#include "cpu/cpu.h"

namespace callgate::jit {

enum Slot : unsigned {
  kBudget,        ///< instructions that may still retire, the running block's already taken off
  kTlbView,       ///< TlbTable* of data accesses
  kJumpCache,     ///< JumpCache* of the current view
  kFlagsImage,    ///< arithmetic flags: AH of LAHF in bits 15..8, OF in bit 0
  kExit,          ///< what the exit concerns: a site's or a link's number
  kEnd,           ///< the count at which the budget is used up
  kTranslator,    ///< Translator*
  kCpu,           ///< Cpu*
  kVectors,       ///< byte 0: the host's vector registers and MXCSR are the guest's (bit 0), upper halves included (bit 1);
                  ///< byte 1: its x87 is; bytes 4 to 7: the host's own MXCSR
  kModeKey,       ///< mode_key()
  kTemp0, kTemp1, kTemp2, kTemp3,  ///< spilled values of one instruction
  kDetour,        ///< code to go on in instead of leaving, or 0
};
static_assert(kDetour < EngineSlots::kCount);
/// Their names in listings.
constexpr const char* kSlotNames[] = {"budget", "tlb", "jump_cache", "flags", "exit", "end", "translator", "cpu",
                                      "vectors", "mode", "temp0", "temp1", "temp2", "temp3", "detour"};
static_assert(std::size(kSlotNames) == kDetour + 1);

/// Words that are seldom used: what emitted code needs to change the privilege level by itself.
enum FarSlot : unsigned {
  kUserTlb, kSupervisorTlb, kSupervisorAcTlb,  ///< TlbTable* of data accesses, by AccessContext
  kUserJumps, kSupervisorJumps,                ///< JumpCache*
  kEventsWait,  ///< not 0: an interrupt or something like it may be waiting for IF
  kTimeIsCount, ///< not 0: the TSC is kTimeBase less the budget, and everybody may read it
  kTimeBase,
};
constexpr const char* kFarNames[] = {"user_tlb", "supervisor_tlb", "supervisor_ac_tlb", "user_jumps", "supervisor_jumps",
                                     "events_wait", "time_is_count", "time_base"};
static_assert(kTimeBase < EngineSlots::kFar && std::size(kFarNames) == kTimeBase + 1);

/// Why emitted code came back.
enum class Exit : u32 {
  Budget,  ///< at a block's entry: not enough budget for the whole block. kExit: the block
  Link,    ///< at a jump whose target isn't linked yet. kExit: the link
  Bail,    ///< before an instruction that the interpreter must execute. kExit: the site
  Done,    ///< after an instruction that asked for attention, or whose target has no code; the state is complete
};

/// The image of arithmetic flags and back. The order of bits in AH is RFLAGS' low byte.
inline u64 flags_image(const Flags& f) {
  const u32 v = f.arithmetic();
  return u64{(v & 0xFF) | kFlagsFixed} << 8 | (v & kOF ? 1 : 0);
}
inline void set_from_image(Flags& f, u64 image) {
  f.set_arithmetic(static_cast<u32>(image >> 8 & 0xFF & kArithmetic) | (image & 1 ? u32{kOF} : 0));
}

/// How often emitted code could not go on by itself at instructions of one row.
struct RowCounts {
  const Row* row = nullptr;  ///< nullptr: invalid encodings
  u64 handler_calls = 0, bails = 0;
};

/// A place in emitted code from which the state as before an instruction is known.
struct Site {
  u64 rip = 0;
  u64 next_rip = 0;
  const Insn* insn = nullptr;
  u32 block = 0; ///< its block's number
  u32 rest = 0;  ///< instructions from this one to the end of its block
  u8 size = 0;   ///< of the access, or of its group's bytes
  bool grouped = false;   ///< it probes for a group
  bool promoted = false;  ///< it only reads, but its group writes: nothing may be set for it
  bool single = false;    ///< its instruction has no other access: what it finds is used at once
  bool beside_groups = false;  ///< what other probes of the block found may be used behind it
  bool shifted = false;   ///< its group begins before it: a fault is not at the address that was probed
  RowCounts* counts = nullptr;
  bool flags_in = false, flags_out = false;  ///< its handler looks at, or changes, the arithmetic flags
};

/// Targets of indirect and cross-page jumps in one view of memory, direct-mapped by bits that stand together in the address:
/// emitted code finds an entry in three instructions. Entries of a page are neighbours, so that a page can be forgotten.
struct JumpCache {
  static constexpr unsigned kOffsetShift = 1;  ///< two jump targets are seldom neighbours
  static constexpr unsigned kOffsetBits = kPageShift - kOffsetShift, kPageBits = 6;
  static constexpr unsigned kEntries = 1u << (kPageBits + kOffsetBits);
  struct Entry {
    u64 rip;
    const void* code;
  };
  Entry entry[kEntries];

  // Bookkeeping for forgetting.
  struct Page {
    u64 address;  ///< with bit 0 set; 0: none
    u64 used;     ///< bit n: a target in its bytes from 64 n on may have an entry
  };
  static constexpr unsigned kChunkShift = 6, kPagesInGroup = 16;
  /// Bit n: group n has entries for addresses of the lower [0] and of the upper [1] half. With those of all caches in one
  /// place (JumpCaches): most caches know nothing of an address, and are not even looked at.
  u64* used_groups;
  Page page[1u << kPageBits][kPagesInGroup];  ///< those that have entries, by group
  u8 victim[1u << kPageBits];                 ///< the place that makes room next

  static constexpr unsigned group_of(u64 rip) { return rip >> kPageShift & ((1u << kPageBits) - 1); }
  static constexpr unsigned index_of(u64 rip) { return rip >> kOffsetShift & (kEntries - 1); }
};

}  // namespace callgate::jit
