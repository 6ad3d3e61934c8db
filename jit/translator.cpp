#include "jit/translator.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/verify.h"
#include "cpu/table/row.h"
#include "jit/block_cache.h"
#include "jit/build_block.h"
#include "jit/jump_caches.h"
#include "jit/passes/flags_liveness.h"
#include "jit/passes/order_ops.h"
#include "jit/passes/probe_groups.h"
#include "jit/rewritten_code.h"
#include "jit/trace.h"
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
  bool cold = false;  ///< lookup() left code to the interpreter for that reason
  u64 flush_at = 0;
  u64 time_before_count = 0;  ///< the platform's time less the count of retired instructions, in this run()
  /// What the views in the far slots were made from.
  struct Views {
    const Cpu* cpu = nullptr;
    const TlbTable *user = nullptr, *supervisor = nullptr;
    u32 user_generation = 0, supervisor_generation = 0;
    u32 mode_key = 0;
    u64 given_up = 0;  ///< how many jump caches were
    bool operator==(const Views&) const = default;
  };
  Views current_views;
  CodeHandler code_handler;  ///< may be none
  u64 (*host_clock)() = nullptr;  ///< for TranslatorStats::translation_ns

  // CodeListener
  void code_written(u64 physical, u32 size) override;
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
  bool is_cold(const BlockKey& key);
  u32 lookup(Cpu& c, u32 mode_key, const ir::Mode& mode, u16 entry = 0);
  void promote(Cpu& c, u32 link, u32 plain, const ir::Mode& mode);
  u32 translate(Cpu& c, const BlockKey& key, const ir::Mode& mode, const u8* page, u32 head);
  x64::Emitted emit(const x64::EmitContext& context);
  void build(std::span<const u8> code, unsigned most, unsigned stop, const std::vector<u8>& rewritten);
  void run(Cpu& c, const u64& until, const bool& stop);
  void enter_view(Cpu& c);
  void set_time_base(Cpu& c);
  void enter(Cpu& c, u32 number, const u64& until, u32 mode_key, const ir::Mode& mode);

  // Called from emitted code.
  static u8* read(EngineSlots* slots, u64 linear, u64 site) noexcept;
  static u8* write(EngineSlots* slots, u64 linear, u64 site) noexcept;
  static u8* resolve(EngineSlots* slots, u64 target, u64 site) noexcept;
  static u64 execute(EngineSlots* slots, u64 site) noexcept;
  static u8* follow(EngineSlots* slots, u64 link) noexcept;
  static u8* transfer(EngineSlots* slots, u64 target) noexcept;
  static u8* step(EngineSlots* slots, u64 site) noexcept;
  u8* step(Cpu& c, const Site& site);
  u8* leave_to_step(Cpu& c);
  u8* code_after(Cpu& c);
  u8* access(Cpu& c, u64 linear, u64 site, AccessKind kind);
  u8* detour(Cpu& c, const Site& site);
  u8* store_beside_code(Cpu& c, const Site& site, u64 linear);
  u64 execute(Cpu& c, const Site& site);
  bool can_go_on(Cpu& c);
  const void* code_at(Cpu& c, u64 rip);
};

namespace {
template <class T>
T* from_slot(EngineSlots* slots, Slot s) {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(slots->slot[s]));
}
template <class T>
u64 to_slot(T* p) {
  return static_cast<u64>(reinterpret_cast<std::uintptr_t>(p));
}

/// A block's name in profiles.
std::string name_of(const BlockKey& key, const ir::Mode& mode) {
  return fmt::format("guest:{:#x}/{}{}{}", key.rip, mode.long64 ? 64 : mode.code_size == CodeSize::Bits32 ? 32 : 16,
                     key.mode & kModeUngrouped ? "/ungrouped" : "", key.entry != 0 ? "/linked" : "");
}
}  // namespace

void Translator::Impl::code_written(u64 physical, u32 size) {
  const PhysicalPage at = memory.page(physical);
  if (at.frame == kNoFrame || !blocks.has_code(at.frame)) return;
  const auto gone = [&](const TranslatedBlock& b) { jumps.forget(b.key.rip); };
  BlockCache::Written w = blocks.invalidate(at.frame, static_cast<unsigned>(physical & kPageMask), size, false, gone);
  if (w.checked) {
    checked_written = true;
  } else if (blocks.written(at.frame)) {
    w.gone += blocks.invalidate(at.frame, 0, kPageSize, true, gone).gone;
    blocks.release(at.frame);
    memory.release_code(at.frame);
  }
  stats.invalidated += w.gone;
  if (w.gone != 0) code_changed = true;
}

