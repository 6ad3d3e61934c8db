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
void JumpCaches::empty_page(JumpCache& cache, JumpCache::Page& page) {
  constexpr unsigned kPerChunk = 1u << (JumpCache::kChunkShift - JumpCache::kOffsetShift);
  const u64 address = page.address & ~kPageMask;
  for (u64 used = page.used; used != 0; used &= used - 1) {
    const unsigned first = JumpCache::index_of(address + (static_cast<u64>(std::countr_zero(used)) << JumpCache::kChunkShift));
    for (unsigned i = first; i < first + kPerChunk; i++)
      if ((cache.entry[i].rip & ~kPageMask) == address) cache.entry[i] = {empty_rip(i), nullptr};
  }
  page = {};
}

void JumpCaches::note_page(JumpCache& cache, u64 rip) {
  const unsigned group = JumpCache::group_of(rip);
  const u64 address = (rip & ~kPageMask) | 1, chunk = u64{1} << ((rip & kPageMask) >> JumpCache::kChunkShift);
  JumpCache::Page* free = nullptr;
  for (JumpCache::Page& page : cache.page[group]) {
    if (page.address == address) {
      page.used |= chunk;
      return;
    }
    if (page.address == 0) free = &page;
  }
  if (free == nullptr) {
    free = &cache.page[group][cache.victim[group]++ % JumpCache::kPagesInGroup];
    empty_page(cache, *free);
  }
  *free = {address, chunk};
  cache.used_groups[rip >> 63] |= u64{1} << group;
}
static_assert(JumpCache::index_of(empty_rip(0)) != 0);

// Most of a cache is never used: the host gives its zeroed pages when they are touched.
JumpCache* JumpCaches::make_cache(u64 (&used_groups)[2]) {
  auto* cache = static_cast<JumpCache*>(std::calloc(1, sizeof(JumpCache)));
  VERIFY(cache != nullptr, "no memory for a jump cache");
  cache->entry[0].rip = empty_rip(0);
  cache->used_groups = used_groups;
  return cache;
}
void JumpCaches::Free::operator()(void* p) const { std::free(p); }

template <class Which>
void JumpCaches::empty_pages(JumpCache& cache, Which which) {
  for (u64 used = cache.used_groups[0] | cache.used_groups[1]; used != 0; used &= used - 1)
    for (JumpCache::Page& page : cache.page[std::countr_zero(used)])
      if (page.address != 0 && which(page.address & ~kPageMask)) empty_page(cache, page);
}

void JumpCaches::empty(JumpCache& cache) {
  empty_pages(cache, [](u64) { return true; });
  cache.used_groups[0] = cache.used_groups[1] = 0;
}

JumpCache& JumpCaches::select(const TlbTable* table, u32 mode_key, u32 segment) {
  View*& recent = recent_[(reinterpret_cast<std::uintptr_t>(table) >> 12 ^ mode_key ^ segment * 7) % kRecent];
  if (recent != nullptr && recent->table == table && recent->mode_key == mode_key && recent->segment == segment &&
      recent->generation == table->generation) {
    recent->last_used = ++uses_;
    return *recent->cache;
  }
  View* oldest = nullptr;
  for (auto& v : views_) {
    if (v->table == table && v->mode_key == mode_key && v->segment == segment) {
      if (v->generation != table->generation) {
        empty(*v->cache);
        v->generation = table->generation;
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
    oldest->number = static_cast<unsigned>(views_.size() - 1);
    oldest->cache.reset(make_cache(used_groups_[oldest->number]));
  } else {
    given_up_++;
  }
  empty(*oldest->cache);
  oldest->table = table;
  oldest->mode_key = mode_key;
  oldest->segment = segment;
  oldest->generation = table->generation;
  oldest->last_used = ++uses_;
  recent = oldest;
  return *oldest->cache;
}

void JumpCaches::set(JumpCache& cache, u64 rip, const void* code) {
  note_page(cache, rip);
  cache.entry[JumpCache::index_of(rip)] = {rip, code};
}

void JumpCaches::forget(u64 rip) {
  for (auto& v : views_) {
    if (!may_have(*v, rip)) continue;
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
    if (v->segment != 0) empty(*v->cache);
    if (!may_have(*v, linear)) continue;
    for (JumpCache::Page& page : v->cache->page[group])
      if (page.address == (linear | 1)) empty_page(*v->cache, page);
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
  for (auto& v : views_) empty_range(*v, linear, size);
}

void JumpCaches::drop_range_of(u32 root, u64 linear, u64 size) {
  for (auto& v : views_)
    if (v->table != nullptr && v->table->root == root) empty_range(*v, linear, size);
}

void JumpCaches::empty_range(View& view, u64 linear, u64 size) {
  if (view.segment != 0) empty(*view.cache);
  else empty_pages(*view.cache, [=](u64 page) { return page - linear < size; });
}

}  // namespace callgate::jit
