#include "cpu/hooked_code.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "cpu/cpu.h"
#include "cpu/decoder.h"
#include "cpu/table/row.h"

namespace callgate {

namespace {

constexpr u64 kNoPage = ~u64{0};

void execute_hook(Cpu& c, const Insn& i) { c.hypervisor->hooks->execute(c, i.imm2); }

/// What statistics and translators know of such an instruction: it may do anything, and goes anywhere.
constexpr Row kHookRow{"hook", "hook", "", kBranch | kSystem | kOnly64, kNoFlags, "", {}};

bool overlap(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

/// The pieces of its bytes, a page each: their physical address, place in `bytes` and size.
template <class F>
void each_piece(const Hook& h, F&& f) {
  const u64 first = bytes_in_first_page(h.linear, h.bytes.size());
  f(h.physical[0], u64{0}, first);
  if (h.physical[1] != kNoPage) f(h.physical[1], first, h.bytes.size() - first);
}

}  // namespace

const char* name_of(Intrinsic kind) {
  constexpr const char* kNames[kIntrinsics] = {"none",      "clear_page", "copy_page", "memcpy", "memset",
                                               "copy_user", "load_ldt",   "delay",     "yield"};
  return kNames[static_cast<unsigned>(kind)];
}

HookedCode::HookedCode(PhysicalMap& memory) : memory_(memory) { memory_.add_code_listener(this); }
HookedCode::~HookedCode() { memory_.remove_code_listener(this); }

std::optional<Insn> HookedCode::first_instruction(u64 linear, std::span<const u8> bytes) {
  const u64 first = bytes_in_first_page(linear, bytes.size());
  Insn insn;
  if (decode(bytes.first(std::min<u64>(first, kMaxInsnLength)), CodeSize::Bits64, insn) != DecodeStatus::Ok) return std::nullopt;
  return insn;
}

unsigned HookedCode::overlapping(u64 physical, u64 size) const {
  for (unsigned n = 0; n < kSlots; n++) {
    if (hooks_[n].kind == Intrinsic::None) continue;
    bool any = false;
    each_piece(hooks_[n], [&](u64 at, u64, u64 bytes) { any |= overlap(at, bytes, physical, size); });
    if (any) return n;
  }
  return kNoSlot;
}

unsigned HookedCode::free_slot() const {
  for (unsigned n = 0; n < kSlots; n++)
    if (hooks_[n].kind == Intrinsic::None) return n;
  return kNoSlot;
}

void HookedCode::add(unsigned slot, Hook hook) {
  VERIFY(hooks_[slot].kind == Intrinsic::None, "a hook in a slot that is taken");
  const auto own = first_instruction(hook.linear, hook.bytes);
  VERIFY(own, "a hook whose function has no first instruction");
  hook.own = *own;
  hook.check = Hook::Bytes::Unknown;
  Insn& insn = insns_[slot];
  insn = *own;
  insn.exec = execute_hook;
  insn.row = &kHookRow;
  insn.ends_block = true;
  insn.imm2 = static_cast<u16>(slot);
  hooks_[slot] = std::move(hook);
  count_++;
  count_frames();
  forget_entry(hooks_[slot]);
}

void HookedCode::remove(unsigned slot) {
  if (hooks_[slot].kind == Intrinsic::None) return;
  const u64 entry = hooks_[slot].physical[0];
  hooks_[slot] = {};
  count_--;
  count_frames();
  memory_.forget_code(entry);
}

// Frames move only with the memory map, and then code_dropped() comes.
void HookedCode::count_frames() {
  filter_ = 0;
  for (const Hook& h : hooks_)
    if (h.kind != Intrinsic::None) filter_ |= u64{1} << (memory_.page(h.physical[0]).frame & 63);
}

void HookedCode::clear() {
  for (unsigned n = 0; n < kSlots; n++) remove(n);
}

void HookedCode::sync(StateIo& io) {
  if (io.loading()) clear();
  for (unsigned n = 0; n < kSlots; n++) {
    Hook fresh;
    Hook& h = io.loading() ? fresh : hooks_[n];
    io.fields(h.kind);
    if (io.loading() && static_cast<unsigned>(h.kind) >= kIntrinsics) {
      io.damaged("a hook is of a kind that there is not");
      return;
    }
    if (h.kind == Intrinsic::None) continue;
    io.fields(h.linear, h.physical, h.detail);
    io.blob(h.bytes, kMostBytes, "a hook's function is longer than one may be");
    if (!io.loading()) continue;
    const bool two_pages = !h.bytes.empty() && bytes_in_first_page(h.linear, h.bytes.size()) < h.bytes.size();
    const bool sane = first_instruction(h.linear, h.bytes) && h.physical[0] < kPhysicalEnd &&
                      ((h.physical[0] ^ h.linear) & kPageMask) == 0 && (h.physical[1] == kNoPage) != two_pages &&
                      (!two_pages || (h.physical[1] < kPhysicalEnd && (h.physical[1] & kPageMask) == 0));
    if (!sane) {
      io.damaged("a hook makes no sense");
      return;
    }
    add(n, std::move(h));
  }
}

// Whoever finds the bytes there hears of every change from then on.
bool HookedCode::is_there(Hook& h) {
  if (h.check != Hook::Bytes::Unknown) return h.check == Hook::Bytes::There;
  bool same = true;
  each_piece(h, [&](u64 at, u64 from, u64 size) {
    const PhysicalPage page = memory_.page(at);
    if (page.frame == kNoFrame) {
      same = false;
      return;
    }
    memory_.mark_code(page.frame);
    same = same && std::memcmp(page.host + (at & kPageMask), h.bytes.data() + from, size) == 0;
  });
  h.check = same ? Hook::Bytes::There : Hook::Bytes::Changed;
  stats.suspended += !same;
  return same;
}

const Insn* HookedCode::find_slow(u32 frame, unsigned offset) {
  const u64 at = memory_.physical_of(frame) + offset;
  for (unsigned n = 0; n < kSlots; n++)
    if (hooks_[n].kind != Intrinsic::None && hooks_[n].physical[0] == at) return is_there(hooks_[n]) ? &insns_[n] : nullptr;
  return nullptr;
}

unsigned HookedCode::next_entry(u32 frame, unsigned offset) const {
  unsigned next = static_cast<unsigned>(kPageSize);
  if (!(filter_ >> (frame & 63) & 1)) return next;
  const u64 page = memory_.physical_of(frame);
  for (const Hook& h : hooks_) {
    const u64 at = h.physical[0] - page;
    if (h.kind != Intrinsic::None && at < next && at >= offset) next = static_cast<unsigned>(at);
  }
  return next;
}

// The hook's own place in the address space, and nothing that watches single instructions of the guest's.
bool HookedCode::applies(Cpu& c, Hook& h) {
  if (c.cpl() != 0 || !c.bits64() || c.s.rip != h.linear || c.s.flags.test(kTF) || (c.s.dr7 & 0xFF) != 0) return false;
  if (!is_there(h)) return false;
  if (h.physical[1] == kNoPage) return true;
  const u64 second = (h.linear & ~kPageMask) + kPageSize;
  if (!is_canonical(second)) return false;
  const Translation t = c.tlb.fill(c.data_context(), second, Access::Execute);
  return !t.fault && t.physical == h.physical[1];
}

HookedCode::Outcome HookedCode::attempt(Cpu& c, unsigned slot) {
  Hook& h = hooks_[slot];
  VERIFY(h.kind != Intrinsic::None, "a hook that was removed is executed");
  const unsigned kind = static_cast<unsigned>(h.kind);
  if (applies(c, h) && run(c, h)) {
    stats.entered[kind]++;
    const bool flags = h.kind == Intrinsic::ClearPage || h.kind == Intrinsic::CopyUser;
    return flags ? Outcome::DoneWithFlags : Outcome::Done;
  }
  stats.declined[kind] += h.kind != Intrinsic::Yield;
  return Outcome::Declined;
}

void HookedCode::execute(Cpu& c, unsigned slot) {
  if (attempt(c, slot) != Outcome::Declined) return;
  const Insn first = own(slot);  // it may overwrite itself
  first.exec(c, first);
}

bool HookedCode::is_hook(const Insn& insn) { return insn.row == &kHookRow; }

void HookedCode::code_written(u64 physical, u32 size) {
  if (count_ == 0) return;
  for (Hook& h : hooks_) {
    if (h.kind == Intrinsic::None || h.check == Hook::Bytes::Unknown) continue;
    bool hit = false;
    each_piece(h, [&](u64 at, u64, u64 bytes) { hit |= overlap(at, bytes, physical, size); });
    if (!hit) continue;
    h.check = Hook::Bytes::Unknown;
    forget_entry(h);  // what stands for it may be another instruction now
  }
}

void HookedCode::code_dropped() {
  for (Hook& h : hooks_) h.check = Hook::Bytes::Unknown;
  count_frames();
}

bool HookedCode::has_code(u32 frame) const {
  if (count_ == 0) return false;
  const u64 page = memory_.physical_of(frame);
  for (const Hook& h : hooks_) {
    if (h.kind == Intrinsic::None || h.check == Hook::Bytes::Unknown) continue;
    if (h.physical[0] - page < kPageSize || (h.physical[1] != kNoPage && h.physical[1] - page < kPageSize)) return true;
  }
  return false;
}

}  // namespace callgate
