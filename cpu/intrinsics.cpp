// What hooked functions do (paravirt/ABI.md, Group 7), as one instruction. All or nothing: when anything of it would fault, or touch
// something that is no memory, or isn't as the kind wants it, nothing was done, and the function's own code does it as it
// would have. Translations are those at its beginning.
#include <algorithm>
#include <array>
#include <cstring>

#include "cpu/attempt.h"
#include "cpu/cpu.h"
#include "cpu/hooked_code.h"
#include "cpu/system/segments.h"

namespace callgate {

namespace {

/// Memory that one access covers, by pages.
class Pages {
 public:
  /// False: not all of it may be accessed so, or it is no memory.
  bool open(Cpu& c, AccessContext context, u64 linear, u64 size, Access access) {
    linear_ = linear;
    access_ = access;
    count_ = 0;
    if (size == 0) return true;
    if (!is_canonical(linear) || !is_canonical(linear + size - 1) || linear + size - 1 < linear) return false;
    for (u64 done = 0; done < size;) {
      const u64 at = linear + done;
      const u32 n = static_cast<u32>(std::min<u64>(size - done, kPageSize - (at & kPageMask)));
      Piece& p = piece_[count_++];
      p = {nullptr, 0, kNoFrame, n};
      if (access == Access::Write) p.direct = c.tlb.find_write(context, at, n);
      else p.direct = const_cast<u8*>(c.tlb.find_read(context, at, n));
      if (p.direct == nullptr) {
        const Translation t = c.tlb.fill(context, at, access);
        if (t.fault) return false;
        const PhysicalPage page = c.memory.page(t.physical);
        if (access == Access::Write ? page.frame == kNoFrame : page.host == nullptr) return false;
        p.frame = page.frame;
        p.offset = static_cast<u32>(t.physical & kPageMask);
        if (access == Access::Read) p.direct = page.host + p.offset;
      }
      done += n;
    }
    // A later walk's accessed and dirty bits may have taken back what an earlier one found.
    for (unsigned n = 0; n < count_ && access == Access::Write && count_ > 1; n++) {
      Piece& p = piece_[n];
      if (p.direct == nullptr) continue;
      p.frame = c.memory.ram().frame_of(p.direct);
      p.offset = static_cast<u32>((n == 0 ? linear : (linear & ~kPageMask) + n * kPageSize) & kPageMask);
      p.direct = nullptr;
    }
    return true;
  }

  struct Piece {
    u8* direct;  ///< nullptr: by write_frame
    u32 offset, frame, size;
  };
  const Piece& operator[](unsigned n) const { return piece_[n]; }
  unsigned count() const { return count_; }

  /// Tells who watches.
  void note(Cpu& c) const {
    if (c.watch == nullptr) [[likely]]
      return;
    u64 at = linear_;
    for (unsigned n = 0; n < count_; n++) {
      c.watch->accessed(c, at, piece_[n].size, access_);
      at += piece_[n].size;
    }
  }

