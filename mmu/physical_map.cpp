#include "mmu/physical_map.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "mmu/page_walk.h"

namespace callgate {

namespace {
constexpr u64 kHighRam = u64{4} << 30;
constexpr u64 kA20 = u64{1} << 20;

u64 page_up(u64 size) { return (size + kPageMask) & ~kPageMask; }
}  // namespace

struct PhysicalMap::Region {
  Kind kind = Kind::Nothing;
  RegionLayer layer = RegionLayer::Fixed;
  u64 base = 0;
  u64 size = 0;
  BusTarget* target = nullptr;
  std::vector<u8> rom;
};

PhysicalMap::PhysicalMap(std::unique_ptr<Ram> ram, u64 low_limit)
    : ram_(std::move(ram)), low_size_(std::min(ram_->size(), low_limit)), tracker_(*this, *ram_) {
  VERIFY(low_limit <= kHighRam && low_limit % kPageSize == 0, "the PCI hole starts at a page below 4 GiB");
  rebuild();
}

PhysicalMap::~PhysicalMap() = default;

// ---- layout ----

RegionId PhysicalMap::map_mmio(u64 base, u64 size, BusTarget* target, RegionLayer layer) {
  VERIFY(size != 0, "an empty region");
  auto region = std::make_unique<Region>();
  *region = Region{target != nullptr ? Kind::Mmio : Kind::Nothing, layer, base, size, target, {}};
  regions_.push_back(std::move(region));
  layout_changed();
  return static_cast<RegionId>(regions_.size() - 1);
}

RegionId PhysicalMap::map_rom(u64 base, std::span<const u8> contents) {
  VERIFY(base % kPageSize == 0 && !contents.empty(), "ROM is made of whole pages");
  auto region = std::make_unique<Region>();
  *region = Region{
      Kind::Rom, RegionLayer::Fixed, base, page_up(contents.size()), nullptr, {contents.begin(), contents.end()}};
  region->rom.resize(region->size, 0xFF);
  regions_.push_back(std::move(region));
  layout_changed();
  return static_cast<RegionId>(regions_.size() - 1);
}

void PhysicalMap::unmap(RegionId id) {
  VERIFY(id < regions_.size() && regions_[id] != nullptr, "a region that is not mapped");
  regions_[id].reset();
  layout_changed();
}

void PhysicalMap::move(RegionId id, u64 base) {
  VERIFY(id < regions_.size() && regions_[id] != nullptr, "a region that is not mapped");
  if (regions_[id]->base == base) return;
  VERIFY(regions_[id]->kind != Kind::Rom || base % kPageSize == 0, "ROM is made of whole pages");
  regions_[id]->base = base;
  layout_changed();
}

void PhysicalMap::set_a20(bool on) {
  const u64 mask = on ? ~u64{0} : ~kA20;
  if (mask == a20_mask_) return;
  a20_mask_ = mask;
  tracker_.drop_all();
}

void PhysicalMap::layout_changed() {
  rebuild();
  tracker_.drop_all();
  for (CodeListener* listener : listeners_) listener->code_dropped();
}

void PhysicalMap::rebuild() {
  // What may win at an address, the strongest first.
  std::vector<Piece> wanted;
  const auto add_regions = [&](RegionLayer layer) {
    std::vector<const Region*> order;
    for (const auto& r : regions_) {
      if (r != nullptr && r->layer == layer && r->base < kPhysicalEnd) order.push_back(r.get());
    }
    std::stable_sort(order.begin(), order.end(), [](const Region* a, const Region* b) {
      return a->base != b->base ? a->base < b->base : a->size < b->size;
    });
    for (const Region* r : order) {
      const u64 end = r->base + std::min(r->size, kPhysicalEnd - r->base);
      wanted.push_back(
          {r->base, end, r->kind, 0, r->kind == Kind::Rom ? const_cast<u8*>(r->rom.data()) : nullptr, r->target});
    }
  };
  add_regions(RegionLayer::Fixed);
  wanted.push_back({0, low_size_, Kind::Ram, 0, nullptr, nullptr});
  if (ram_->size() > low_size_) {
    const u64 rest = ram_->size() - low_size_;
    wanted.push_back({kHighRam, kHighRam + rest, Kind::Ram, low_size_, nullptr, nullptr});
  }
  add_regions(RegionLayer::Window);

  // Cut the address space at every edge; each stretch between two edges has one winner.
  std::vector<u64> edges{0, kPhysicalEnd};
  for (const Piece& p : wanted) edges.insert(edges.end(), {p.base, p.end});
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  pieces_.clear();
  for (std::size_t i = 0; i + 1 < edges.size(); i++) {
    Piece piece{edges[i], edges[i + 1], Kind::Nothing, 0, nullptr, nullptr};
    for (const Piece& p : wanted) {
      if (edges[i] < p.base || edges[i] >= p.end) continue;
      const u64 skip = edges[i] - p.base;
      piece = {edges[i], edges[i + 1], p.kind, p.offset + skip, p.rom != nullptr ? p.rom + skip : nullptr, p.target};
      break;
    }
    if (!pieces_.empty()) {
      Piece& last = pieces_.back();
      const u64 length = last.end - last.base;
      if (last.kind == piece.kind && last.target == piece.target &&
          (piece.kind == Kind::Nothing || last.offset + length == piece.offset) &&
          (piece.kind != Kind::Rom || last.rom + length == piece.rom)) {
        last.end = piece.end;
        continue;
      }
    }
    pieces_.push_back(piece);
  }

  // The largest stretches of whole RAM pages below and above 4 GiB.
  for (Direct& d : direct_) d = Direct{};
  for (const Piece& p : pieces_) {
    if (p.kind != Kind::Ram) continue;
    const u64 base = page_up(p.base);
    const u64 end = p.end & ~kPageMask;
    Direct& d = direct_[p.base >= kHighRam];
    if (base < end && end - base > d.size) d = {base, end - base, p.offset + (base - p.base)};
  }
}

PhysicalMap::Piece PhysicalMap::find(u64 physical) const {
  const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), physical,
                                      [](u64 address, const Piece& p) { return address < p.base; });
  return *(after - 1);
}