void Translator::Impl::flush() {
  stats.flushes++;
  flush_pending = false;
  blocks.clear();
  jumps.clear();
  sites.clear();
  insns.clear();
  states.clear();
  workshop.flags.clear();
  counters.clear();
  arena.reset(arena_keep);
  code_changed = true;
}

// Much of what a kernel executes while it starts it executes once.
bool Translator::Impl::is_cold(const BlockKey& key) {
  if (options.interpret_first == 0 || key.entry != 0 || (key.mode & kModeUngrouped)) return false;
  u8& times = met[((key.rip ^ u64{key.frame} << 40) * 0x9E3779B97F4A7C15ull >> 32) % kPlaces];
  if (times >= options.interpret_first) return false;
  times++;
  return true;
}

u32 Translator::Impl::lookup(Cpu& c, u32 mode_key, const ir::Mode& mode, u16 entry) {
  const u64 linear = code_linear(c, c.s.rip);
  const u8* p = c.tlb.find_exec(c.data_context(), linear, 1);
  if (p == nullptr) {
    if (c.bits64() && !is_canonical(linear)) return kNoBlock;
    const Translation t = c.tlb.fill(c.data_context(), linear, Access::Execute);
    if (t.fault || t.host == nullptr) return kNoBlock;  // the interpreter raises it, or reads registers
    p = t.host;
  }
  const u32 frame = memory.ram().frame_of(p);
  if (frame == kNoFrame) return kNoBlock;
  const BlockKey key{c.s.rip, frame, mode_key, entry};
  u32 number = blocks.find(key);
  u32 head = kNoBlock;
  if (number != kNoBlock && blocks.block(number).checked != nullptr) {
    head = number;
    number = blocks.find_variant(head, p);
  }
  if (number == kNoBlock) {
    if (is_cold(key)) {
      cold = true;
      return kNoBlock;
    }
    const u64 start = host_clock != nullptr ? host_clock() : 0;
    number = translate(c, key, mode, p - (linear & kPageMask), head);
    if (host_clock != nullptr) stats.translation_ns += host_clock() - start;
  }
  return number;
}

// The link has been followed so often that its target, whose plain version is `plain`, is worth a version for it. Decided by
// counts alone, and nothing that a guest could notice: a version does the same.
void Translator::Impl::promote(Cpu& c, u32 link, u32 plain, const ir::Mode& mode) {
  Link& l = blocks.link(link);
  *l.counter = BlockCache::kNever;
  if (l.state == x64::EntryStates::kNone) return;
  BlockKey key = blocks.block(plain).key;
  key.entry = l.state;
  // Code that is rewritten is looked at first, which needs flags and registers.
  if (blocks.unrest(key.frame, blocks.block(plain).offset) != BlockCache::Unrest::None || blocks.block(plain).checked != nullptr) return;
  if (blocks.find(key) == kNoBlock) {
    if (blocks.block(plain).versions == BlockCache::kMostVersions) return;
    blocks.block(plain).versions++;
    stats.versions++;
  }
  const u64 flushes = stats.flushes;
  const u32 version = lookup(c, key.mode, mode, l.state);
  if (stats.flushes == flushes && version != kNoBlock && blocks.block(version).entry != nullptr) blocks.connect(link, version);
}

// A version that is a loop gets rounds that ask for all they need in front, if it can.
x64::Emitted Translator::Impl::emit(const x64::EmitContext& context) {
  const bool loop = context.entry_state != 0 && options.passes && jumps_to_itself(block);
  if (loop) {
    x64::Loop rounds{block, {}};
    if (auto plan = plan_loop(rounds.body)) {
      rounds.plan = std::move(*plan);
      x64::Emitter emitter(context, block, &rounds);
      if (const x64::Emitted e = emitter.emit(); e.entry != nullptr) {
        stats.loops++;
        return e;
      }
    }
  }
  x64::Emitter emitter(context, block);
  return emitter.emit();
}

// From code to a block's IR, without the passes.
void Translator::Impl::build(std::span<const u8> code, unsigned most, unsigned stop, const std::vector<u8>& rewritten) {
  if (stop == 0) return block.clear();
  build_block(code, most, block, stop);
  read_from_code(block, rewritten);
  if (options.verify) verify();
  for (ir::BlockInsn& b : block.insns)
    if (b.count != 0 && !x64::can_lower(block, b, host)) {
      b.count = 0;
      b.may_leave = true;
    }
}

