#include "jit/jump_caches.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "base/verify.h"

namespace callgate::jit {

JumpCaches::JumpCaches(TranslationTracker& tracker) : tracker_(tracker) { tracker_.attach(this); }
JumpCaches::~JumpCaches() { tracker_.detach(this); }

static constexpr u64 empty_rip(unsigned index) { return index == 0 ? u64{1} << JumpCache::kOffsetShift : 0; }

// An empty entry holds the address of another entry: no jump that looks here has it.
void JumpCaches::empty_group(JumpCache& cache, unsigned group) {
  constexpr unsigned kPerGroup = 1u << JumpCache::kOffsetBits;
  for (unsigned i = group * kPerGroup; i < (group + 1) * kPerGroup; i++) cache.entry[i] = {empty_rip(i), nullptr};
  cache.used_pages &= ~(u64{1} << group);
  std::fill(std::begin(cache.page[group]), std::end(cache.page[group]), 0);
}

void JumpCaches::empty_page(JumpCache& cache, unsigned group, u64& place) {
  const u64 page = place & ~kPageMask;
  place = 0;
  constexpr unsigned kPerGroup = 1u << JumpCache::kOffsetBits;
  for (unsigned i = group * kPerGroup; i < (group + 1) * kPerGroup; i++)
    if ((cache.entry[i].rip & ~kPageMask) == page) cache.entry[i] = {empty_rip(i), nullptr};
}

void JumpCaches::note_page(JumpCache& cache, u64 rip) {
  const unsigned group = JumpCache::group_of(rip);
  auto& pages = cache.page[group];
  const u64 page = (rip & ~kPageMask) | 1;
  u64* free = nullptr;
  for (u64& place : pages) {
    if (place == page) return;
    if (place == 0) free = &place;
  }
  if (free == nullptr) {
    free = &pages[cache.victim[group]++ % JumpCache::kPagesInGroup];
    empty_page(cache, group, *free);
  }
  *free = page;
  cache.used_pages |= u64{1} << group;
}
static_assert(JumpCache::index_of(empty_rip(0)) != 0);

// Most of a cache is never used: the host gives its zeroed pages when they are touched.
JumpCache* JumpCaches::make_cache() {
  auto* cache = static_cast<JumpCache*>(std::calloc(1, sizeof(JumpCache)));
  VERIFY(cache != nullptr, "no memory for a jump cache");
  cache->entry[0].rip = empty_rip(0);
  return cache;
}
void JumpCaches::Free::operator()(void* p) const { std::free(p); }

void JumpCaches::empty(JumpCache& cache) {
  for (u64 used = cache.used_pages; used != 0; used &= used - 1)
    empty_group(cache, static_cast<unsigned>(std::countr_zero(used)));
}

JumpCache& JumpCaches::select(const TlbTable* table, u32 mode_key) {
  View*& recent = recent_[(reinterpret_cast<std::uintptr_t>(table) >> 12 ^ mode_key) % kRecent];
  if (recent != nullptr && recent->table == table && recent->mode_key == mode_key &&
      recent->generation == table->generation) {
    recent->last_used = ++uses_;
    return *recent->cache;
  }
  View* oldest = nullptr;
  for (auto& v : views_) {
    if (v->table == table && v->mode_key == mode_key) {
      if (v->generation != table->generation) {
        empty(*v->cache);
        v->generation = table->generation;
        inherit(*v);
      }
      v->last_used = ++uses_;
      recent = v.get();
      return *v->cache;
    }
    if (oldest == nullptr || v->last_used < oldest->last_used) oldest = v.get();
  }
  if (views_.size() < kMostViews) {
    views_.push_back(std::make_unique<View>());
    oldest = views_.back().get();
    oldest->cache.reset(make_cache());
  } else {
    given_up_++;
  }
  empty(*oldest->cache);
  oldest->table = table;
  oldest->mode_key = mode_key;
  oldest->generation = table->generation;
  oldest->last_used = ++uses_;
  inherit(*oldest);
  recent = oldest;
  return *oldest->cache;
}

static bool is_upper(u64 address) { return address >> 63 != 0; }

void JumpCaches::inherit(View& view) {
  const auto same_code = [&](const TlbTable& from, u64 page) {
    const u64 slot = TlbTable::slot_of(page);
    return view.table->exec_tag[slot] == page && from.exec_tag[slot] == page && view.table->addend[slot] == from.addend[slot];
  };
  if (view.table->count == 0) return;
  const auto has_upper = [](const JumpCache& cache) {
    for (u64 used = cache.used_pages; used != 0; used &= used - 1)
      for (const u64 place : cache.page[std::countr_zero(used)])
        if (is_upper(place)) return true;
    return false;
  };
  const View* from = nullptr;
  for (const auto& v : views_)
    if (v.get() != &view && v->mode_key == view.mode_key && v->generation == v->table->generation &&
        (from == nullptr || v->last_used > from->last_used) && has_upper(*v->cache))
      from = v.get();
  if (from == nullptr) return;
  for (u64 used = from->cache->used_pages; used != 0; used &= used - 1) {
    const unsigned group = static_cast<unsigned>(std::countr_zero(used));
    u64 pages[JumpCache::kPagesInGroup];
    unsigned count = 0;
    for (const u64 place : from->cache->page[group])
      if (is_upper(place) && same_code(*from->table, place & ~kPageMask)) pages[count++] = place & ~kPageMask;
    if (count == 0) continue;
    for (unsigned n = 0; n < count; n++) note_page(*view.cache, pages[n]);
    constexpr unsigned kPerGroup = 1u << JumpCache::kOffsetBits;
    for (unsigned i = group * kPerGroup; i < (group + 1) * kPerGroup; i++) {
      const JumpCache::Entry& e = from->cache->entry[i];
      if (is_upper(e.rip) && std::find(pages, pages + count, e.rip & ~kPageMask) != pages + count) view.cache->entry[i] = e;
    }
  }
}

void JumpCaches::set(JumpCache& cache, u64 rip, const void* code) {
  note_page(cache, rip);
  cache.entry[JumpCache::index_of(rip)] = {rip, code};
}

void JumpCaches::forget(u64 rip) {
  for (auto& v : views_) {
    JumpCache::Entry& e = v->cache->entry[JumpCache::index_of(rip)];
    if (e.rip == rip) e = {empty_rip(JumpCache::index_of(rip)), nullptr};
  }
}

void JumpCaches::clear() {
  for (auto& v : views_) empty(*v->cache);
}

void JumpCaches::drop_page(u64 linear) {
  const unsigned group = JumpCache::group_of(linear);
  for (auto& v : views_) {
    if (!(v->cache->used_pages >> group & 1)) continue;
    for (u64& place : v->cache->page[group])
      if (place == (linear | 1)) empty_page(*v->cache, group, place);
  }
}

void JumpCaches::drop_space(u32 root) {
  for (auto& v : views_)
    if (v->table != nullptr && v->table->root == root) empty(*v->cache);
}

void JumpCaches::drop_range(u64 linear, u64 size) {
  constexpr u64 kGroups = u64{1} << JumpCache::kPageBits;
  if (size >> kPageShift < kGroups) {
    for (u64 at = 0; at < size; at += kPageSize) drop_page(linear + at);
    return;
  }
  for (auto& v : views_)
    for (u64 used = v->cache->used_pages; used != 0; used &= used - 1) {
      const unsigned group = static_cast<unsigned>(std::countr_zero(used));
      for (u64& place : v->cache->page[group])
        if (place != 0 && place - linear < size) empty_page(*v->cache, group, place);
    }
}

}  // namespace callgate::jit
