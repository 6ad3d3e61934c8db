#include "machine/snapshot_pages.h"

#include <fmt/format.h>
#include <lz4.h>

#include <algorithm>
#include <cstring>

#include "base/bits.h"
#include "base/state_io.h"
#include "mmu/ram.h"

namespace callgate {

namespace {
constexpr u32 kEntryBytes = 16;
}  // namespace

Result<std::shared_ptr<SnapshotPages>> SnapshotPages::open(FrameFile file, u64 first, u64 first_sequence, u32 frames,
                                                           std::shared_ptr<SnapshotPages> base) {
  std::shared_ptr<SnapshotPages> out(new SnapshotPages(std::move(file), first_sequence, std::move(base)));
  FrameFile& f = out->file_;
  const auto last = f.size() >= first + kSnapshotEndBytes ? f.read(f.size() - kSnapshotEndBytes, FrameFile::kAnySequence)
                                                          : fail(ErrorKind::BadFile, "");
  if (!last || last->kind != static_cast<u32>(SnapshotRecord::End) || last->payload.size() != 40) {
    // It doesn't end as it should: what comes first that is wrong?
    u64 position = first;
    for (u64 sequence = first_sequence; position < f.size(); sequence++) {
      const auto frame = f.read(position, sequence);
      if (!frame) return tl::make_unexpected(frame.error());
      position = f.after(*frame);
    }
    return fail(ErrorKind::BadFile, fmt::format("{}: the snapshot is cut off at byte {}", f.name(), f.size()));
  }
  SnapshotEnd end;
  u64* const fields[] = {&end.pages, &end.slots, &end.tables_at, &end.tables_sequence, &end.tables_sum};
  for (std::size_t i = 0; i < std::size(fields); i++) *fields[i] = load_as<u64>(last->payload.data() + 8 * i);
  Frame end_frame = *last;
  end_frame.payload = {};
  if (auto read = out->read_tables(end, end_frame, first, frames); !read) return tl::make_unexpected(read.error());
  return out;
}

Result<> SnapshotPages::read_tables(const SnapshotEnd& end, const Frame& last, u64 first, u32 frames) {
  const auto wrong = [&](const Frame& frame, const char* why) { return tl::make_unexpected(file_.wrong(frame, why)); };
  const u64 pieces = end.slots / kPagesInPiece + (end.slots % kPagesInPiece != 0);
  if (end.pages > frames || end.slots > end.pages) return wrong(last, "an impossible number of pages");
  if (end.tables_at < first || end.tables_at > last.position || end.tables_sequence != first_sequence_ + pieces)
    return wrong(last, "its tables are elsewhere");
  u64 position = end.tables_at, sequence = end.tables_sequence, sum = 0, next_piece = first;
  while (position < last.position) {
    const auto frame = file_.read(position, sequence++);
    if (!frame) return tl::make_unexpected(frame.error());
    position = file_.after(*frame);
    const std::span<const u8> payload = frame->payload;
    sum = hash_bytes(payload, sum);
    if (frame->kind == static_cast<u32>(SnapshotRecord::Table)) {
      if (payload.size() % kEntryBytes != 0 || !pieces_.empty()) return wrong(*frame, "it is no whole table");
      for (std::size_t at = 0; at < payload.size(); at += kEntryBytes) {
        const SnapshotPage page{load_as<u32>(&payload[at]), load_as<u32>(&payload[at + 4]), load_as<u64>(&payload[at + 8])};
        const u64 least = pages_.empty() ? 0 : u64{pages_.back().frame} + 1;
        if (page.frame < least || page.frame >= frames) return wrong(*frame, "a page of it is out of range or order");
        if (page.hash == 0) return wrong(*frame, "a page of it is zero");
        if (page.slot == kSlotOfBase) {
          if (base_ == nullptr || base_->hash_of(page.frame) != page.hash) return wrong(*frame, "a page of it is not that of the base");
        } else if (page.slot == owners_.size()) {
          owners_.push_back(static_cast<u32>(pages_.size()));
        } else if (page.slot > owners_.size()) {
          return wrong(*frame, "a page of it has no contents");
        }
        pages_.push_back(page);
      }
    } else if (frame->kind == static_cast<u32>(SnapshotRecord::Sizes)) {
      if (payload.size() % 4 != 0 || pages_.size() != end.pages) return wrong(*frame, "it is no whole table");
      for (std::size_t at = 0; at < payload.size(); at += 4) {
        pieces_.push_back(next_piece);
        next_piece += load_as<u32>(&payload[at]);
      }
    } else {
      return wrong(*frame, "it is not what should follow");
    }
  }
  if (position != last.position || sequence != last.sequence) return wrong(last, "records are missing before it");
  if (pages_.size() != end.pages || owners_.size() != end.slots || pieces_.size() != pieces || next_piece != end.tables_at)
    return wrong(last, "pages are missing");
  if (sum != end.tables_sum) return wrong(last, "the tables are others");
  pieces_.push_back(next_piece);
  sum_ = sum;
  return {};
}

const SnapshotPage* SnapshotPages::find(u32 frame) const {
  const auto at = std::lower_bound(pages_.begin(), pages_.end(), frame, [](const SnapshotPage& p, u32 f) { return p.frame < f; });
  return at != pages_.end() && at->frame == frame ? &*at : nullptr;
}

u64 SnapshotPages::hash_of(u32 frame) const {
  const SnapshotPage* page = find(frame);
  return page != nullptr ? page->hash : 0;
}

Result<> SnapshotPages::unpack(u32 piece) {
  if (piece == unpacked_piece_) return {};
  unpacked_piece_ = ~u32{0};
  const auto frame = file_.read(pieces_[piece], first_sequence_ + u64{piece});
  if (!frame) return tl::make_unexpected(frame.error());
  if (frame->kind != static_cast<u32>(SnapshotRecord::Pages) || file_.after(*frame) != pieces_[piece + 1])
    return tl::make_unexpected(file_.wrong(*frame, "it is not what should follow"));
  const int size = static_cast<int>(std::min<u64>(owners_.size() - u64{piece} * kPagesInPiece, kPagesInPiece) * kPageSize);
  unpacked_.resize(kPagesInPiece * kPageSize);
  if (LZ4_decompress_safe(reinterpret_cast<const char*>(frame->payload.data()), reinterpret_cast<char*>(unpacked_.data()),
                          static_cast<int>(frame->payload.size()), size) != size)
    return tl::make_unexpected(file_.wrong(*frame, "it can't be unpacked"));
  unpacked_piece_ = piece;
  return {};
}

// Contents that are in the file, good until the next call.
Result<const u8*> SnapshotPages::contents_of(const SnapshotPage& page) {
  const u32 piece = page.slot / kPagesInPiece;
  if (auto done = unpack(piece); !done) return tl::make_unexpected(done.error());
  const u8* contents = unpacked_.data() + page.slot % kPagesInPiece * kPageSize;
  if (Ram::hash_of(page.frame, contents) != page.hash)
    return tl::make_unexpected(file_.wrong({.sequence = 2 + u64{piece}, .position = pieces_[piece]},
                                           fmt::format("the contents of frame {:#x} are others than its table says", page.frame)));
  return contents;
}

void SnapshotPages::damaged(const Error& error) {
  if (on_damage_) on_damage_(error.message);
}

void SnapshotPages::read(u32 frame, u8* to) {
  std::memset(to, 0, kPageSize);
  const SnapshotPage* page = find(frame);
  if (page == nullptr) return;
  if (page->slot == kSlotOfBase) return base_->read(frame, to);
  if (const auto contents = contents_of(*page)) std::memcpy(to, *contents, kPageSize);
  else damaged(contents.error());
}

// Its neighbours are wanted soon as a rule, and are unpacked already.
void SnapshotPages::bring(u32 frame, Ram& ram) {
  const SnapshotPage* page = find(frame);
  if (page != nullptr && page->slot != kSlotOfBase && unpack(page->slot / kPagesInPiece)) {
    const u32 first = page->slot / kPagesInPiece * kPagesInPiece;
    const u32 end = static_cast<u32>(std::min<std::size_t>(owners_.size(), first + kPagesInPiece));
    for (u32 slot = first; slot < end; slot++) {
      const SnapshotPage& owner = pages_[owners_[slot]];
      if (!ram.absent(owner.frame)) continue;
      if (const auto contents = contents_of(owner)) ram.put_absent(owner.frame, *contents);
    }
  }
  if (!ram.absent(frame)) return;
  u8 contents[kPageSize];
  read(frame, contents);
  ram.put_absent(frame, contents);
}

Result<> SnapshotPages::check() {
  for (const SnapshotPage& page : pages_) {
    if (page.slot == kSlotOfBase) continue;
    if (const auto contents = contents_of(page); !contents) return tl::make_unexpected(contents.error());
  }
  return {};
}

}  // namespace callgate