// `head`: the block with this key has checked variants, none of which is the code that is there now.
u32 Translator::Impl::translate(Cpu& c, const BlockKey& key, const ir::Mode& mode, const u8* page, u32 head) {
  if (arena.room() < kRoomForBlock) {
    flush();
    head = kNoBlock;
  }
  const unsigned offset = static_cast<unsigned>(code_linear(c, key.rip) & kPageMask);
  const std::span<const u8> code{page + offset, kPageSize - offset};
  memory.mark_code(key.frame);
  if (head != kNoBlock && blocks.block(head).checked->variants.size() >= BlockCache::kMostVariants) {
    if (options.interpret_rewritten) blocks.give_up(key.frame, offset);
    jumps.forget(key.rip);
    blocks.forget(head);
    head = kNoBlock;
  }
  const BlockCache::Unrest unrest = head != kNoBlock ? BlockCache::Unrest::Rewritten : blocks.unrest(key.frame, offset);
  TranslatedBlock t;
  t.key = key;
  t.offset = static_cast<u16>(offset);
  t.bytes = 1;
  if (unrest == BlockCache::Unrest::Hopeless) {
    t.bytes = static_cast<u16>(std::min<std::size_t>(64, code.size()));
    t.restless = true;
    return blocks.add(std::move(t));
  }
  block.mode = mode;
  block.rip = key.rip;
  unsigned most = options.most_insns != 0 ? options.most_insns : kMostInsns;
  if (options.split_seed != 0) most = 1 + static_cast<unsigned>(((options.split_seed ^ key.rip) * 0x9E3779B97F4A7C15ull >> 32) % most);
  // A stop begins no block's middle, and a block that begins with one has no code: the interpreter asks before it.
  const unsigned stop = c.watch != nullptr ? c.watch->next_stop(code_linear(c, key.rip) & ~kPageMask,
                                                                memory.physical_of(key.frame), offset)
                                           : static_cast<unsigned>(kPageSize);
  std::vector<u8> rewritten;
  const auto build = [&] { this->build(code, most, stop - offset, rewritten); };
  build();
  if (block.insns.empty()) {
    if (head != kNoBlock) {
      jumps.forget(key.rip);
      blocks.forget(head);
    }
    return blocks.add(std::move(t));
  }
  u32 instead_of = head != kNoBlock ? merge_variants(blocks, head, code, block, rewritten) : kNoBlock;
  if (instead_of != kNoBlock) {
    build();
    if (!reads_all_of(block, rewritten)) {
      instead_of = kNoBlock;
      rewritten.clear();
      build();
    }
  }
  if (key.mode & kModeX87) x64::note_x87(block, host);
  order_ops(block);
  if (options.passes && !(key.mode & kModeUngrouped)) probe_groups(block);
  if (options.passes) flags_liveness(block);
  else all_flags_live(block);
  if (options.verify) verify();
  t.bytes = static_cast<u16>(block_bytes(block));
  rewritten.resize(t.bytes);
  const x64::CodeCheck check{code.data(), t.bytes, rewritten};
  const bool checked = unrest == BlockCache::Unrest::Rewritten && key.entry == 0;
  const x64::EmitContext context{arena, thunks, host, sites, insns, counts, states, workshop, new_counter, blocks.next_number(),
                                 blocks.next_link(), options.chaining, key.entry, checked ? &check : nullptr};
  const x64::Emitted e = emit(context);
  VERIFY(e.entry != nullptr, "a block didn't fit in the arena");
  t.entry = e.entry;
  t.insns = static_cast<u16>(block.insns.size());
  if (checked) {
    t.checked = std::make_unique<CheckedCode>(
        CheckedCode{{code.data(), code.data() + t.bytes}, std::move(rewritten), blocks.next_link(), {}});
  }
  std::size_t counter = counters.size();
  for (const x64::LinkPlace& l : e.links) counter -= l.state != 0;
  for (const x64::LinkPlace& l : e.links)
    blocks.add_link({l.target, l.state, {const_cast<u8*>(l.jump), l.stub}, {const_cast<u8*>(l.plain_jump), l.plain_stub},
                     l.state != 0 ? &counters[counter++] : nullptr, checked && &l == e.links.data()});
  if (c.log.on(LogChannel::Translator)) [[unlikely]]
    c.log.line(LogChannel::Translator, "{}", trace(block, code, {e.entry, e.size}, e.starts));
  if (code_handler) [[unlikely]] code_handler({e.entry, e.size, name_of(key, mode), &block, e.starts});
  stats.blocks++;
  stats.instructions += t.insns;
  stats.code_bytes += e.size;
  if (head == kNoBlock) return blocks.add(std::move(t));
  if (instead_of == head) jumps.forget(key.rip);
  const u32 number = blocks.next_number();
  blocks.add_variant(head, std::move(t), instead_of);
  return number;
}

