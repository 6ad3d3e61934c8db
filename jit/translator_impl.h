// The translator's insides, for the files that it is made of: translator.cpp is the engine's loop and public face,
// translation.cpp makes and forgets blocks, callbacks.cpp is what emitted code calls.
#pragma once

#include "base/verify.h"
#include "cpu/table/row.h"
#include "jit/block_cache.h"
#include "jit/build_block.h"
#include "jit/jump_caches.h"
#include "jit/rewritten_code.h"
#include "jit/translator.h"
#include "jit/x64/emitter.h"

namespace callgate::jit {

/// More than any block's code takes.
constexpr std::size_t kRoomForBlock = 256 << 10;

struct Translator::Impl final : CodeListener {
  Impl(PhysicalMap& map, Interpreter& interp, const TranslatorOptions& opts)
      : memory(map), interpreter(interp), options(opts), blocks(arena), jumps(map.tracker()) {
    memory.add_code_listener(this);
  }
  ~Impl() override { memory.remove_code_listener(this); }

  PhysicalMap& memory;
  Interpreter& interpreter;
  const TranslatorOptions options;
  CodeArena arena;
  x64::Host host;
  x64::Thunks thunks;
  std::size_t arena_keep = 0;  ///< bytes of the thunks
  BlockCache blocks;
  JumpCaches jumps;
  std::deque<Site> sites;
  std::deque<Insn> insns;  ///< what sites point to
  ir::Block block;         ///< reused
  /// Code segments with a base or a limit, as base << 32 | limit, and their numbers from 1 (BlockKey::segment).
  std::unordered_map<u64, u32> segments;
  static constexpr std::size_t kMostSegments = 1 << 12;
  u32 segment = 0;  ///< of the code that runs (enter_view); 0: flat
  x64::EntryStates states;
  x64::Workshop workshop{arena};
  std::deque<u32> counters;  ///< of links
  std::function<u32*()> new_counter = [this] { return &counters.emplace_back(blocks.promote_after); };
  TranslatorStats stats;
  std::unordered_map<const Row*, RowCounts> counts;
  const u64* running_until = nullptr;  ///< of the run() that is on
  const bool* running_stop = nullptr;
  bool inside = false;         ///< emitted code is running
  bool flush_pending = false;  ///< everything is to be forgotten once it has come back
  bool detour_wanted = false;  ///< the exit that follows is for want of a block without groups
  bool fault_found = false;  ///< the exit that follows is a page fault: the TLB knows which
  bool code_changed = false;  ///< a block was invalidated since emitted code was entered
  bool checked_written = false;  ///< a checked block was written to, likewise
  /// How often code was met, by a hash of its place: what is met seldom isn't worth a translation.
  std::vector<u8> met = std::vector<u8>(kPlaces);
  static constexpr std::size_t kPlaces = 1 << 16;
  /// The same for code that roams (BlockCache::met_while_roaming), a stretch of instructions each time.
  static constexpr unsigned kRoamerMeets = 32;
  bool cold = false;     ///< lookup() left code to the interpreter for that reason
  bool roaming = false;  ///< and it was code that roams
  u64 flush_at = 0;
  u64 time_before_count = 0;  ///< the platform's time less the count of retired instructions, in this run()
  /// What the views in the far slots were made from.
  struct Views {
    const Cpu* cpu = nullptr;
    const TlbTable *user = nullptr, *supervisor = nullptr;
    u32 user_generation = 0, supervisor_generation = 0;
    u32 mode_key = 0, segment = 0;
    u64 given_up = 0;  ///< how many jump caches were
    bool operator==(const Views&) const = default;
  };
  Views current_views;
  CodeHandler code_handler;  ///< may be none
  u64 (*host_clock)() = nullptr;  ///< for TranslatorStats::translation_ns
  std::function<bool(u64, u64, u64)> touches_watched;  ///< none: all bytes of watched pages are

  // CodeListener
  void code_written(u64 physical, u32 size) override;
  void code_forgotten(u64 physical) override;
  void code_dropped() override {
    // A handler that emitted code called may have moved memory: what it stands on stays until it is back.
    if (inside) flush_pending = code_changed = true;
    else flush();
  }
  bool has_code(u32 frame) const override { return blocks.has_code(frame); }

  void flush();
  void verify() const {
    const std::string wrong = ir::verify(block);
    VERIFY(wrong.empty(), ("a block breaks the rules of the IR: " + wrong + "\n" + ir::print(block)).c_str());
  }
  u32 code_segment(const Cpu& c);
  bool is_cold(const BlockKey& key);
  u32 lookup(Cpu& c, u32 mode_key, const ir::Mode& mode, u16 entry = 0);
  void promote(Cpu& c, u32 link, u32 plain, const ir::Mode& mode);
  u32 translate(Cpu& c, const BlockKey& key, const ir::Mode& mode, const u8* page, u32 head);
  x64::Emitted emit(const x64::EmitContext& context);
  /// `last_rip`: the end of the code's segment.
  void leave_out_what_cannot_be_lowered(u32 last_rip);
  void build(std::span<const u8> code, unsigned most, unsigned stop, u32 last_rip, const std::vector<u8>& rewritten);
  void run(Cpu& c, const u64& until, const bool& stop);
  void enter_view(Cpu& c);
  void set_time_base(Cpu& c);
  void enter(Cpu& c, u32 number, const u64& until, u32 mode_key, const ir::Mode& mode);

  // Called from emitted code.
  static u8* read(EngineSlots* slots, u64 linear, u64 site) noexcept;
  static u8* write(EngineSlots* slots, u64 linear, u64 site) noexcept;
  static u8* resolve(EngineSlots* slots, u64 target, u64 site) noexcept;
  static u64 execute(EngineSlots* slots, u64 site) noexcept;
  static u64 port_call(EngineSlots* slots, u64 site) noexcept;
  static u64 hook(EngineSlots* slots, u64 site) noexcept;
  static u8* follow(EngineSlots* slots, u64 link) noexcept;
  static u8* transfer(EngineSlots* slots, u64 target) noexcept;
  static u8* step(EngineSlots* slots, u64 site) noexcept;
  u8* step(Cpu& c, const Site& site);
  u8* leave_to_step(Cpu& c);
  u8* code_after(Cpu& c);
  u8* access(Cpu& c, u64 linear, u64 site, AccessKind kind);
  u32 find_mapped(Cpu& c, u64 rip, u32 mode_key, const u8*& bytes);
  u8* detour(Cpu& c, const Site& site);
  u8* store_beside_code(Cpu& c, const Site& site, u64 linear);
  u64 execute(Cpu& c, const Site& site);
  u64 port_call(Cpu& c, const Site& site);
  u64 hook(Cpu& c, const Site& site);
  /// What an instruction's handler may change under the block that it is part of.
  struct Before {
    u64 epoch;
    unsigned units;
    u32 segment;
  };
  u64 perform(Cpu& c, const Site& site, const Insn& insn, const Before& before);
  u64 go_on_behind(Cpu& c, const Site& site, const Before& before, bool faulted);
  bool can_go_on(Cpu& c);
  const void* code_at(Cpu& c, u64 rip);
};

template <class T>
T* from_slot(EngineSlots* slots, Slot s) {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(slots->slot[s]));
}
template <class T>
u64 to_slot(T* p) {
  return static_cast<u64>(reinterpret_cast<std::uintptr_t>(p));
}

}  // namespace callgate::jit
