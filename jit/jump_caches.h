// The jump caches of all views of memory (an address space as a privilege level sees it, in a mode), and their coherence:
// an entry goes away with the mapping of its page, or with its block. Attached to the tracker beside the soft TLBs.
#pragma once

#include <memory>
#include <vector>

#include "jit/context.h"
#include "mmu/translation_tracker.h"

namespace callgate::jit {

class JumpCaches final : public TranslationCache {
 public:
  explicit JumpCaches(TranslationTracker& tracker);
  ~JumpCaches() override;

  /// The cache of the view that `table`, `mode_key` and `segment` (of code, 0: flat) stand for; empty when it is new or was
  /// given up.
  JumpCache& select(const TlbTable* table, u32 mode_key, u32 segment);
  static void set(JumpCache& cache, u64 rip, const void* code);
  /// Forgets a block's entries.
  void forget(u64 rip);
  void clear();
  /// How many caches were given up for other views.
  u64 given_up() const { return given_up_; }

  // TranslationCache
  void drop_page(u64 linear) override;
  void drop_range(u64 linear, u64 size) override;
  void drop_range_of(u32 root, u64 linear, u64 size) override;
  void drop_space(u32 root) override;
  void drop_all() override { clear(); }
  void drop_write_page(u64) override {}
  void drop_write_host(const u8*) override {}
  void drop_all_writes() override {}
  bool has_write(u64, const u8*) const override { return false; }

 private:
  struct Free {
    void operator()(void* p) const;
  };
  struct View {
    const TlbTable* table = nullptr;
    u32 mode_key = 0;
    u32 segment = 0;  ///< not 0: its addresses are no linear ones
    u32 generation = 0;
    u64 last_used = 0;
    std::unique_ptr<JumpCache, Free> cache;
    unsigned number = 0;
  };
  static constexpr std::size_t kMostViews = 48, kRecent = 61;

  static JumpCache* make_cache(u64 (&used_groups)[2]);
  /// True when the view may have an entry for an address of that page.
  bool may_have(const View& v, u64 linear) const { return used_groups_[v.number][linear >> 63] >> JumpCache::group_of(linear) & 1; }
  static void empty(JumpCache& cache);
  static void empty_page(JumpCache& cache, JumpCache::Page& page);
  /// Empties the pages for whose address `which` is true.
  template <class Which>
  static void empty_pages(JumpCache& cache, Which which);
  static void empty_range(View& view, u64 linear, u64 size);
  static void note_page(JumpCache& cache, u64 rip);

  TranslationTracker& tracker_;
  std::vector<std::unique_ptr<View>> views_;
  u64 used_groups_[kMostViews][2] = {};
  View* recent_[kRecent] = {};  ///< by a hash of table and mode
  u64 uses_ = 0, given_up_ = 0;
};

}  // namespace callgate::jit