void Translator::Impl::run(Cpu& c, const u64& until, const bool& stop) {
  time_before_count = c.platform.now() - c.s.retired;
  while (c.s.retired < until && !stop) {
    if (c.event_ready()) {
      c.service_events();
      if (stop) return;
    }
    if (c.s.activity != Activity::Running) return;
    if (c.careful() || !can_translate(c)) {
      const u64 before = c.s.retired;
      interpreter.advance(c, until);
      stats.interpreted += c.s.retired - before;
      continue;
    }
    const ir::Mode mode = mode_of(c);
    const u32 mode_key = jit::mode_key(c);
    running_until = &until;
    running_stop = &stop;
    c.engine.slot[kModeKey] = mode_key;
    enter_view(c);
    c.engine.slot[kVectors] = u64{0x1F80} << 32;
    c.engine.slot[kTranslator] = to_slot(this);
    c.engine.slot[kCpu] = to_slot(&c);
    c.set_limit(1);  // 0 is the call for attention
    const unsigned units = unit_modes(c.s);
    while (c.limit() != 0 && c.s.retired < until && !stop && unit_modes(c.s) == units) {
      const u32 number = cold ? kNoBlock : lookup(c, mode_key, mode);
      const TranslatedBlock* b = number != kNoBlock ? &blocks.block(number) : nullptr;
      if (b == nullptr || b->entry == nullptr || until - c.s.retired < b->insns) {
        const u64 before = c.s.retired;
        u64 end = c.s.retired + 1;
        if (b != nullptr && b->entry != nullptr) {
          end = until;
        } else if (b != nullptr && b->restless) {
          constexpr u64 kStretch = 4;  // not far: what it calls or returns to is translated
          end = std::min(until, c.s.retired + kStretch);
          if (++blocks.block(number).runs >= BlockCache::kRunsUntilSettled) blocks.has_settled(number);
        }
        if (cold) {
          cold = false;
          interpreter.advance_to_branch(c, until);
        } else {
          interpreter.advance(c, end);
        }
        stats.interpreted += c.s.retired - before;
        if (c.s.retired == before || c.careful()) break;  // a fault, or attention
        // The interpreter uses the limit for itself.
        if (c.limit() == 0) break;
        c.set_limit(1);
        continue;
      }
      enter_view(c);
      JumpCaches::set(*from_slot<JumpCache>(&c.engine, kJumpCache), c.s.rip, blocks.entry_of(number).entry);
      enter(c, number, until, mode_key, mode);
      if (options.flush_every != 0 && stats.entries >= flush_at) {
        flush_at = stats.entries + options.flush_every;
        flush();
      }
    }
  }
}

// The TLB and the jump cache of memory as the processor sees it now, and those of the other privilege level. Whatever
// changes one of them (but for emitted code itself) asks for attention, and so comes here before emitted code goes on.
void Translator::Impl::enter_view(Cpu& c) {
  auto& slot = c.engine.slot;
  auto& far = c.engine.far;
  using enum AccessContext;
  const TlbTable* user = c.tlb.table(User);
  const TlbTable* supervisor = c.tlb.table(Supervisor);
  const u32 mode_key = static_cast<u32>(slot[kModeKey]);
  const Views views{&c, user, supervisor, user->generation, supervisor->generation, mode_key, jumps.given_up()};
  if (!(views == current_views)) {
    far[kUserTlb] = to_slot(user);
    far[kSupervisorTlb] = to_slot(supervisor);
    far[kUserJumps] = to_slot(&jumps.select(user, mode_key));
    // AC makes no difference to where code is.
    far[kSupervisorJumps] = to_slot(&jumps.select(supervisor, mode_key));
    current_views = views;
    current_views.given_up = jumps.given_up();
  }
  far[kSupervisorAcTlb] = to_slot(c.tlb.table(SupervisorAc));
  far[kEventsWait] = c.event_waits();
  far[kTimeIsCount] = c.platform.time_is_count() && !(c.s.cr4 & kCr4Tsd);
  slot[kTlbView] = to_slot(c.tlb.table(c.access_context()));
  slot[kJumpCache] = far[c.data_context() == User ? kUserJumps : kSupervisorJumps];
  set_time_base(c);
}

// The TSC is this less the budget: one tick goes with each instruction.
void Translator::Impl::set_time_base(Cpu& c) {
  c.engine.far[kTimeBase] = time_before_count + c.s.msr.tsc_adjust + c.engine.slot[kEnd];
}

