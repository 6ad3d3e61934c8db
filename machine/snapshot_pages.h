// The contents of RAM in a snapshot's file: which frames there are, and their pages, unpacked when somebody wants them. The
// file stays open. All bytes are hostile: what is wrong with the tables is told at once, what is wrong with a piece of pages
// when it is wanted, and then pages are zero.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "machine/frames.h"
#include "machine/machine.h"
#include "mmu/page_source.h"

namespace callgate {

/// Pages that are packed together: what a first touch of one of them costs.
constexpr u32 kPagesInPiece = 16;

/// A frame of RAM that is not zero.
struct SnapshotPage {
  u32 frame;
  u32 slot;  ///< the number of its contents in the file, which several may share; kSlotOfBase: as in the base
  u64 hash;  ///< Ram::hash_of
};
constexpr u32 kSlotOfBase = ~u32{0};

/// Records of a snapshot's file.
/// Guest: places that the guest itself can go back to (machine/guest_snapshots.h); behind Devices, when there are any.
enum class SnapshotRecord : u32 { Header, Devices, Pages, Table, Sizes, End, Guest };

/// The last record.
struct SnapshotEnd {
  u64 pages = 0, slots = 0;
  u64 tables_at = 0;  ///< position of the first record behind the pages
  u64 tables_sequence = 0;
  u64 tables_sum = 0;  ///< of all tables: the identity of a snapshot's RAM
};
constexpr u64 kSnapshotEndBytes = kFrameHeader + 5 * 8 + kFrameTrailer;

class SnapshotPages final : public PageSource {
 public:
  /// `first` and `sequence`: position and number of the first record of pages. `base`: of the snapshot that this one was made from, or nullptr.
  static Result<std::shared_ptr<SnapshotPages>> open(FrameFile file, u64 first, u64 sequence, u32 frames,
                                                     std::shared_ptr<SnapshotPages> base);

  const std::vector<SnapshotPage>& pages() const { return pages_; }
  /// Different contents in the file.
  u64 slots() const { return owners_.size(); }
  u64 tables_sum() const { return sum_; }
  /// The hash of a frame's contents; 0 when they are zero.
  u64 hash_of(u32 frame) const;
  /// Unpacks everything.
  Result<> check();
  /// Hears of damage that is found later.
  void on_damage(std::function<void(const std::string&)> callback) { on_damage_ = std::move(callback); }

  void bring(u32 frame, Ram& ram) override;
  bool has(u32 frame) const override { return find(frame) != nullptr; }
  void read(u32 frame, u8* to) override;

 private:
  SnapshotPages(FrameFile file, u64 sequence, std::shared_ptr<SnapshotPages> base)
      : file_(std::move(file)), first_sequence_(sequence), base_(std::move(base)) {}
  Result<> read_tables(const SnapshotEnd& end, const Frame& last, u64 first, u32 frames);
  const SnapshotPage* find(u32 frame) const;
  Result<> unpack(u32 piece);
  Result<const u8*> contents_of(const SnapshotPage& page);
  void damaged(const Error& error);

  FrameFile file_;
  const u64 first_sequence_;  ///< of the records of pages
  std::shared_ptr<SnapshotPages> base_;
  std::vector<SnapshotPage> pages_;   ///< by frame
  std::vector<u32> owners_;           ///< of each slot: the index of the first page that has it
  std::vector<u64> pieces_;           ///< positions of the records, and of what is behind them
  u64 sum_ = 0;
  std::function<void(const std::string&)> on_damage_;
  std::vector<u8> unpacked_;
  u32 unpacked_piece_ = ~u32{0};
};

}  // namespace callgate
