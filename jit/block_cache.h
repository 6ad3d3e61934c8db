// The translated blocks: found by where their code is and the mode it runs in, linked to each other, and forgotten when their
// bytes are written. Knows no host instructions; the code itself is in the arena.
#pragma once

#include <deque>
#include <memory>
#include <optional>
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
  u32 segment = 0;  ///< the code segment that it is in (CodeSegments); 0: flat
  bool operator==(const BlockKey&) const = default;
};

/// Code that is rewritten again and again has checked blocks: they stay when their bytes are written, but compare them at
/// their entry. One that finds other bytes goes on in the next variant of the same key; behind the last one is the translator.
struct CheckedCode {
  std::vector<u8> bytes;      ///< what was translated
  std::vector<u8> rewritten;  ///< by byte, 1: not compared (ir::Block::rewritten)
  u32 mismatch = 0;           ///< the link to the next variant
  std::vector<u32> variants;  ///< of the first one: all variants' numbers, its own first

  bool matches(const u8* code) const {
    for (std::size_t n = 0; n < bytes.size(); n++)
      if (rewritten[n] == 0 && bytes[n] != code[n]) return false;
    return true;
  }
};

struct TranslatedBlock {
  BlockKey key;
  const u8* entry = nullptr;  ///< nullptr: not translatable, the interpreter executes its first instruction
  u16 offset = 0, bytes = 0;  ///< in the page
  u16 insns = 0;
  bool valid = true;
  bool in_part = false;   ///< an instruction that ends in another page
  bool restless = false;  ///< hopelessly rewritten: no code, the interpreter executes it
  u32 head = kNoBlock;  ///< of a checked one: the first variant, which jumps go to
  std::unique_ptr<CheckedCode> checked;
  u16 runs = 0;  ///< of a restless one: how often it was interpreted since it was last written
  u8 versions = 0;  ///< how many of it there are for other entry states
  u32 first_link = 0, links = 0;  ///< its own
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
  bool mismatch = false;   ///< of a checked block, to its next variant
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
  const TranslatedBlock& block(u32 number) const { return blocks_[number]; }
  Link& link(u32 number) { return links_[number]; }
  u32 add(TranslatedBlock block);
  void add_link(const Link& link) { links_.push_back(link); }
  /// How often a link was followed while it counted; none: it doesn't count, or the block has no such link.
  std::optional<u32> followed(const TranslatedBlock& block, u64 target) const;
  /// Makes the link's jump for the block's entry state go to the block.
  void connect(u32 link, u32 block);
  static constexpr u8 kMostVersions = 4;
  static constexpr u32 kNever = ~u32{0};  ///< for a counter

  /// Adds a variant to those of the checked block `head`; an old one that it stands for, too, is forgotten (kNoBlock: none).
  /// The number of the first variant from now on.
  u32 add_variant(u32 head, TranslatedBlock block, u32 instead_of);
  /// The variant of the checked block `head` that was made for these bytes, or kNoBlock.
  u32 find_variant(u32 head, const u8* code) const;
  static constexpr std::size_t kMostVariants = 12;
  /// What jumps to the block go to.
  const TranslatedBlock& entry_of(u32 number) const {
    const TranslatedBlock& b = blocks_[number];
    return b.head == kNoBlock ? b : blocks_[b.head];
  }
  /// Forgets a block and all its variants.
  void forget(u32 head);

  /// What a write to [offset, offset + size) of the frame met.
  struct Written {
    u32 gone = 0;          ///< blocks that were forgotten
    bool checked = false;  ///< there is a checked block, which stays
  };
  /// Forgets the blocks that have a byte in [offset, offset + size) of the frame; calls `gone` for each.
  template <class Gone>
  Written invalidate(u32 frame, unsigned offset, unsigned size, bool checked_too, Gone gone);
  /// The same for blocks whose code is seen at the linear address. Slow: looks at every block.
  template <class Gone>
  u32 invalidate_linear(u64 address, Gone gone);
  /// True when the block has a byte there.
  bool covers(u32 number, u32 frame, unsigned offset, unsigned size) const {
    const TranslatedBlock& b = blocks_[number];
    return b.key.frame == frame && b.offset < offset + size && offset < b.offset + u32{b.bytes};
  }
  bool has_code(u32 frame) const {
    const auto it = frames_.find(frame);
    return it != frames_.end() && it->second.watched;
  }
  /// How code that begins there is to be translated.
  enum class Unrest : u8 {
    None,
    Rewritten,  ///< it was written to often: as checked blocks
    Hopeless,   ///< there were too many variants: not at all
  };
  Unrest unrest(u32 frame, unsigned offset) const;
  /// How often code near there was met at this address, this time included; 0 for code that seldom was at another one. Shared libraries, say, are at another one in each process: blocks have RIP built in, so none fits the next time.
  unsigned met_while_roaming(const BlockKey& key);
  void give_up(u32 frame, unsigned offset);
  /// A restless block has not been written for a while: it is forgotten, to be translated.
  void has_settled(u32 number);
  static constexpr u16 kRunsUntilSettled = 64;
  /// How often a link with a state is followed before it gets a version of its target.
  u32 promote_after = 1000;
  /// Counts a write; true when there were so many since the frame's last block was added that it looks like data.
  bool written(u32 frame);
  /// The frame has no blocks any more and nobody needs to hear of writes to it.
  void release(u32 frame);
  void clear();