void Translator::Impl::enter(Cpu& c, u32 number, const u64& until, u32 mode_key, const ir::Mode& mode) {
  auto& slot = c.engine.slot;
  slot[kFlagsImage] = flags_image(c.s.flags);
  u32 link = kNoBlock;
  for (;;) {
    slot[kEnd] = until;
    slot[kBudget] = until - c.s.retired;
    set_time_base(c);
    code_changed = checked_written = false;
    stats.entries++;
    inside = true;
    const Exit why = thunks.enter(&c.engine, blocks.block(number).entry);
    inside = false;
    if (why == Exit::Done) {
      stats.exits_done++;
      set_from_image(c.s.flags, slot[kFlagsImage]);
      if (flush_pending) flush();
      return;
    }
    const u32 what = static_cast<u32>(slot[kExit]);
    switch (why) {
      case Exit::Budget:
        stats.exits_budget++;
        slot[kBudget] += blocks.block(what).insns;
        c.s.rip = blocks.block(what).key.rip;
        break;
      case Exit::Link:
        stats.exits_link++;
        c.s.rip = blocks.link(what).target;
        link = what;
        break;
      default:
        stats.exits_bail++;
        sites[what].counts->bails++;
        slot[kBudget] += sites[what].rest;
        c.s.rip = sites[what].rip;
    }
    c.s.retired = slot[kEnd] - slot[kBudget];
    c.next_rip() = c.s.rip;
    set_from_image(c.s.flags, slot[kFlagsImage]);
    if (why == Exit::Bail) {
      c.set_limit(1);
      if (detour_wanted) {
        detour_wanted = false;
        lookup(c, mode_key | kModeUngrouped, mode);  // for the next time
      }
      interpreter.advance(c, c.s.retired + 1);
      stats.interpreted++;
      if (c.limit() != 0) c.set_limit(1);
      return;
    }
    if (why == Exit::Budget) return;
    const u64 flushes = stats.flushes;
    number = lookup(c, mode_key, mode);
    if (number == kNoBlock) return;
    const TranslatedBlock& b = blocks.block(number);
    if (b.entry == nullptr || until - c.s.retired < b.insns) return;
    JumpCaches::set(*from_slot<JumpCache>(&c.engine, kJumpCache), c.s.rip, blocks.entry_of(number).entry);
    if (stats.flushes != flushes || !options.chaining) continue;
    blocks.connect(link, number);
    if (const u32* counter = blocks.link(link).counter; counter != nullptr && *counter == 0) {
      promote(c, link, number, mode);
      if (stats.flushes != flushes) number = lookup(c, mode_key, mode);
      if (number == kNoBlock || blocks.block(number).entry == nullptr) return;
    }
  }
}

u8* Translator::Impl::read(EngineSlots* slots, u64 linear, u64 site) noexcept {
  return from_slot<Impl>(slots, kTranslator)->access(*from_slot<Cpu>(slots, kCpu), linear, site, Access::Read);
}
u8* Translator::Impl::write(EngineSlots* slots, u64 linear, u64 site) noexcept {
  return from_slot<Impl>(slots, kTranslator)->access(*from_slot<Cpu>(slots, kCpu), linear, site, Access::Write);
}

// A group's bytes lie in two pages, or may not be written yet: a block in which every access probes for itself goes on.
u8* Translator::Impl::detour(Cpu& c, const Site& site) {
  auto& slot = c.engine.slot;
  const u8* p = c.tlb.find_exec(c.data_context(), c.bits64() ? site.rip : site.rip & 0xFFFFFFFF, 1);
  const u32 frame = p != nullptr ? memory.ram().frame_of(p) : kNoFrame;
  const u32 number = frame != kNoFrame
                         ? blocks.find({site.rip, frame, static_cast<u32>(slot[kModeKey]) | kModeUngrouped})
                         : kNoBlock;
  const u8* code = number != kNoBlock ? blocks.block(number).entry : nullptr;
  detour_wanted = code == nullptr;
  if (code != nullptr) {
    slot[kBudget] += site.rest;
    slot[kDetour] = to_slot(code);
  }
  return nullptr;
}

// A store in a page that has code, too: the block goes on, unless code is gone, or it is its own code.
u8* Translator::Impl::store_beside_code(Cpu& c, const Site& site, u64 linear) {
  const u8* p = c.tlb.find_read(c.data_context(), linear, site.size);
  const u32 frame = p != nullptr ? memory.ram().frame_of(p) : kNoFrame;
  if (frame == kNoFrame) return nullptr;
  const u8 flags = memory.ram().flags(frame);
  if (!(flags & kFrameCode) || (flags & kFrameTable)) return nullptr;
  const u32 offset = static_cast<u32>(linear & kPageMask);
  u8* to = memory.ram().frame(frame) + offset;
  // Whoever must know hears of a write of what is there, before anybody looks for code again.
  u8 same[256];
  std::memcpy(same, to, site.size);
  memory.write_frame(frame, offset, same, site.size);
  if (code_changed || blocks.covers(site.block, frame, offset, site.size)) return nullptr;
  checked_written = false;
  return to;
}

