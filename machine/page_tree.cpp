#include "machine/page_tree.h"

#include <algorithm>

namespace callgate {

namespace {
/// A node that counts itself.
template <class Node>
std::shared_ptr<Node> counted(const std::shared_ptr<const Node>& from, const PageAccount& account) {
  *account += sizeof(Node);
  return std::shared_ptr<Node>(from ? new Node(*from) : new Node(), [account](Node* node) {
    *account -= sizeof(Node);
    delete node;
  });
}
}  // namespace

const PageCopy* PageTree::page(u32 frame) const {
  const u32 branch = frame / (kFan * kFan);
  if (branch >= branches_.size() || !branches_[branch]) return nullptr;
  const auto& leaf = branches_[branch]->leaves[frame / kFan % kFan];
  return leaf ? leaf->pages[frame % kFan].get() : nullptr;
}

PageTree PageTree::with(std::span<const Change> changes) const {
  PageTree out = *this;
  for (std::size_t i = 0; i < changes.size();) {
    const u32 at = changes[i].frame / (kFan * kFan);
    if (at >= out.branches_.size()) out.branches_.resize(at + 1);
    auto branch = counted(out.branches_[at], account_);
    while (i < changes.size() && changes[i].frame / (kFan * kFan) == at) {
      const u32 leaf_at = changes[i].frame / kFan;
      auto leaf = counted(branch->leaves[leaf_at % kFan], account_);
      for (; i < changes.size() && changes[i].frame / kFan == leaf_at; i++) leaf->pages[changes[i].frame % kFan] = changes[i].page;
      branch->leaves[leaf_at % kFan] = std::move(leaf);
    }
    out.branches_[at] = std::move(branch);
  }
  return out;
}

std::vector<u32> PageTree::difference(const PageTree& a, const PageTree& b) {
  static const Branch kNoBranch{};
  static const Leaf kNoLeaf{};
  std::vector<u32> out;
  const auto at = [](const PageTree& t, std::size_t i) { return i < t.branches_.size() ? t.branches_[i].get() : nullptr; };
  for (std::size_t i = 0; i < std::max(a.branches_.size(), b.branches_.size()); i++) {
    if (at(a, i) == at(b, i)) continue;
    const Branch& x = at(a, i) ? *at(a, i) : kNoBranch;
    const Branch& y = at(b, i) ? *at(b, i) : kNoBranch;
    for (u32 k = 0; k < kFan; k++) {
      if (x.leaves[k] == y.leaves[k]) continue;
      const Leaf& p = x.leaves[k] ? *x.leaves[k] : kNoLeaf;
      const Leaf& q = y.leaves[k] ? *y.leaves[k] : kNoLeaf;
      for (u32 n = 0; n < kFan; n++)
        if (p.pages[n] != q.pages[n]) out.push_back(static_cast<u32>(i) * kFan * kFan + k * kFan + n);
    }
  }
  return out;
}

}  // namespace callgate