 private:
  std::array<Piece, kMostHooked / kPageSize + 1> piece_;
  unsigned count_ = 0;
  u64 linear_ = 0;
  Access access_ = Access::Read;
};

/// The usual case: the bytes are in one page that may be accessed directly, and nobody watches.
u8* near_write(Cpu& c, AccessContext context, u64 linear, u64 size) {
  return size <= kPageSize ? c.tlb.find_write(context, linear, static_cast<unsigned>(size)) : nullptr;
}
const u8* near_read(Cpu& c, AccessContext context, u64 linear, u64 size) {
  return size <= kPageSize ? c.tlb.find_read(context, linear, static_cast<unsigned>(size)) : nullptr;
}

void fill(Cpu& c, const Pages& to, u8 byte) {
  for (unsigned n = 0; n < to.count(); n++) {
    const Pages::Piece& p = to[n];
    if (p.direct != nullptr) {
      std::memset(p.direct, byte, p.size);
      continue;
    }
    u8 bytes[kPageSize];
    std::memset(bytes, byte, p.size);
    c.memory.write_frame(p.frame, p.offset, bytes, p.size);
  }
  to.note(c);
}

// The pages of both lie differently.
void copy(Cpu& c, const Pages& to, const Pages& from) {
  u32 done_to = 0, done_from = 0;
  for (unsigned t = 0, f = 0; t < to.count();) {
    const Pages::Piece &d = to[t], &s = from[f];
    const u32 n = std::min(d.size - done_to, s.size - done_from);
    if (d.direct != nullptr) {
      std::memmove(d.direct + done_to, s.direct + done_from, n);
    } else {
      u8 bytes[kPageSize];  // one frame may be both
      std::memcpy(bytes, s.direct + done_from, n);
      c.memory.write_frame(d.frame, d.offset + done_to, bytes, n);
    }
    if ((done_to += n) == d.size) t++, done_to = 0;
    if ((done_from += n) == s.size) f++, done_from = 0;
  }
  from.note(c);
  to.note(c);
}

/// The address that RET would go to; nullopt: it would fault.
struct Return {
  Pages stack;
  u64 target = 0;
  bool open(Cpu& c) {
    const u64 rsp = c.s.gpr[RSP];
    if (const u8* p = c.tlb.find_read(c.access_context(), rsp, 8)) {
      std::memcpy(&target, p, 8);
      return is_canonical(target);
    }
    if (!stack.open(c, c.data_context(), rsp, 8, Access::Read)) return false;
    u8 bytes[8];
    unsigned at = 0;
    for (unsigned n = 0; n < stack.count(); n++) {
      std::memcpy(bytes + at, stack[n].direct, stack[n].size);
      at += stack[n].size;
    }
    std::memcpy(&target, bytes, 8);
    return is_canonical(target);
  }
  void commit(Cpu& c) const {
    stack.note(c);
    c.s.gpr[RSP] += 8;
    c.next_rip() = target;
  }
};

/// All of [to, to + size) becomes `byte`; false: nothing was done.
bool fill_all(Cpu& c, AccessContext context, u64 to, u64 size, u8 byte) {
  if (u8* const p = near_write(c, context, to, size)) {
    std::memset(p, byte, size);
    return true;
  }
  Pages pages;
  if (!pages.open(c, context, to, size, Access::Write)) return false;
  fill(c, pages, byte);
  return true;
}

bool copy_all(Cpu& c, AccessContext context, u64 to, u64 from, u64 size) {
  if (const u8* const s = near_read(c, context, from, size))
    if (u8* const d = near_write(c, context, to, size)) {
      std::memmove(d, s, size);
      return true;
    }
  Pages target, source;
  if (!source.open(c, context, from, size, Access::Read) || !target.open(c, context, to, size, Access::Write)) return false;
  copy(c, target, source);
  return true;
}

bool apart(u64 a, u64 b, u64 size) { return a - b >= size && b - a >= size; }

bool clear_page(Cpu& c) {
  u64* const r = c.s.gpr;
  Return back;
  if ((r[RDI] & kPageMask) != 0 || !back.open(c) || !fill_all(c, c.access_context(), r[RDI], kPageSize, 0)) return false;
  r[RAX] = r[RCX] = 0;
  r[RDI] += kPageSize;
  c.set_flags(kZF | kPF, kArithmetic);
  back.commit(c);
  return true;
}

bool copy_page(Cpu& c) {
  u64* const r = c.s.gpr;
  Return back;
  if (((r[RDI] | r[RSI]) & kPageMask) != 0 || r[RDI] == r[RSI] || !back.open(c)) return false;
  if (!copy_all(c, c.access_context(), r[RDI], r[RSI], kPageSize)) return false;
  r[RCX] = 0;
  r[RDI] += kPageSize;
  r[RSI] += kPageSize;
  back.commit(c);
  return true;
}

bool may_copy(const Cpu& c, u64 size) {
  return !c.s.flags.test(kDF) && size <= kMostHooked && (size == 0 || apart(c.s.gpr[RDI], c.s.gpr[RSI], size));
}

bool memcpy_(Cpu& c) {
  u64* const r = c.s.gpr;
  const u64 size = r[RDX];
  Return back;
  if (!may_copy(c, size) || !back.open(c) || !copy_all(c, c.access_context(), r[RDI], r[RSI], size)) return false;
  r[RAX] = r[RDI];
  r[RCX] = 0;
  r[RDI] += size;
  r[RSI] += size;
  back.commit(c);
  return true;
}

bool memset_(Cpu& c) {
  u64* const r = c.s.gpr;
  const u64 size = r[RDX];
  Return back;
  if (c.s.flags.test(kDF) || size > kMostHooked || !back.open(c)) return false;
  if (!fill_all(c, c.access_context(), r[RDI], size, static_cast<u8>(r[RSI]))) return false;
  r[RAX] = r[RDI];
  r[RCX] = 0;
  r[RDI] += size;
  back.commit(c);
  return true;
}

// Such a function sets AC for its own accesses, and clears it behind them.
bool copy_user(Cpu& c) {
  u64* const r = c.s.gpr;
  const u64 size = c.gpr<u32>(RDX);
  Return back;
  if (!may_copy(c, size) || !back.open(c) || !copy_all(c, AccessContext::SupervisorAc, r[RDI], r[RSI], size)) return false;
  r[RDI] += size;
  r[RSI] += size;
  r[RAX] = r[RCX] = 0;
  c.set_flags(kZF | kPF, kArithmetic | kAC);
  back.commit(c);
  return true;
}

// A descriptor of an LDT, stored where the kernel may write its GDT, and LLDT.
bool load_ldt(Cpu& c, const Hook& h) {
  const u64 base = c.s.gpr[RDI];
  const u32 entries = c.gpr<u32>(RSI);
  const u16 selector = static_cast<u16>(h.detail[0]);
  constexpr u32 kMostEntries = 8192;
  constexpr u64 kPresentLdt = u64{0x82} << 40;
  Return back;
  if (entries > kMostEntries || !is_canonical(base) || !back.open(c)) return false;
  if (entries == 0) {
    load_ldtr(c, 0, Vector::GP);
    back.commit(c);
    return true;
  }
  const u64 limit = u64{entries} * 8 - 1, at = c.s.seg[GS].base + h.detail[1] + selector;
  const u64 image[2] = {(limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | kPresentLdt | (base >> 24 & 0xFF) << 56, base >> 32};
  Pages to;
  if (!to.open(c, c.data_context(), at, sizeof image, Access::Write) || to.count() != 1) return false;
  if (to[0].direct != nullptr) std::memcpy(to[0].direct, image, sizeof image);
  else c.memory.write_frame(to[0].frame, to[0].offset, image, sizeof image);
  to.note(c);
  if (attempt([&] { load_ldtr(c, selector, Vector::GP); })) return false;  // and the same comes again
  back.commit(c);
  return true;
}

// One tick, or as many as there is nothing between.
bool delay(Cpu& c, const u64* until) {
  u64& left = c.s.gpr[RDI];
  const u64 room = until != nullptr && *until > c.s.retired ? *until - c.s.retired : 1;
  const u64 ticks = std::min(std::max<u64>(left, 1), room);
  Return back;
  if (!back.open(c)) return false;
  if (left <= ticks) {
    left = 0;
    back.commit(c);
  } else {
    left -= ticks;
    c.next_rip() = c.s.rip;
  }
  c.s.retired += ticks - 1;
  return true;
}

}  // namespace

bool HookedCode::run(Cpu& c, const Hook& h) {
  switch (h.kind) {
    case Intrinsic::ClearPage: return clear_page(c);
    case Intrinsic::CopyPage: return copy_page(c);
    case Intrinsic::Memcpy: return memcpy_(c);
    case Intrinsic::Memset: return memset_(c);
    case Intrinsic::CopyUser: return copy_user(c);
    case Intrinsic::LoadLdt: return load_ldt(c, h);
    case Intrinsic::Delay: return delay(c, until_);
    case Intrinsic::Yield:
      stats.entered[static_cast<unsigned>(h.kind)]++;
      c.hypervisor->yield(c);
      return false;  // its own code goes on from here
    case Intrinsic::None: break;
  }
  return false;
}

}  // namespace callgate