// The access itself is emitted code's; here the translation is found. What is no plain access to one page of RAM, and
// every fault, is the interpreter's: it executes the instruction from its start.
u8* Translator::Impl::access(Cpu& c, u64 linear, u64 number, AccessKind kind) {
  const Site& site = sites[number];
  stats.slow_accesses++;
  if (c.access_context() == AccessContext::Watched) return nullptr;
  const bool crosses = (linear & kPageMask) + site.size > kPageSize;
  if (site.grouped && (site.promoted || crosses)) return detour(c, site);
  if (crosses || (c.bits64() && !is_canonical(linear))) return leave_to_step(c);
  const u64 epoch = c.tlb.epoch(), write_epoch = c.tlb.write_epoch();
  const Translation t = c.tlb.fill(c.data_context(), linear, kind);
  fault_found = t.fault && !site.shifted;
  if (c.tlb.watched(linear, t.physical, kind)) return nullptr;
  // Accessed and dirty bits that the walk set may have changed code, or other translations.
  const bool plain =
      !t.fault && !code_changed && !checked_written && c.tlb.epoch() == epoch && c.tlb.write_epoch() == write_epoch;
  u8* to = plain ? t.host : nullptr;
  if (plain && to == nullptr && kind == Access::Write) to = store_beside_code(c, site, linear);
  return to != nullptr ? to : leave_to_step(c);
}

// The code of the block at `rip` in the current mode and view; only what is there: translating could empty the arena under
// the block that asks.
const void* Translator::Impl::code_at(Cpu& c, u64 rip) {
  JumpCache& cache = *from_slot<JumpCache>(&c.engine, kJumpCache);
  const JumpCache::Entry& entry = cache.entry[JumpCache::index_of(rip)];
  if (entry.rip == rip) return entry.code;
  const u64 linear = c.bits64() ? rip : rip & 0xFFFFFFFF;
  const u8* p = c.tlb.find_exec(c.data_context(), linear, 1);
  const u32 frame = p != nullptr ? memory.ram().frame_of(p) : kNoFrame;
  if (frame == kNoFrame) return nullptr;
  const u32 number = blocks.find({rip, frame, static_cast<u32>(c.engine.slot[kModeKey])});
  if (number == kNoBlock) return nullptr;
  const u8* code = blocks.block(number).entry;
  if (code != nullptr) JumpCaches::set(cache, rip, code);
  return code;
}

u8* Translator::Impl::resolve(EngineSlots* slots, u64 target, u64) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  self.stats.slow_resolves++;
  return static_cast<u8*>(const_cast<void*>(self.code_at(*from_slot<Cpu>(slots, kCpu), target)));
}

// The state is that behind the block, but for what Exit::Done leaves to enter().
u8* Translator::Impl::transfer(EngineSlots* slots, u64 target) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  Cpu& c = *from_slot<Cpu>(slots, kCpu);
  self.stats.slow_resolves++;
  c.s.rip = c.next_rip() = target;
  c.s.retired = slots->slot[kEnd] - slots->slot[kBudget];
  return self.code_after(c);
}

// Between two instructions, when nothing that was emitted is returned to: the code at RIP, translated if need be. nullptr when
// there is none, or when the run() that is on ends before it or in its first block.
u8* Translator::Impl::code_after(Cpu& c) {
  const auto& slot = c.engine.slot;
  if (flush_pending || c.s.retired >= slot[kEnd]) return nullptr;
  const u32 mode_key = static_cast<u32>(slot[kModeKey]);
  const void* code = code_at(c, c.s.rip);
  if (code == nullptr) {
    set_from_image(c.s.flags, slot[kFlagsImage]);
    const u32 number = lookup(c, mode_key, mode_of(c));
    if (number == kNoBlock) return nullptr;
    const TranslatedBlock& b = blocks.block(number);
    if (b.entry == nullptr || slot[kEnd] - c.s.retired < b.insns) return nullptr;
    code = blocks.entry_of(number).entry;
    JumpCaches::set(*from_slot<JumpCache>(&c.engine, kJumpCache), c.s.rip, code);
  }
  code_changed = checked_written = false;
  return static_cast<u8*>(const_cast<void*>(code));
}

// The instruction goes to the interpreter, and emitted code goes on behind it.
u8* Translator::Impl::leave_to_step(Cpu& c) {
  c.engine.slot[kDetour] = to_slot(thunks.step);
  return nullptr;
}

