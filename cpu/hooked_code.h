// Functions of the guest's that are executed as one instruction each: which there are, and whether their bytes are still those
// that were vouched for. What each kind does is in cpu/intrinsics.cpp; who makes hooks is above (paravirt/calls_hooks.cpp).
//
// A hook is in effect while the bytes at the physical addresses that its function had are the ones it was made for, and for code
// at ring 0 that comes to its linear address. That is a function of the state alone: what changes the bytes (stores, DMA, an
// alias, a restore) need not be seen, only heard of, so that nobody compares them at each entry.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/state_io.h"
#include "cpu/insn.h"
#include "mmu/physical_map.h"

namespace callgate {

class Cpu;

/// What a hooked function is. The numbers are paravirt/ABI.md's, which says exactly what each does.
enum class Intrinsic : u8 {
  None = 0,
  ClearPage = 1,
  CopyPage = 2,
  Memcpy = 3,
  Memset = 4,
  CopyUser = 5,
  LoadLdt = 6,
  Delay = 7,
  Yield = 8,
};
constexpr unsigned kIntrinsics = 9;
const char* name_of(Intrinsic kind);

/// The most bytes that MEMCPY and its like do as one instruction.
constexpr u64 kMostHooked = 64 << 10;

struct Hook {
  Intrinsic kind = Intrinsic::None;  ///< None: the slot is free
  u64 linear = 0;                    ///< of its entry
  u64 physical[2] = {};              ///< of its first byte in each of its pages; the second is ~0 if it has one page
  u64 detail[2] = {};                ///< what the kind wants to know besides
  std::vector<u8> bytes;

  // Not state.
  enum class Bytes : u8 { Unknown, There, Changed } check = Bytes::Unknown;
  Insn own;  ///< the function's first instruction: executed when the intrinsic has nothing to say
};

class HookedCode final : public CodeListener {
 public:
  static constexpr unsigned kSlots = 64;
  static constexpr u32 kMostBytes = 1024;
  static constexpr unsigned kNoSlot = ~0u;

  explicit HookedCode(PhysicalMap& memory);
  ~HookedCode() override;

  // --- for who makes them ---
  /// The slot of a hook that has a byte in [physical, physical + size), or kNoSlot.
  unsigned overlapping(u64 physical, u64 size) const;
  unsigned free_slot() const;
  /// Puts a hook into a free slot. `bytes` are at its physical addresses, and decode(bytes) is a whole instruction.
  void add(unsigned slot, Hook hook);
  void remove(unsigned slot);
  void clear();
  const Hook& hook(unsigned slot) const { return hooks_[slot]; }
  /// Its bytes are the ones that it was made for.
  bool in_effect(unsigned slot) { return is_there(hooks_[slot]); }
  /// The first instruction of a function, when it lies in its page as a whole and the function has all of it.
  static std::optional<Insn> first_instruction(u64 linear, std::span<const u8> bytes);
  void sync(StateIo& io);

  // --- for engines ---
  /// The instruction that stands for the code at this place, if the entry of a hook that is in effect is there; else nullptr.
  /// Of 64-bit code only. Good until the code there is forgotten.
  const Insn* find(u32 frame, unsigned offset) {
    return filter_ >> (frame & 63) & 1 ? find_slow(frame, offset) : nullptr;
  }
  /// The offset of the first entry at or behind `offset` in the frame, in effect or not; kPageSize when there is none.
  unsigned next_entry(u32 frame, unsigned offset) const;
  bool any() const { return count_ != 0; }
  /// A run begins that goes on while `until` is not reached: how far an instruction that stands for many may count.
  void begin_run(const u64& until) { until_ = &until; }
  /// Executes slot `slot`: the exec of what find() gives.
  void execute(Cpu& c, unsigned slot);
  /// The same in parts, for an engine that keeps arithmetic flags elsewhere: the intrinsic, which sets all of them or none, and when
  /// it declines, the function's own first instruction.
  enum class Outcome : u8 { Declined, Done, DoneWithFlags };
  Outcome attempt(Cpu& c, unsigned slot);
  const Insn& own(unsigned slot) const { return hooks_[slot].own; }
  static bool is_hook(const Insn& insn);

  // CodeListener
  void code_written(u64 physical, u32 size) override;
  void code_forgotten(u64) override {}
  void code_dropped() override;
  bool has_code(u32 frame) const override;

  /// Figures of this run, no state.
  struct Stats {
    std::array<u64, kIntrinsics> entered{};   ///< done as one instruction
    std::array<u64, kIntrinsics> declined{};  ///< left to the function's own code
    u64 suspended = 0;  ///< times that a hook's bytes were found changed
    u64 refused = 0;    ///< hooks that were asked for and not made
  } stats;

 private:
  const Insn* find_slow(u32 frame, unsigned offset);
  bool is_there(Hook& h);
  bool applies(Cpu& c, Hook& h);
  bool run(Cpu& c, const Hook& h);  // intrinsics.cpp
  void count_frames();
  void forget_entry(const Hook& h) { memory_.forget_code(h.physical[0]); }

  PhysicalMap& memory_;
  std::array<Hook, kSlots> hooks_;
  std::array<Insn, kSlots> insns_;  ///< what find() gives
  unsigned count_ = 0;
  u64 filter_ = 0;  ///< bit n: a frame with these lower six bits may have an entry
  const u64* until_ = nullptr;
};

/// Bytes of a function that are in its first page.
inline u64 bytes_in_first_page(u64 linear, u64 length) { return std::min<u64>(length, kPageSize - (linear & kPageMask)); }

}  // namespace callgate
