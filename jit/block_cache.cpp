#include "jit/block_cache.h"

#include <algorithm>

namespace callgate::jit {

void BlockCache::insert(u32 number) {
  const u64 h = hash(blocks_[number].key);
  for (u64 at = h;; at++) {
    Entry& entry = index_[at & (index_.size() - 1)];
    if (entry.number != kNoBlock && entry.number != kErased) continue;
    used_ += entry.number == kNoBlock;
    entry = {number, tag_of(h)};
    return;
  }
}

void BlockCache::erase(u32 number) {
  for (u64 at = hash(blocks_[number].key);; at++) {
    Entry& entry = index_[at & (index_.size() - 1)];
    if (entry.number != number) continue;
    entry.number = kErased;
    return;
  }
}

bool BlockCache::is_restless(u32 frame, unsigned offset) {
  const auto it = frames_.find(frame);
  return it != frames_.end() && it->second.rewrites[offset / kGranule] >= kRewritesUntilRestless;
}

void BlockCache::has_settled(u32 number) {
  TranslatedBlock& b = blocks_[number];
  Frame& frame = frames_[b.key.frame];
  frame.rewrites[b.offset / kGranule] = 0;
  std::erase(frame.blocks, number);
  erase(number);
  b.valid = false;
}

u32 BlockCache::add(TranslatedBlock block) {
  const u32 number = next_number();
  Frame& frame = frames_[block.key.frame];
  frame.blocks.push_back(number);
  frame.writes = 0;
  blocks_.push_back(std::move(block));
  if (used_ * 2 >= index_.size()) {
    index_.assign(index_.size() * 2, Entry{});
    used_ = 0;
    for (u32 n = 0; n < number; n++)
      if (blocks_[n].valid) insert(n);
  }
  insert(number);
  return number;
}

void BlockCache::connect(u32 number, u32 to) {
  Link& l = links_[number];
  TranslatedBlock& b = blocks_[to];
  Jump& jump = b.key.entry == l.state ? l.direct : l.plain;
  if (jump.at == nullptr || jump.to != kNoBlock) return;
  arena_.patch(jump.at, static_cast<i32>(b.entry - (jump.at + 4)));
  jump.to = to;
  b.incoming.push_back(number);
}

void BlockCache::disconnect(u32 number) {
  TranslatedBlock& block = blocks_[number];
  for (const u32 from : block.incoming) {
    Link& l = links_[from];
    Jump& jump = l.direct.to == number ? l.direct : l.plain;
    arena_.patch(jump.at, static_cast<i32>(jump.stub - (jump.at + 4)));
    jump.to = kNoBlock;
    if (l.counter != nullptr) *l.counter = promote_after;
  }
  block.incoming.clear();
}

bool BlockCache::written(u32 frame) {
  const auto it = frames_.find(frame);
  return it != frames_.end() && ++it->second.writes >= kWritesUntilRelease;
}

void BlockCache::clear() {
  blocks_.clear();
  links_.clear();
  std::fill(index_.begin(), index_.end(), Entry{});
  used_ = 0;
  frames_.clear();
}

}  // namespace callgate::jit