// Makes a link whose target is translated already. What needs translating (and may empty the arena) is done outside.
u8* Translator::Impl::follow(EngineSlots* slots, u64 link) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  Cpu& c = *from_slot<Cpu>(slots, kCpu);
  const Link& l = self.blocks.link(static_cast<u32>(link));
  if (l.mismatch || (l.counter != nullptr && *l.counter == 0)) return nullptr;
  const u64 linear = c.bits64() ? l.target : l.target & 0xFFFFFFFF;
  if (c.bits64() && !is_canonical(linear)) return nullptr;
  const u8* p = c.tlb.find_exec(c.data_context(), linear, 1);
  if (p == nullptr) p = c.tlb.fill(c.data_context(), linear, Access::Execute).host;
  if (self.flush_pending) return nullptr;
  const u32 frame = p != nullptr ? self.memory.ram().frame_of(p) : kNoFrame;
  if (frame == kNoFrame) return nullptr;
  const u32 number = self.blocks.find({l.target, frame, static_cast<u32>(slots->slot[kModeKey])});
  if (number == kNoBlock || self.blocks.block(number).entry == nullptr) return nullptr;
  self.stats.links_followed++;
  JumpCaches::set(*from_slot<JumpCache>(slots, kJumpCache), l.target, self.blocks.block(number).entry);
  if (self.options.chaining) self.blocks.connect(static_cast<u32>(link), number);
  return const_cast<u8*>(self.blocks.block(number).entry);
}

u8* Translator::Impl::step(EngineSlots* slots, u64 number) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  return self.step(*from_slot<Cpu>(slots, kCpu), self.sites[number]);
}

u8* Translator::Impl::step(Cpu& c, const Site& site) {
  auto& slot = c.engine.slot;
  stats.interpreted++;
  site.counts->bails++;
  slot[kBudget] += site.rest;
  c.s.rip = c.next_rip() = site.rip;
  c.s.retired = slot[kEnd] - slot[kBudget];
  set_from_image(c.s.flags, slot[kFlagsImage]);
  const unsigned units = unit_modes(c.s);
  c.set_limit(1);
  if (fault_found) {
    fault_found = false;
    c.note_on_trail(c.s.rip);
    c.deliver_fault(Cpu::page_fault(c.tlb.fault()));
  } else {
    interpreter.advance(c, c.s.retired + 1);
  }
  slot[kFlagsImage] = flags_image(c.s.flags);
  if (c.limit() == 0 ? !can_go_on(c) : unit_modes(c.s) != units) return nullptr;
  c.set_limit(1);
  slot[kBudget] = slot[kEnd] - c.s.retired;
  return code_after(c);
}

u64 Translator::Impl::execute(EngineSlots* slots, u64 number) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  return self.execute(*from_slot<Cpu>(slots, kCpu), self.sites[number]);
}

// An instruction asked for attention. True when there is nothing to attend to: no event, the same mode. The view of memory
// may be another one from now on.
bool Translator::Impl::can_go_on(Cpu& c) {
  if (*running_until != c.engine.slot[kEnd] || *running_stop) return false;
  // The shadow of an STI is over after the next instruction, whose code is here and which this run still retires. No event
  // waits, so nobody sees that it ends one instruction early.
  if (c.s.sti_shadow && !c.s.mov_ss_shadow && c.s.retired < c.engine.slot[kEnd] && code_at(c, c.s.rip) != nullptr) {
    c.s.sti_shadow = false;
    if (c.event_ready()) {
      c.s.sti_shadow = true;
      return false;
    }
  }
  if (c.s.activity != Activity::Running || c.careful() || !can_translate(c)) return false;
  if (mode_key(c) != c.engine.slot[kModeKey] || c.event_ready()) return false;
  enter_view(c);
  return true;
}

u64 Translator::Impl::execute(Cpu& c, const Site& site) {
  auto& slot = c.engine.slot;
  stats.handler_calls++;
  site.counts->handler_calls++;
  const Insn& insn = *site.insn;
  c.s.rip = site.rip;
  c.next_rip() = site.next_rip;
  c.s.retired = slot[kEnd] - slot[kBudget] - site.rest;
  c.note_on_trail(site.rip);
  if (site.flags_in) set_from_image(c.s.flags, slot[kFlagsImage]);
  const u64 epoch = c.tlb.epoch();
  const unsigned units = unit_modes(c.s);
  c.set_limit(1);
  bool faulted = false;
  try {
    insn.exec(c, insn);
    if (site.flags_out) slot[kFlagsImage] = flags_image(c.s.flags);
    c.s.rip = c.next_rip();
    c.s.retired++;
  } catch (const Fault& fault) {
    faulted = true;
    if (!site.flags_in) set_from_image(c.s.flags, slot[kFlagsImage]);
    c.deliver_fault(fault);
    slot[kFlagsImage] = flags_image(c.s.flags);
  }
  if (flush_pending) return x64::kLeave;
  if (c.limit() == 0 ? !can_go_on(c) : unit_modes(c.s) != units) return x64::kLeave;
  if (!faulted && c.s.rip == site.next_rip && !code_changed && !checked_written && c.tlb.epoch() == epoch) return x64::kGoOn;
  // Somewhere else, or here but looked up anew. The rest of the block doesn't happen.
  slot[kBudget] = slot[kEnd] - c.s.retired;
  const u8* code = code_after(c);
  return code != nullptr ? to_slot(code) : x64::kLeave;
}

