#include "jit/block_cache.h"

namespace callgate::jit {

u32 BlockCache::add(TranslatedBlock block) {
  const u32 number = next_number();
  by_key_[block.key] = number;
  Frame& frame = frames_[block.key.frame];
  frame.blocks.push_back(number);
  frame.writes = 0;
  blocks_.push_back(std::move(block));
  return number;
}

void BlockCache::connect(u32 number, u32 to) {
  Link& l = links_[number];
  if (l.jump == nullptr || l.to != kNoBlock) return;
  TranslatedBlock& b = blocks_[to];
  arena_.patch(l.jump, static_cast<i32>(b.entry - (l.jump + 4)));
  l.to = to;
  b.incoming.push_back(number);
}

void BlockCache::disconnect(TranslatedBlock& block) {
  for (const u32 number : block.incoming) {
    Link& l = links_[number];
    arena_.patch(l.jump, static_cast<i32>(l.stub - (l.jump + 4)));
    l.to = kNoBlock;
  }
  block.incoming.clear();
}

bool BlockCache::written(u32 frame) {
  const auto it = frames_.find(frame);
  return it != frames_.end() && (it->second.blocks.empty() || ++it->second.writes >= kWritesUntilRelease);
}

void BlockCache::clear() {
  blocks_.clear();
  links_.clear();
  by_key_.clear();
  frames_.clear();
}

}  // namespace callgate::jit
