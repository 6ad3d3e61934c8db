// The translated blocks: found by where their code is and the mode it runs in, linked to each other, and forgotten when their
// bytes are written. Knows no host instructions; the code itself is in the arena.
#pragma once

#include <deque>
#include <unordered_map>
#include <vector>

#include "jit/code_arena.h"
#include "jit/context.h"

namespace callgate::jit {

constexpr u32 kNoBlock = ~u32{0};

/// A block's identity: RIP is part of it because emitted code has it built in.
struct BlockKey {
  u64 rip = 0;
  u32 frame = 0;  ///< of RAM, where the code is
  u32 mode = 0;   ///< its mode_key()
  u16 entry = 0;  ///< what it relies on when it is entered (the backend's number); 0: nothing, anybody may enter
  bool operator==(const BlockKey&) const = default;
};

struct TranslatedBlock {
  BlockKey key;
  const u8* entry = nullptr;  ///< nullptr: not translatable, the interpreter executes its first instruction
  u16 offset = 0, bytes = 0;  ///< in the page
  u16 insns = 0;
  bool valid = true;
  bool restless = false;  ///< rewritten again and again: no code, the interpreter executes it
  u16 runs = 0;  ///< of a restless one: how often it was interpreted since it was last written
  u8 versions = 0;  ///< how many of it there are for other entry states
  std::vector<u32> incoming;  ///< links that go to it
};

/// A 32-bit displacement in emitted code that leads to a block, or to a stub.
struct Jump {
  u8* at = nullptr;  ///< nullptr: it is never patched
  const u8* stub = nullptr;
  u32 to = kNoBlock;
};

/// A jump of a block to a constant RIP. If it leaves more than a plain entry needs, there are two: a direct one to a version
/// that was made for it, and one behind a stub that makes the state plain.
struct Link {
  u64 target = 0;
  u16 state = 0;
  Jump direct, plain;      ///< with state 0 only `direct`
  u32* counter = nullptr;  ///< of a link with a state: jumps left until it is worth a version of its target
};

class BlockCache {
 public:
  explicit BlockCache(CodeArena& arena) : arena_(arena) {}

  /// The number of the block, or kNoBlock.
  u32 find(const BlockKey& key) const {
    const u64 h = hash(key);
    for (u64 at = h;; at++) {
      const Entry& e = index_[at & (index_.size() - 1)];
      if (e.number == kNoBlock) return kNoBlock;
      if (e.tag == tag_of(h) && e.number != kErased && blocks_[e.number].key == key) return e.number;
    }
  }
  u32 next_number() const { return static_cast<u32>(blocks_.size()); }
  u32 next_link() const { return static_cast<u32>(links_.size()); }
  TranslatedBlock& block(u32 number) { return blocks_[number]; }
  Link& link(u32 number) { return links_[number]; }
  u32 add(TranslatedBlock block);
  void add_link(const Link& link) { links_.push_back(link); }
  /// Makes the link's jump for the block's entry state go to the block.
  void connect(u32 link, u32 block);
  static constexpr u8 kMostVersions = 4;
  static constexpr u32 kNever = ~u32{0};  ///< for a counter

  /// Forgets the blocks that have a byte in [offset, offset + size) of the frame; calls `gone` for each.
  template <class Gone>
  u32 invalidate(u32 frame, unsigned offset, unsigned size, Gone gone);
  /// The same for blocks whose code is seen at the linear address. Slow: looks at every block.
  template <class Gone>
  u32 invalidate_linear(u64 address, Gone gone);
  bool has_code(u32 frame) const { return frames_.contains(frame); }
  /// True for code that was rewritten so often lately that translating it doesn't pay: the interpreter executes it.
  bool is_restless(u32 frame, unsigned offset);
  /// A restless block has not been written for a while: it is forgotten, to be translated.
  void has_settled(u32 number);
  static constexpr u16 kRunsUntilSettled = 64;
  /// How often a link with a state is followed before it gets a version of its target.
  u32 promote_after = 1000;
  /// Counts a write; true when there were so many since the frame's last block was added that it looks like data.
  bool written(u32 frame);
  /// The frame has no blocks any more and nobody needs to hear of writes to it.
  void release(u32 frame) { frames_.erase(frame); }
  void clear();

 private:
  static constexpr u32 kErased = kNoBlock - 1;
  static u64 hash(const BlockKey& k) {
    return (k.rip ^ u64{k.frame} << 40 ^ u64{k.mode} << 17 ^ u64{k.entry} << 29) * 0x9E3779B97F4A7C15ull >> 20;
  }
  /// Hash bits that the place in the index doesn't tell: a block is looked at only when it is the right one.
  static u32 tag_of(u64 hash) { return static_cast<u32>(hash >> 12); }
  struct Entry {
    u32 number = kNoBlock;
    u32 tag = 0;
  };
  void insert(u32 number);
  void erase(u32 number);

  struct Frame {
    std::vector<u32> blocks;
    u32 writes = 0;
    u8 rewrites[kPageSize / 64] = {};  ///< by granule: blocks that began there and were written to
  };
  static constexpr unsigned kGranule = 64;
  static constexpr u8 kRewritesUntilRestless = 8;
  static constexpr u32 kWritesUntilRelease = 32;

  void disconnect(u32 number);

  CodeArena& arena_;
  std::deque<TranslatedBlock> blocks_;
  std::deque<Link> links_;
  std::vector<Entry> index_ = std::vector<Entry>(1024);  ///< by key: open addressing
  std::size_t used_ = 0;  ///< of index_, erased ones included
  std::unordered_map<u32, Frame> frames_;
};

template <class Gone>
u32 BlockCache::invalidate(u32 frame, unsigned offset, unsigned size, Gone gone) {
  const auto it = frames_.find(frame);
  if (it == frames_.end()) return 0;
  u32 count = 0;
  std::erase_if(it->second.blocks, [&](u32 number) {
    TranslatedBlock& b = blocks_[number];
    if (b.offset >= offset + size || offset >= b.offset + u32{b.bytes}) return false;
    u8& rewrites = it->second.rewrites[b.offset / kGranule];
    if (rewrites != 255) rewrites++;
    disconnect(number);
    erase(number);
    b.valid = false;
    gone(b);
    count++;
    return true;
  });
  return count;
}

template <class Gone>
u32 BlockCache::invalidate_linear(u64 address, Gone gone) {
  u32 count = 0;
  for (auto& [frame, f] : frames_) {
    count += static_cast<u32>(std::erase_if(f.blocks, [&](u32 number) {
      TranslatedBlock& b = blocks_[number];
      if (address - b.key.rip >= b.bytes) return false;
      disconnect(number);
      erase(number);
      b.valid = false;
      gone(b);
      return true;
    }));
  }
  return count;
}

}  // namespace callgate::jit
