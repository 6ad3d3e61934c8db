#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "cpu/hooked_code.h"
#include "jit/translator_impl.h"

namespace callgate::jit {

void Translator::Impl::run(Cpu& c, const u64& until, const bool& stop) {
  time_before_count = c.platform.now() - c.s.retired;
  if (c.hypervisor != nullptr && c.hypervisor->hooks != nullptr) c.hypervisor->hooks->begin_run(until);
  while (c.s.retired < until && !stop) {
    if (c.event_ready()) {
      c.service_events();
      if (stop) return;
    }
    if (c.s.activity != Activity::Running) return;
    if (c.careful()) {
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
    if (segments.size() >= kMostSegments) {
      flush();
      segments.clear();
    }
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
          constexpr u64 kRoamingStretch = 128;
          if (roaming) interpreter.advance(c, std::min(until, c.s.retired + kRoamingStretch));
          else interpreter.advance_to_branch(c, until);
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
  segment = code_segment(c);
  const Views views{&c, user, supervisor, user->generation, supervisor->generation, mode_key, segment, jumps.given_up()};
  if (!(views == current_views)) {
    far[kUserTlb] = to_slot(user);
    far[kSupervisorTlb] = to_slot(supervisor);
    far[kUserJumps] = to_slot(&jumps.select(user, mode_key, segment));
    // AC makes no difference to where code is.
    far[kSupervisorJumps] = to_slot(&jumps.select(supervisor, mode_key, segment));
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

// 0 for code that begins at 0 and has no limit to look at.
u32 Translator::Impl::code_segment(const Cpu& c) {
  const Segment& cs = c.s.seg[CS];
  if (c.bits64() || (cs.base == 0 && cs.limit == 0xFFFFFFFF)) return 0;
  return segments.try_emplace(cs.base << 32 | cs.limit, static_cast<u32>(segments.size() + 1)).first->second;
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
    if (why == Exit::Budget || c.s.retired == until) return;
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
  impl->thunks = x64::emit_thunks(impl->arena, {Impl::read, Impl::write, Impl::resolve, Impl::execute, Impl::port_call, Impl::hook, Impl::follow, Impl::transfer, Impl::step});
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
      figures.push_back({row != nullptr ? row->name : "invalid or in two pages", row != nullptr ? row->encoding : "", counts.handler_calls,
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
  if (cpu.careful()) return;
  const ir::Mode mode = mode_of(cpu);
  impl_->segment = impl_->code_segment(cpu);
  const u32 first = impl_->blocks.next_link();
  const u32 number = impl_->lookup(cpu, mode_key(cpu), mode);
  const u32 end = impl_->blocks.next_link();
  for (u32 link = first; link < end && number != kNoBlock; link++) {
    const Link& l = impl_->blocks.link(link);
    if (l.target == cpu.s.rip && l.counter != nullptr) impl_->promote(cpu, link, number, mode);
  }
}

void Translator::ask_about_watched(std::function<bool(u64, u64, u64)> touches) { impl_->touches_watched = std::move(touches); }
void Translator::measure_by(u64 (*clock)()) { impl_->host_clock = clock; }

bool translator_supported() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt");
#else
  return false;
#endif
}

}  // namespace callgate::jit
