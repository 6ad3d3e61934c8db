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

BlockCache::Unrest BlockCache::unrest(u32 frame, unsigned offset) const {
  const auto it = frames_.find(frame);
  const u8 rewrites = it != frames_.end() ? it->second.rewrites[offset / kGranule] : u8{0};
  return rewrites == kHopeless ? Unrest::Hopeless : rewrites >= kRewritesUntilChecked ? Unrest::Rewritten : Unrest::None;
}

void BlockCache::give_up(u32 frame, unsigned offset) { frames_[frame].rewrites[offset / kGranule] = kHopeless; }

void BlockCache::has_settled(u32 number) {
  TranslatedBlock& b = blocks_[number];
  frames_[b.key.frame].rewrites[b.offset / kGranule] = 0;
  forget(number);
}

void BlockCache::forget(u32 number) {
  TranslatedBlock& b = blocks_[number];
  std::erase(frames_[b.key.frame].blocks, number);
  disconnect(number);
  erase(number);
  b.valid = false;
}

u32 BlockCache::find_variant(u32 head, const u8* code) const {
  for (const u32 v : blocks_[head].checked->variants)
    if (blocks_[v].checked->matches(code)) return v;
  return kNoBlock;
}

// Each variant's jump for other bytes goes to the next one.
void BlockCache::link_variants(const std::vector<u32>& variants) {
  for (std::size_t n = 0; n < variants.size(); n++) {
    const Link& l = links_[blocks_[variants[n]].checked->mismatch];
    const u8* to = n + 1 < variants.size() ? blocks_[variants[n + 1]].entry : l.direct.stub;
    arena_.patch(l.direct.at, static_cast<i32>(to - (l.direct.at + 4)));
    blocks_[variants[n]].head = variants[0];
  }
}

u32 BlockCache::add_variant(u32 head, TranslatedBlock block, u32 instead_of) {
  std::vector<u32> variants = std::move(blocks_[head].checked->variants);
  const u32 number = next_number();
  if (instead_of == kNoBlock) {
    variants.push_back(number);
    Frame& frame = frames_[block.key.frame];
    frame.granules |= granules_of(block.offset, block.bytes);
    block.valid = false;  // not the key's block
    blocks_.push_back(std::move(block));
    // A write may hit bytes that only a later variant has.
    blocks_[head].bytes = std::max(blocks_[head].bytes, blocks_[number].bytes);
  } else {
    *std::find(variants.begin(), variants.end(), instead_of) = number;
    if (instead_of == head) {
      forget(head);
      head = add(std::move(block));
    } else {
      block.valid = false;
      blocks_.push_back(std::move(block));
    }
  }
  link_variants(variants);
  blocks_[head].checked->variants = std::move(variants);
  return head;
}

unsigned BlockCache::met_while_roaming(const BlockKey& key) {
  const auto it = frames_.find(key.frame);
  if (it == frames_.end() || it->second.places < kPlacesOfRoamer) return 0;
  Frame& frame = it->second;
  const u64 place = key.rip & ~kPageMask;
  if (frame.met.empty() || frame.met_at != place) {
    frame.met.assign(kPageSize / kGranule, 0);
    frame.met_at = place;
  }
  u8& met = frame.met[(key.rip & kPageMask) / kGranule];
  if (met < 255) met++;
  return met;
}

u32 BlockCache::add(TranslatedBlock block) {
  const u32 number = next_number();
  Frame& frame = frames_[block.key.frame];
  if (const u64 place = block.key.rip & ~kPageMask; frame.place != place) {
    frame.place = place;
    frame.places++;
  }
  frame.watched = true;
  frame.blocks.push_back(number);
  frame.granules |= granules_of(block.offset, block.bytes);
  frame.writes = 0;
  if (block.checked != nullptr) {
    block.head = number;
    if (block.checked->variants.empty()) block.checked->variants = {number};
  }
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
  if (l.mismatch) return;
  if (blocks_[to].head != kNoBlock) to = blocks_[to].head;
  TranslatedBlock& b = blocks_[to];
  Jump& jump = b.key.entry == l.state ? l.direct : l.plain;
  if (jump.at == nullptr || jump.to != kNoBlock) return;
  arena_.patch(jump.at, static_cast<i32>(b.entry - (jump.at + 4)));
  jump.to = to;
  b.incoming.push_back(number);
}

std::optional<u32> BlockCache::followed(const TranslatedBlock& block, u64 target) const {
  for (u32 n = block.first_link; n < block.first_link + block.links; n++) {
    const Link& l = links_[n];
    if (l.target != target || l.counter == nullptr) continue;
    return *l.counter == kNever ? promote_after : promote_after - *l.counter;
  }
  return std::nullopt;
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
  return it != frames_.end() && ++it->second.writes >= it->second.patience;
}

void BlockCache::release(u32 number) {
  Frame& frame = frames_[number];
  const u32 patience = std::min(frame.patience * 2, kMostPatience);
  frame = {};
  frame.patience = patience;
}

void BlockCache::clear() {
  blocks_.clear();
  links_.clear();
  std::fill(index_.begin(), index_.end(), Entry{});
  used_ = 0;
  frames_.clear();
}

}  // namespace callgate::jit