PhysicalPage PhysicalMap::page_slow(u64 physical) const {
  const u64 base = physical & ~kPageMask;
  if (base >= kPhysicalEnd) return {};
  const Piece p = find(base);
  if (p.end - base < kPageSize) return {};  // several things share the page
  if (p.kind == Kind::Rom) return {p.rom + (base - p.base), kNoFrame};
  if (p.kind != Kind::Ram) return {};
  const u64 offset = p.offset + (base - p.base);
  const u32 frame = static_cast<u32>(offset >> kPageShift);
  return {ram_->frame(frame), frame};
}

u64 PhysicalMap::physical_of(u32 frame) const {
  const u64 offset = u64{frame} << kPageShift;
  return offset < low_size_ ? offset : kHighRam + (offset - low_size_);
}

// ---- writes to RAM ----

void PhysicalMap::write_frame(u32 frame, u32 offset, const void* data, u32 size) {
  const u8 flags = ram_->flags(frame);
  if (!(flags & kFrameSlowWrite)) {
    std::memcpy(ram_->frame(frame) + offset, data, size);
    return;
  }
  ram_->mark_dirty(frame);
  if (flags & kFrameTable) {
    tracker_.write_table(frame, offset, static_cast<const u8*>(data), size);
  } else {
    std::memcpy(ram_->frame(frame) + offset, data, size);
  }
  if (flags & kFrameCode) {
    const u64 physical = physical_of(frame) + offset;
    for (CodeListener* listener : listeners_) listener->code_written(physical, size);
  }
}

u8* PhysicalMap::table_for_writing(u32 frame, u32 offset, u32 size) {
  const u8 flags = ram_->flags(frame);
  if (!(flags & kFrameTable) || (flags & kFrameCode)) return nullptr;
  ram_->mark_dirty(frame);
  tracker_.forget_entries(frame, offset, size);
  return ram_->frame(frame) + offset;
}

void PhysicalMap::set_entry_bits(u64 physical, u64 entry, unsigned entry_bytes) {
  const PhysicalPage p = page(physical);
  if (p.frame != kNoFrame) write_frame(p.frame, static_cast<u32>(physical & kPageMask), &entry, entry_bytes);
}

u8* PhysicalMap::page_for_writing(u64 physical) {
  const PhysicalPage p = page(physical);
  if (p.frame == kNoFrame || (ram_->flags(p.frame) & (kFrameCode | kFrameTable))) return nullptr;
  ram_->mark_dirty(p.frame);
  return p.host;
}

void PhysicalMap::release_code(u32 frame) {
  for (const CodeListener* listener : listeners_)
    if (listener->has_code(frame)) return;
  ram_->clear_flags(frame, kFrameCode);
}

void PhysicalMap::remove_code_listener(CodeListener* listener) { std::erase(listeners_, listener); }

void PhysicalMap::mark_code(u32 frame) {
  if (ram_->flags(frame) & kFrameCode) return;
  ram_->set_flags(frame, kFrameCode);
  tracker_.drop_write(frame);
}

// ---- state ----

u64 PhysicalMap::hash() {
  if (!ram_->dirty().empty()) tracker_.drop_all_writes();
  return ram_->hash_and_clean();
}

void PhysicalMap::sync(StateIo& io) {
  io.section("memory");
  u64 size = ram_->size();
  bool a20_on = a20();
  io.field(size);
  io.field(a20_on);
  if (!io.loading()) {
    if (dynamic_cast<StateHasher*>(&io) != nullptr) {
      u64 contents = hash();
      io.field(contents);
      return;
    }
    for (u32 frame = 0; frame < ram_->frames(); frame++) {
      if (ram_->is_zero(frame)) continue;
      io.field(frame);
      io.bytes(ram_->frame(frame), kPageSize);
    }
    u32 end = kNoFrame;
    io.field(end);
    return;
  }
  if (size != ram_->size()) {
    io.damaged("the saved memory has another size");
    return;
  }
  ram_->clear();
  u32 least = 0;
  for (;;) {
    u32 frame = 0;
    io.field(frame);
    if (frame == kNoFrame) break;
    if (frame < least || frame >= ram_->frames()) {  // a state that ends early reads as zeros and ends up here too
      io.damaged("a frame of the saved memory is out of range or order");
      break;
    }
    least = frame + 1;
    ram_->mark_dirty(frame);
    io.bytes(ram_->frame(frame), kPageSize);
  }
  set_a20(a20_on);
  tracker_.drop_all();
  for (CodeListener* listener : listeners_) listener->code_dropped();
}

}  // namespace callgate
