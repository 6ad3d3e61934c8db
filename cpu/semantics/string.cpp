#include "cpu/semantics/string.h"

#include <array>
#include <cstdlib>
#include <cstring>

#include "cpu/alu.h"
#include "cpu/semantics/string_work.h"

namespace callgate::helpers {

namespace {

/// Elements in ascending or descending order, as they lie from `p` on. Overlap has the effect that one element after the
/// other has.
template <class T>
void copy_elements(u8* to, const u8* from, u64 n, bool down) {
  const u64 bytes = n * sizeof(T);
  const u8* const from_low = down ? from - (bytes - sizeof(T)) : from;
  u8* const to_low = down ? to - (bytes - sizeof(T)) : to;
  // The order shows only where a store lands on an element that is yet to be loaded.
  const std::uintptr_t ahead = down ? reinterpret_cast<std::uintptr_t>(from_low) - reinterpret_cast<std::uintptr_t>(to_low)
                                    : reinterpret_cast<std::uintptr_t>(to_low) - reinterpret_cast<std::uintptr_t>(from_low);
  if (ahead == 0 || ahead >= bytes) {
    std::memmove(to_low, from_low, bytes);
    return;
  }
  const std::ptrdiff_t stride = down ? -static_cast<std::ptrdiff_t>(sizeof(T)) : static_cast<std::ptrdiff_t>(sizeof(T));
  for (u64 k = 0; k < n; k++) {
    store_as<T>(to, load_as<T>(from));
    to += stride;
    from += stride;
  }
}

template <class T>
void fill_elements(u8* to, T value, u64 n, bool down) {
  u8* const low = down ? to - (n - 1) * sizeof(T) : to;
  if (sizeof(T) == 1 || value == 0) {
    std::memset(low, static_cast<int>(value & 0xFF), n * sizeof(T));
    return;
  }
  for (u64 k = 0; k < n; k++) store_as<T>(low + k * sizeof(T), value);
}

// Pages that are written, but not directly (code, page tables), get a window's elements all at once, too, where that can't be told
// from one after the other.
using WindowBytes = std::array<u8, kPageSize>;

template <class T>
bool copy_at_once(const StringWork& w, const u8* to, const u8* from, u64 n) {
  const u64 bytes = n * sizeof(T);
  const u8* const from_low = w.low_end(from, n);
  const auto distance = reinterpret_cast<std::intptr_t>(w.low_end(to, n)) - reinterpret_cast<std::intptr_t>(from_low);
  if (static_cast<u64>(std::abs(distance)) < bytes) return false;  // they overlap
  WindowBytes window;
  std::memcpy(window.data(), from_low, bytes);
  return w.store_at_once(window.data(), n);
}

template <class T>
bool fill_at_once(const StringWork& w, T value, u64 n) {
  WindowBytes window;
  fill_elements<T>(window.data(), value, n, false);
  return w.store_at_once(window.data(), n);
}

template <class T>
void movs_of(Cpu& c, const Insn& i) {
  StringWork w(c, i, sizeof(T));
  if (w.left() == 0) return;
  u64 n = 1;
  if (w.batch()) {
    const StringWork::Window from = w.open(w.source_segment, w.si(), Access::Read);
    if (from.iterations > 1) {
      const StringWork::Window to = w.open(ES, w.di(), Access::Write);
      n = std::min(from.iterations, to.iterations);
      if (n > 1 && to.host != nullptr) copy_elements<T>(to.host, from.host, n, w.down);
      if (n > 1 && (to.host != nullptr || copy_at_once<T>(w, to.slow, from.host, n))) {
        w.note_read(w.source_segment, w.si(), n);
        w.advance_si(n);
        w.advance_di(n);
        w.count(n);
        w.finish();
        return;
      }
    }
  }
  for (; n != 0; n--) {
    c.store<T>(ES, w.di(), c.load<T>(w.source_segment, w.si()));
    w.advance_si(1);
    w.advance_di(1);
    w.count(1);
  }
  w.finish();
}

template <class T>
void stos_of(Cpu& c, const Insn& i) {
  StringWork w(c, i, sizeof(T));
  if (w.left() == 0) return;
  const T value = c.gpr<T>(RAX);
  u64 n = 1;
  if (w.batch()) {
    const StringWork::Window to = w.open(ES, w.di(), Access::Write);
    n = to.iterations;
    if (to.host != nullptr) fill_elements<T>(to.host, value, n, w.down);
    if (to.host != nullptr || (to.slow != nullptr && fill_at_once<T>(w, value, n))) {
      w.advance_di(n);
      w.count(n);
      w.finish();
      return;
    }
  }
  for (; n != 0; n--) {
    c.store<T>(ES, w.di(), value);
    w.advance_di(1);
    w.count(1);
  }
  w.finish();
}

template <class T>
void lods_of(Cpu& c, const Insn& i) {
  StringWork w(c, i, sizeof(T));
  if (w.left() == 0) return;
  u64 n = 1;
  T value;
  if (const StringWork::Window from = w.batch() ? w.open(w.source_segment, w.si(), Access::Read) : StringWork::Window{};
      from.host != nullptr) {
    n = from.iterations;
    value = load_as<T>(w.down ? from.host - (n - 1) * sizeof(T) : from.host + (n - 1) * sizeof(T));
    w.note_read(w.source_segment, w.si(), n);
  } else {
    value = c.load<T>(w.source_segment, w.si());
  }
  c.set_gpr<T>(RAX, value);
  w.advance_si(n);
  w.count(n);
  w.finish();
}

/// True when REPE or REPNE ends after comparing.
bool terminates(Rep rep, bool equal) {
  return rep == Rep::RepE ? !equal : rep == Rep::RepNe ? equal : false;
}

/// Compares up to `n` elements, one of each pair from a(k) and b(k); stops where the REP does. Returns how many were
/// compared; the flags are the last pair's.
template <class T, class A, class B>
u64 compare_elements(Flags& flags, Rep rep, u64 n, A a, B b) {
  u64 k = 0;
  while (k + 1 < n && !terminates(rep, a(k) == b(k))) k++;
  alu::sub(a(k), b(k), flags);
  return k + 1;
}

template <class T>
void cmps_of(Cpu& c, const Insn& i) {
  StringWork w(c, i, sizeof(T));
  if (w.left() == 0) return;
  u64 done = 1;
  StringWork::Window first, second;
  if (w.batch()) {
    first = w.open(w.source_segment, w.si(), Access::Read);
    if (first.iterations > 1) second = w.open(ES, w.di(), Access::Read);
  }
  if (const u64 n = std::min(first.iterations, second.iterations); n > 1) {
    const std::ptrdiff_t stride = w.down ? -static_cast<std::ptrdiff_t>(sizeof(T)) : static_cast<std::ptrdiff_t>(sizeof(T));
    const auto element = [stride](const u8* p) {
      return [p, stride](u64 k) { return load_as<T>(p + static_cast<std::ptrdiff_t>(k) * stride); };
    };
    done = compare_elements<T>(c.s.flags, w.rep, n, element(first.host), element(second.host));
    w.note_read(w.source_segment, w.si(), done);
    w.note_read(ES, w.di(), done);
  } else {
    const T a = c.load<T>(w.source_segment, w.si());
    const T b = c.load<T>(ES, w.di());
    alu::sub(a, b, c.s.flags);
  }
  w.advance_si(done);
  w.advance_di(done);
  w.count(done);
  w.finish(terminates(w.rep, c.s.flags.zf()));
}

template <class T>
void scas_of(Cpu& c, const Insn& i) {
  StringWork w(c, i, sizeof(T));
  if (w.left() == 0) return;
  const T accumulator = c.gpr<T>(RAX);
  u64 done = 1;
  const StringWork::Window to = w.batch() ? w.open(ES, w.di(), Access::Read) : StringWork::Window{};
  if (to.host != nullptr) {
    const std::ptrdiff_t stride = w.down ? -static_cast<std::ptrdiff_t>(sizeof(T)) : static_cast<std::ptrdiff_t>(sizeof(T));
    done = compare_elements<T>(
        c.s.flags, w.rep, to.iterations, [accumulator](u64) { return accumulator; },
        [p = to.host, stride](u64 k) { return load_as<T>(p + static_cast<std::ptrdiff_t>(k) * stride); });
    w.note_read(ES, w.di(), done);
  } else {
    alu::sub(accumulator, c.load<T>(ES, w.di()), c.s.flags);
  }
  w.advance_di(done);
  w.count(done);
  w.finish(terminates(w.rep, c.s.flags.zf()));
}

}  // namespace

// By operand size.
#define CG_BY_WIDTH(NAME)                              \
  void NAME##b(Cpu& c, const Insn& i) { NAME##_of<u8>(c, i); } \
  void NAME(Cpu& c, const Insn& i) {                   \
    switch (i.width) {                                 \
      case 8: NAME##_of<u64>(c, i); break;             \
      case 4: NAME##_of<u32>(c, i); break;             \
      default: NAME##_of<u16>(c, i);                   \
    }                                                  \
  }
CG_BY_WIDTH(movs)
CG_BY_WIDTH(stos)
CG_BY_WIDTH(lods)
CG_BY_WIDTH(cmps)
CG_BY_WIDTH(scas)
#undef CG_BY_WIDTH

}  // namespace callgate::helpers
