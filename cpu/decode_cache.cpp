#include "cpu/decode_cache.h"

#include <algorithm>
#include <utility>

#include "base/verify.h"
#include "cpu/decoder.h"

namespace callgate {

const Insn& DecodedPage::add(unsigned offset, const Insn& insn) {
  if (insns_.empty()) insns_.reserve(kFirst);
  insns_.push_back(insn);
  writes_ = 0;
  insns_.back().page_offset = static_cast<u16>(offset);
  index_[offset] = static_cast<u16>(insns_.size());
  return insns_.back();
}

void DecodedPage::invalidate(unsigned offset, unsigned size) {
  const unsigned first = offset >= kMaxInsnLength - 1 ? offset - (kMaxInsnLength - 1) : 0;
  const unsigned end = std::min<unsigned>(offset + size, kPageSize);
  for (unsigned o = first; o < end; o++)
    if (const Insn* i = find(o); i != nullptr && o + i->length > offset) index_[o] = 0;
}

void DecodedPage::drop() {
  index_.fill(0);
  insns_.clear();
}

DecodeCache::DecodeCache(PhysicalMap& memory)
    : memory_(memory), pages_(static_cast<DecodedPage**>(std::calloc(std::size_t{memory.ram().frames()} * 3, sizeof(DecodedPage*)))) {
  VERIFY(pages_ != nullptr, "the host gives no memory for decoded code");
  memory_.add_code_listener(this);
}

DecodeCache::~DecodeCache() {
  memory_.remove_code_listener(this);
  for (const std::size_t at : made_) delete std::exchange(pages_[at], nullptr);
}

DecodedPage& DecodeCache::make(u32 frame, CodeSize size) {
  graveyard_.clear();  // pages are made between instructions only
  memory_.mark_code(frame);
  if (made_.size() >= tidy_at_) {  // pages that were made again and again
    std::sort(made_.begin(), made_.end());
    made_.erase(std::unique(made_.begin(), made_.end()), made_.end());
    tidy_at_ = std::max(tidy_at_, 2 * made_.size());
  }
  made_.push_back(slot(frame, size));
  return *(pages_[made_.back()] = new DecodedPage());
}

void DecodeCache::code_written(u64 physical, u32 size) {
  stats.invalidations++;
  const PhysicalPage at = memory_.page(physical);
  if (at.frame == kNoFrame) return;
  bool released = false;
  for (unsigned k = 0; k < 3; k++) {
    DecodedPage*& page = pages_[slot(at.frame, static_cast<CodeSize>(k))];
    if (page == nullptr) continue;
    page->invalidate(static_cast<unsigned>(physical & kPageMask), size);
    if (!page->written()) continue;
    page->drop();  // so that an engine that is inside looks again
    graveyard_.emplace_back(std::exchange(page, nullptr));
    released = true;
  }
  if (released) memory_.release_code(at.frame);
}

bool DecodeCache::has_code(u32 frame) const {
  for (unsigned k = 0; k < 3; k++)
    if (pages_[slot(frame, static_cast<CodeSize>(k))] != nullptr) return true;
  return false;
}

void DecodeCache::code_dropped() {
  for (const std::size_t at : made_) {
    if (pages_[at] == nullptr) continue;
    graveyard_.emplace_back(std::exchange(pages_[at], nullptr));
    memory_.release_code(static_cast<u32>(at / 3));
  }
  made_.clear();
}

}  // namespace callgate