 private:
  static constexpr u32 kErased = kNoBlock - 1;
  static u64 hash(const BlockKey& k) {
    // A product's bit knows nothing of the factor's bits above it: the high ones are what depends on all of the key.
    const u64 h = (k.rip ^ u64{k.frame} << 40 ^ u64{k.mode} << 17 ^ u64{k.entry} << 29 ^ u64{k.segment} << 48) * 0x9E3779B97F4A7C15ull;
    return h ^ h >> 32;
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
    bool watched = false;  ///< somebody must hear of writes
    std::vector<u32> blocks;
    u64 granules = 0;      ///< bit per granule: some block may have a byte there
    u32 writes = 0;
    u32 patience = kWritesUntilRelease;  ///< that many writes; more for code that came back
    u8 rewrites[kPageSize / 64] = {};  ///< by granule: blocks that began there and were written to
    u64 place = 0;     ///< the page's address, as its last block had it
    u32 places = 0;    ///< how often that was another one than the last time
    u64 met_at = 0;    ///< the address that `met` counts for
    std::vector<u8> met;  ///< by granule: how often code there was met at that address
  };
  static constexpr unsigned kGranule = 64;
  static constexpr unsigned kBulk = 256;  ///< a write of so many bytes is no rewriting, but other code
  static constexpr u8 kRewritesUntilChecked = 8, kMostRewrites = 100, kHopeless = 101;
  static constexpr u32 kPlacesOfRoamer = 4;
  static constexpr u32 kWritesUntilRelease = 32, kMostPatience = 1u << 20;
  static u64 granules_of(unsigned offset, unsigned size) {
    const unsigned first = offset / kGranule, last = (offset + size - 1) / kGranule;
    return (last >= 63 ? ~u64{0} : (u64{2} << last) - 1) & ~u64{0} << first;
  }
  void link_variants(const std::vector<u32>& variants);

  void disconnect(u32 number);

  CodeArena& arena_;
  std::deque<TranslatedBlock> blocks_;
  std::deque<Link> links_;
  std::vector<Entry> index_ = std::vector<Entry>(1024);  ///< by key: open addressing
  std::size_t used_ = 0;  ///< of index_, erased ones included
  std::unordered_map<u32, Frame> frames_;
};

template <class Gone>
BlockCache::Written BlockCache::invalidate(u32 number, unsigned offset, unsigned size, bool checked_too, Gone gone) {
  Written w;
  const auto it = frames_.find(number);
  if (it == frames_.end()) return w;
  Frame& frame = it->second;
  if (!(frame.granules & granules_of(offset, size))) return w;
  frame.granules = 0;
  std::erase_if(frame.blocks, [&](u32 n) {
    TranslatedBlock& b = blocks_[n];
    if (covers(n, number, offset, size)) {
      if (b.checked == nullptr || checked_too) {
        u8& rewrites = frame.rewrites[b.offset / kGranule];
        if (size >= kBulk) rewrites = 0;
        else if (b.key.entry == 0 && rewrites < kMostRewrites) rewrites++;  // a version may only go on here
        disconnect(n);
        erase(n);
        b.valid = false;
        gone(b);
        w.gone++;
        return true;
      }
      w.checked = true;
    }
    frame.granules |= granules_of(b.offset, b.bytes);
    return false;
  });
  return w;
}

template <class Gone>
u32 BlockCache::invalidate_linear(u64 address, Gone gone) {
  u32 count = 0;
  for (auto& [frame, f] : frames_) {
    count += static_cast<u32>(std::erase_if(f.blocks, [&](u32 number) {
      TranslatedBlock& b = blocks_[number];
      // Whatever base a segment has, the place in the page is the same.
      if (b.key.segment != 0 ? ((address - b.offset) & kPageMask) >= b.bytes : address - b.key.rip >= b.bytes) return false;
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
