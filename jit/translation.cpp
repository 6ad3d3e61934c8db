// Blocks of emitted code: how they are found, made, linked to versions of their own, and forgotten.
#include <fmt/format.h>

#include <algorithm>

#include "cpu/hooked_code.h"
#include "jit/hot_path.h"
#include "jit/passes/flags_liveness.h"
#include "jit/passes/order_ops.h"
#include "jit/passes/probe_groups.h"
#include "jit/trace.h"
#include "jit/translator_impl.h"

namespace callgate::jit {

namespace {
/// The instruction jumps to a known place behind the end of its segment: its handler raises that.
bool jumps_beyond(const ir::Block& block, const ir::BlockInsn& b, u32 last_rip) {
  for (u32 n = b.first; n < b.first + b.count && !block.mode.long64; n++) {
    const ir::Op& op = block.ops[n];
    if (op.opcode != ir::Opcode::Jump) continue;
    const ir::Op& target = block.ops[op.args[0]];
    if (target.opcode == ir::Opcode::Constant && target.imm > last_rip) return true;
  }
  return false;
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

// Checked blocks, too: it isn't their bytes that changed.
void Translator::Impl::code_forgotten(u64 physical) {
  const PhysicalPage at = memory.page(physical);
  if (at.frame == kNoFrame) return;
  const auto gone = [&](const TranslatedBlock& b) { jumps.forget(b.key.rip); };
  const u32 count = blocks.invalidate(at.frame, static_cast<unsigned>(physical & kPageMask), 1, true, gone).gone;
  stats.invalidated += count;
  if (count != 0) code_changed = true;
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
  workshop.segments.clear();
  counters.clear();
  arena.reset(arena_keep);
  code_changed = true;
}

// Much of what a kernel executes while it starts it executes once; and what a process executes of a library that lies elsewhere in
// each process has to be translated for it alone. A translation of a few instructions costs as much as a thousand in the interpreter.
bool Translator::Impl::is_cold(const BlockKey& key) {
  if (options.interpret_first == 0 || key.entry != 0 || (key.mode & kModeUngrouped)) return false;
  const unsigned met_here = blocks.met_while_roaming(key);
  roaming = met_here != 0;
  if (roaming) return met_here < kRoamerMeets;
  u8& times = met[((key.rip ^ u64{key.frame} << 40) * 0x9E3779B97F4A7C15ull >> 32) % kPlaces];
  if (times >= options.interpret_first) return false;
  times++;
  return true;
}

u32 Translator::Impl::lookup(Cpu& c, u32 mode_key, const ir::Mode& mode, u16 entry) {
  const u64 linear = code_linear(c, c.s.rip);
  if (segment != 0 && c.s.rip > c.s.seg[CS].limit) return kNoBlock;
  const u8* p = c.tlb.find_exec(c.data_context(), linear, 1);
  if (p == nullptr) {
    if (c.bits64() && !is_canonical(linear)) return kNoBlock;
    const Translation t = c.tlb.fill(c.data_context(), linear, Access::Execute);
    if (t.fault || t.host == nullptr) return kNoBlock;  // the interpreter raises it, or reads registers
    p = t.host;
  }
  const u32 frame = memory.ram().frame_of(p);
  if (frame == kNoFrame) return kNoBlock;
  const BlockKey key{c.s.rip, frame, mode_key, entry, segment};
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
void Translator::Impl::build(std::span<const u8> code, unsigned most, unsigned stop, u32 last_rip, const std::vector<u8>& rewritten) {
  if (stop == 0) return block.clear();
  build_block(code, most, block, stop);
  read_from_code(block, rewritten);
  leave_out_what_cannot_be_lowered(last_rip);
}

void Translator::Impl::leave_out_what_cannot_be_lowered(u32 last_rip) {
  if (options.verify) verify();
  for (ir::BlockInsn& b : block.insns)
    if (b.count != 0 && (!x64::can_lower(block, b, host) || jumps_beyond(block, b, last_rip))) {
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
  std::size_t available = kPageSize - offset;
  if (segment != 0) available = std::min<std::size_t>(available, c.s.seg[CS].limit - key.rip + 1);
  const std::span<const u8> code{page + offset, available};
  memory.mark_code(key.frame);
  if (head != kNoBlock && blocks.block(head).checked->variants.size() >= BlockCache::kMostVariants) {
    if (options.interpret_rewritten) blocks.give_up(key.frame, offset);
    jumps.forget(key.rip);
    blocks.forget(head);
    head = kNoBlock;
  }
  // A block ends in front of a hooked function, and its entry is a block of one instruction.
  HookedCode* const hooks = c.hypervisor != nullptr && mode.long64 ? c.hypervisor->hooks : nullptr;
  const Insn* const hook = hooks != nullptr ? hooks->find(key.frame, offset) : nullptr;
  const unsigned next_hook = hooks != nullptr ? hooks->next_entry(key.frame, offset + 1) : static_cast<unsigned>(kPageSize);
  if (hook != nullptr && head != kNoBlock) {
    jumps.forget(key.rip);
    blocks.forget(head);
    head = kNoBlock;
  }
  const BlockCache::Unrest unrest = hook != nullptr   ? BlockCache::Unrest::None
                                    : head != kNoBlock ? BlockCache::Unrest::Rewritten : blocks.unrest(key.frame, offset);
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
  const u32 last_rip = segment != 0 ? c.s.seg[CS].limit : ~u32{0};
  const auto build = [&] {
    if (hook == nullptr || stop == offset) return this->build(code, most, std::min(stop, next_hook) - offset, last_rip, rewritten);
    one_instruction(*hook, block);
  };
  build();
  // An instruction that ends in another page, where nobody watches it: emitted code asks the interpreter for it, and goes on.
  const bool in_part = block.insns.empty() && head == kNoBlock && stop > offset && unrest == BlockCache::Unrest::None && options.chaining;
  if (in_part) {
    one_instruction({.length = static_cast<u8>(available)}, block);
    block.insns.back().in_part = t.in_part = true;
  }
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
  if (key.entry != 0 && options.passes && options.split_seed == 0 && c.watch == nullptr && next_hook == kPageSize) {
    BlockKey plain = key;
    plain.entry = 0;
    if (const u32 number = blocks.find(plain); number != kNoBlock && follow_hot_path(blocks, number, code, most, block) != 0) {
      stats.paths++;
      leave_out_what_cannot_be_lowered(last_rip);
    }
  }
  if (key.mode & kModeX87) x64::note_x87(block, host);
  x64::note_vex(block, host, key.mode & kModeAvx);
  x64::note_special(block);
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
                                 blocks.next_link(), options.chaining, key.entry, checked ? &check : nullptr,
                                 limited_segments(key.mode), static_cast<u32>(segment != 0 ? c.s.seg[CS].base : 0)};
  const x64::Emitted e = emit(context);
  VERIFY(e.entry != nullptr, "a block didn't fit in the arena");
  t.entry = e.entry;
  t.insns = static_cast<u16>(block.insns.size());
  if (checked) {
    t.checked = std::make_unique<CheckedCode>(
        CheckedCode{{code.data(), code.data() + t.bytes}, std::move(rewritten), blocks.next_link(), {}});
  }
  t.first_link = blocks.next_link();
  t.links = static_cast<u32>(e.links.size());
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

}  // namespace callgate::jit
