// The contents of RAM at one moment, page by page, sharing with other moments what did not change: a tree of which a
// changed copy makes only the nodes on the way. Knows frames' numbers and bytes, no machine.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/types.h"

namespace callgate {

/// The host memory that pages and nodes take, all trees of a machine together.
using PageAccount = std::shared_ptr<u64>;

/// A page's contents. Never changed once made.
struct PageCopy {
  PageCopy(const u8* from, u64* account_) : account(account_) {
    std::memcpy(bytes, from, kPageSize);
    *account += sizeof *this;
  }
  ~PageCopy() { *account -= sizeof *this; }
  PageCopy(const PageCopy&) = delete;
  PageCopy& operator=(const PageCopy&) = delete;

  u8 bytes[kPageSize];
  u64* account;
};
using PageRef = std::shared_ptr<const PageCopy>;  ///< nullptr: all zero

class PageTree {
 public:
  struct Change {
    u32 frame;
    PageRef page;
  };
  explicit PageTree(PageAccount account) : account_(std::move(account)) {}

  const PageCopy* page(u32 frame) const;
  /// This tree with changes, in order of frames.
  PageTree with(std::span<const Change> changes) const;
  /// The frames whose pages are not the same in both, in order. They may be equal all the same.
  static std::vector<u32> difference(const PageTree& a, const PageTree& b);

 private:
  static constexpr u32 kFan = 64;
  struct Leaf {
    std::array<PageRef, kFan> pages;
  };
  struct Branch {
    std::array<std::shared_ptr<const Leaf>, kFan> leaves;
  };
  PageAccount account_;
  std::vector<std::shared_ptr<const Branch>> branches_;
};

}  // namespace callgate