// --- the public face ------------------------------------------------------------------------------------------

Translator::Translator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Translator::~Translator() = default;

Result<std::unique_ptr<Translator>> Translator::create(PhysicalMap& memory, Interpreter& interpreter,
                                                       const TranslatorOptions& options) {
  if (!translator_supported())
    return fail(ErrorKind::BadArgument, "there is no translator for this host's processor yet: use --engine interp");
  constexpr std::size_t kLeast = kRoomForBlock + (32 << 10);  // a block and the routines that all share
  if (options.code_bytes != 0 && options.code_bytes < kLeast)
    return fail(ErrorKind::BadArgument, fmt::format("a code cache of {} bytes is too small: the least is code-bytes={}K",
                                                    options.code_bytes, kLeast >> 10));
  auto impl = std::make_unique<Impl>(memory, interpreter, options);
  if (auto opened = impl->arena.open(options.code_bytes != 0 ? options.code_bytes : CodeArena::kDefaultSize); !opened)
    return tl::make_unexpected(opened.error());
  impl->host = options.host != nullptr ? *options.host : x64::probe_host();
  impl->thunks = x64::emit_thunks(impl->arena, {Impl::read, Impl::write, Impl::resolve, Impl::execute, Impl::follow, Impl::transfer, Impl::step});
  if (options.promote_after != 0) impl->blocks.promote_after = options.promote_after;
  impl->arena_keep = impl->arena.used();
  VERIFY(impl->arena.room() >= kRoomForBlock, "the shared routines take more room than was reckoned");
  impl->flush_at = options.flush_every;
  return std::unique_ptr<Translator>(new Translator(std::move(impl)));
}

void Translator::stop_changed(u64 address, bool physical) {
  VERIFY(!impl_->inside, "a stop was set while emitted code runs");
  const auto gone = [&](const TranslatedBlock& b) { impl_->jumps.forget(b.key.rip); };
  if (!physical) {
    impl_->stats.invalidated += impl_->blocks.invalidate_linear(address, gone);
    return;
  }
  const u32 frame = impl_->memory.page(address).frame;
  if (frame != kNoFrame) impl_->blocks.invalidate(frame, static_cast<unsigned>(address & kPageMask), 1, true, gone);
}
void Translator::run(Cpu& cpu, const u64& until, const bool& stop) { impl_->run(cpu, until, stop); }
const TranslatorStats& Translator::stats() const { return impl_->stats; }

std::vector<HandlerFigure> Translator::handler_figures() const {
  std::vector<HandlerFigure> figures;
  for (const auto& [row, counts] : impl_->counts)
    if (counts.handler_calls + counts.bails != 0)
      figures.push_back({row != nullptr ? row->name : "invalid", row != nullptr ? row->encoding : "", counts.handler_calls,
                         counts.bails});
  const auto key = [](const HandlerFigure& f) { return std::tuple(~(f.handler_calls + f.interpreted), f.name, f.encoding); };
  std::sort(figures.begin(), figures.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  return figures;
}

void Translator::on_code(CodeHandler handler) {
  impl_->code_handler = std::move(handler);
  if (!impl_->code_handler) return;
  const std::vector<x64::NamedThunk> thunks = x64::names_of(impl_->thunks);
  const u8* const end = impl_->arena.next() - impl_->arena.used() + impl_->arena_keep;
  for (std::size_t n = 0; n < thunks.size(); n++) {
    const u8* const behind = n + 1 < thunks.size() ? thunks[n + 1].at : end;
    impl_->code_handler({thunks[n].at, static_cast<std::size_t>(behind - thunks[n].at),
                         fmt::format("callgate:{}", thunks[n].name), nullptr, {}});
  }
}

void Translator::translate(Cpu& cpu) {
  if (cpu.careful() || !can_translate(cpu)) return;
  const ir::Mode mode = mode_of(cpu);
  const u32 first = impl_->blocks.next_link();
  const u32 number = impl_->lookup(cpu, mode_key(cpu), mode);
  const u32 end = impl_->blocks.next_link();
  for (u32 link = first; link < end && number != kNoBlock; link++) {
    const Link& l = impl_->blocks.link(link);
    if (l.target == cpu.s.rip && l.counter != nullptr) impl_->promote(cpu, link, number, mode);
  }
}

void Translator::measure_by(u64 (*clock)()) { impl_->host_clock = clock; }

bool translator_supported() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt");
#else
  return false;
#endif
}

}  // namespace callgate::jit
