#include "cpu/interpreter.h"

#include <algorithm>

#include "cpu/decoder.h"
#include "cpu/hooked_code.h"
#include "cpu/system/debug.h"

namespace callgate {

namespace {

/// Checks that the instruction's bytes lie inside the code segment. SDM 3A 5.3, Limit Checking.
void check_code_limit(const Cpu& c, u64 rip, unsigned length) {
  if (c.bits64()) return;
  if (rip + length - 1 > c.s.seg[CS].limit)
    raise(Vector::GP, 0, "instruction fetch at {0:#x} beyond the code segment's limit {1:#x}", rip, c.s.seg[CS].limit);
}

/// True when somebody wants to stop in the page of `frame`, seen at `page_linear`. Code that is no RAM is asked for at every
/// instruction.
bool stops_in_page(const Cpu& c, u64 page_linear, u32 frame) {
  return frame == kNoFrame || c.watch->next_stop(page_linear, c.memory.physical_of(frame), 0) < kPageSize;
}

/// What stands for the code at this place, if it is a hooked function's.
const Insn* hooked(const Cpu& c, u32 frame, unsigned offset) {
  if (c.hypervisor == nullptr || c.hypervisor->hooks == nullptr || c.code_size() != CodeSize::Bits64) return nullptr;
  return c.hypervisor->hooks->find(frame, offset);
}

}  // namespace

const u8* Interpreter::translate_code(Cpu& c, u64 rip, u64* physical) {
  const u64 linear = code_linear(c, rip);
  if (const u8* p = c.tlb.find_exec(c.data_context(), linear, 1)) return p;
  check_code_limit(c, rip, 1);  // comes before a page fault. SDM 3A, Table 6-2
  if (c.bits64() && !is_canonical(linear)) raise(Vector::GP, 0, "instruction fetch at the non-canonical address {0:#x}", linear);
  const Translation t = c.tlb.fill(c.data_context(), linear, Access::Execute);
  if (t.fault) c.raise_page_fault(c.tlb.fault());
  *physical = t.physical;
  return t.host;
}

const Insn& Interpreter::fetch_across_pages(Cpu& c, const u8* first, unsigned available) {
  u8 bytes[kMaxInsnLength];
  const unsigned have = std::min(available, kMaxInsnLength);
  std::copy_n(first, have, bytes);
  if (decode(std::span<const u8>(bytes, have), c.code_size(), scratch_) != DecodeStatus::Truncated) return scratch_;
  // Only an instruction that needs bytes of the next page may fault there.
  u64 physical = 0;
  const u8* second = translate_code(c, c.s.rip + have, &physical);
  for (unsigned i = have; i < kMaxInsnLength; i++)
    bytes[i] = second != nullptr ? second[i - have] : static_cast<u8>(c.tlb.bus_read(physical + i - have, 1));
  decode(bytes, c.code_size(), scratch_);
  return scratch_;
}

const Insn& Interpreter::fetch_in_two_parts(Cpu& c, const u8* first, unsigned have) {
  u64 physical = 0;
  const u8* const second = translate_code(c, c.s.rip + have, &physical);
  if (second == nullptr) return fetch_across_pages(c, first, have);
  InTwoPages& kept = in_two_pages_[(code_linear(c, c.s.rip) >> kPageShift) % kInTwoPages];
  const unsigned length = kept.insn.length;
  if (kept.have == have && kept.size == c.code_size() && std::equal(first, first + have, kept.bytes) &&
      std::equal(second, second + (length - have), kept.bytes + have))
    return kept.insn;
  kept.have = 0;
  std::copy_n(first, have, kept.bytes);
  std::copy_n(second, kMaxInsnLength - have, kept.bytes + have);
  if (decode(kept.bytes, c.code_size(), kept.insn) == DecodeStatus::Ok && kept.insn.length > have) {
    kept.have = static_cast<u8>(have);
    kept.size = c.code_size();
  }
  return kept.insn;
}

const Insn& Interpreter::fetch(Cpu& c) {
  c.note_on_trail(c.s.rip);
  const u64 linear = code_linear(c, c.s.rip);
  u64 physical = 0;
  const u8* host = translate_code(c, c.s.rip, &physical);
  const unsigned offset = static_cast<unsigned>(linear & kPageMask);
  const unsigned available = static_cast<unsigned>(kPageSize) - offset;
  u8 registers[kMaxInsnLength];
  if (host == nullptr) {  // code in ROM-like registers: read byte by byte, never cached
    const unsigned n = std::min(available, kMaxInsnLength);
    for (unsigned i = 0; i < n; i++) registers[i] = static_cast<u8>(c.tlb.bus_read(physical + i, 1));
    const Insn& insn = fetch_across_pages(c, registers, n);
    check_code_limit(c, c.s.rip, insn.length);
    return insn;
  }
  const u32 frame = c.memory.ram().frame_of(host);
  if (frame != kNoFrame) {
    DecodedPage& page = decoded_.page(frame, c.code_size());
    const Insn* found = page.find(offset);
    if (found == nullptr) {
      if (const Insn* hook = hooked(c, frame, offset)) {
        if (page.full()) page.drop();
        found = &page.add(offset, *hook);
      } else if (decode({host, std::min(available, kMaxInsnLength)}, c.code_size(), scratch_) == DecodeStatus::Truncated)
        found = &fetch_in_two_parts(c, host, available);
      else {
        if (page.full()) page.drop();
        found = &page.add(offset, scratch_);
        decoded_.stats.decoded++;
      }
    }
    check_code_limit(c, c.s.rip, found->length);
    return *found;
  }
  const Insn& insn = fetch_across_pages(c, host, available);
  check_code_limit(c, c.s.rip, insn.length);
  return insn;
}

void Interpreter::execute_one_carefully(Cpu& c) {
  u32 dr6 = 0;
  const bool resume = c.s.flags.test(kRF);
  // Behind a load of SS a code breakpoint doesn't count. SDM 3B 17.3.1.1.
  if (!resume && !c.s.mov_ss_shadow && code_breakpoint_hit(c, code_linear(c, c.s.rip), dr6)) raise_debug_fault(c, dr6, "a code breakpoint");
  const Insn& i = fetch(c);
  const bool step = c.s.flags.test(kTF);
  c.suppress_single_step = false;
  c.next_rip() = c.s.rip + i.length;
  if (!c.bits64()) c.next_rip() &= 0xFFFFFFFF;
  // The shadows and RF cover one instruction; this one may set them again.
  c.s.sti_shadow = c.s.mov_ss_shadow = false;
  if (resume) c.s.flags.assign(kRF, false);
  i.exec(c, i);
  const bool traps = step && single_step_traps(c, i);
  c.s.rip = c.next_rip();
  c.s.retired++;
  if (traps && !c.suppress_single_step) c.pend_debug_trap(kDr6Bs);
}

// The fast loop: no shadow, no single step, no breakpoint; instructions of one page at a time.
template <bool ToBranch>
void Interpreter::execute_fast(Cpu& c, const u64& until) {
  c.set_limit(until);
  const u64 start = c.s.retired;
  do {
    const Insn* i = &fetch(c);
    const u64 page_linear = code_linear(c, c.s.rip) & ~kPageMask;
    const u8* host = c.tlb.find_exec(c.data_context(), page_linear, 1);
    const u32 frame = host != nullptr ? c.memory.ram().frame_of(host) : kNoFrame;
    const bool has_stops = c.watch != nullptr && stops_in_page(c, page_linear, frame);
    if (has_stops && c.s.retired != start) return;  // what is executed first was asked for
    // A code segment that does not reach over all of the address space is checked at every fetch.
    const bool checked = !c.bits64() && c.s.seg[CS].limit != 0xFFFFFFFF;
    DecodedPage* page = frame != kNoFrame && !checked ? &decoded_.page(frame, c.code_size()) : nullptr;
    const u64 epoch = c.tlb.epoch();
    const u64 mask = c.bits64() ? ~u64{0} : 0xFFFFFFFF;
    const u64 base = c.bits64() ? 0 : c.s.seg[CS].base;
    for (;;) {
      c.note_on_trail(c.s.rip);
      c.next_rip() = (c.s.rip + i->length) & mask;
      [[maybe_unused]] const bool branch = ToBranch && i->ends_block;
      i->exec(c, *i);
      const u64 rip = c.next_rip();
      c.s.rip = rip;
      c.s.retired++;
      if (c.s.retired >= c.limit() || has_stops) [[unlikely]]
        return;
      if constexpr (ToBranch)
        if (branch) return;
      const u64 offset = ((base + rip) & mask) - page_linear;
      if (page == nullptr || offset >= kPageSize || c.tlb.epoch() != epoch) break;
      i = page->find(static_cast<unsigned>(offset));
      if (i == nullptr) break;
    }
  } while (true);
}

void Interpreter::run(Cpu& c, const u64& until, const bool& stop) {
  if (c.hypervisor != nullptr && c.hypervisor->hooks != nullptr) c.hypervisor->hooks->begin_run(until);
  while (c.s.retired < until && !stop) {
    if (c.event_ready()) {
      c.service_events();
      if (stop) return;
    }
    if (c.s.activity != Activity::Running) return;
    advance(c, until);
  }
}

template <bool ToBranch>
void Interpreter::advance_by(Cpu& c, const u64& until) {
  if (c.watch != nullptr && c.watch->stops_before(c)) [[unlikely]]
    return;
  try {
    if (c.careful()) execute_one_carefully(c);
    else execute_fast<ToBranch>(c, until);
  } catch (const Fault& fault) {
    c.deliver_fault(fault);
  }
}

void Interpreter::advance(Cpu& c, const u64& until) { advance_by<false>(c, until); }
void Interpreter::advance_to_branch(Cpu& c, const u64& until) { advance_by<true>(c, until); }

}  // namespace callgate
