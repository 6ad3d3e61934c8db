// The soft TLB must be invisible: random page tables, edits, accesses and modes, run side by side with and without it.
#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <random>

#include "base/state_io.h"
#include "mmu/soft_tlb.h"

using namespace callgate;

namespace {

constexpr u32 kFrames = 1024;        // 4 MiB: two large pages of 2 MiB
constexpr u32 kTableFrames = 12;     // where tables live, so that they share, loop and map themselves
constexpr u32 kRegisters = kFrames;  // frames of registers, behind the RAM
constexpr unsigned kProcessors = 2;

/// Checks that it hears of every write to a frame of code.
struct CodeWatcher final : CodeListener {
  bool has_code(u32) const override { return false; }
  explicit CodeWatcher(PhysicalMap& m) : memory(m) { memory.add_code_listener(this); }
  ~CodeWatcher() override { memory.remove_code_listener(this); }
  void code_written(u64 physical, u32 size) override {
    const u32 frame = static_cast<u32>(physical >> kPageShift);
    auto it = copies.find(frame);
    if (it == copies.end()) return;
    const u64 at = physical & kPageMask;
    REQUIRE(at + size <= kPageSize);
    std::memcpy(it->second.data() + at, memory.ram().frame(frame) + at, size);
  }
  void code_dropped() override {}
  void watch(u32 frame) {
    memory.mark_code(frame);
    const u8* p = memory.ram().frame(frame);
    copies[frame].assign(p, p + kPageSize);
  }
  void forget(u32 frame) {
    memory.release_code(frame);
    copies.erase(frame);
  }
  void check() const {
    for (const auto& [frame, copy] : copies)
      REQUIRE(std::memcmp(copy.data(), memory.ram().frame(frame), kPageSize) == 0);
  }
  PhysicalMap& memory;
  std::map<u32, std::vector<u8>> copies;
};

/// What is read tells where from, and stores go nowhere.
struct Registers final : BusTarget {
  u64 read(u64 offset, unsigned size) override { return (offset + 1) * 0xD1B54A32D192ED03 & low_mask(size * 8); }
  void write(u64, unsigned, u64) override {}
};

/// A machine of some processors without the processors.
struct World {
  explicit World(TlbCaching caching) : memory(Ram::create(kFrames * kPageSize).value(), u64{3} << 30) {
    memory.map_mmio(kFrames * kPageSize, kRegisters * kPageSize, &registers);
    for (auto& tlb : tlbs) tlb = std::make_unique<SoftTlb>(memory, caching);
  }
  SoftTlb& tlb(unsigned n) { return *tlbs[n]; }

  /// As a processor does it: the fast path, then the slow one.
  bool load(unsigned cpu, AccessContext context, u64 linear, u8* out, unsigned size, u64 wrap) {
    if (const u8* p = tlb(cpu).find_read(context, linear, size)) {
      std::memcpy(out, p, size);
      return true;
    }
    return tlb(cpu).read(context, linear, out, size, wrap);
  }
  bool store(unsigned cpu, AccessContext context, u64 linear, const u8* data, unsigned size, u64 wrap) {
    if (u8* p = tlb(cpu).find_write(context, linear, size)) {
      std::memcpy(p, data, size);
      return true;
    }
    const u64 in_page = kPageSize - (linear & kPageMask);
    if (size > in_page) return tlb(cpu).write(context, linear, data, size, wrap);
    const Translation t = tlb(cpu).fill(context, linear, AccessKind::Write);
    if (t.fault) return false;
    if (t.host != nullptr) {
      std::memcpy(t.host, data, size);
    } else {
      tlb(cpu).bus_write(t.physical, {data, size});
    }
    return true;
  }
  /// As REP MOVSQ does it: aligned words of one page, at once where that can be, or else until one faults. How many were stored.
  std::size_t store_row(unsigned cpu, AccessContext context, u64 linear, const std::vector<u64>& row) {
    const unsigned size = static_cast<unsigned>(row.size() * 8);
    if (tlb(cpu).find_write(context, linear, size) == nullptr && tlb(cpu).write_at_once(context, linear, row.data(), size)) {
      at_once++;
      return row.size();
    }
    std::size_t done = 0;
    while (done < row.size() && store(cpu, context, linear + done * 8, reinterpret_cast<const u8*>(&row[done]), 8, ~u64{0})) done++;
    return done;
  }
  u64 at_once = 0;  ///< rows that were stored so

  bool fetch(unsigned cpu, AccessContext context, u64 linear, u8* out) {
    if (const u8* p = tlb(cpu).find_exec(context, linear, 1)) {
      *out = *p;
      return true;
    }
    const Translation t = tlb(cpu).fill(context, linear, AccessKind::Execute);
    if (t.fault) return false;
    *out = t.host != nullptr ? *t.host : static_cast<u8>(tlb(cpu).bus_read(t.physical, 1));
    return true;
  }

  Registers registers;
  PhysicalMap memory;
  std::unique_ptr<SoftTlb> tlbs[kProcessors];
};

struct Random {
  explicit Random(u64 seed) : engine(seed), small_entries(seed % 4 == 0), mixing(seed % 5 == 0 ? 3 : 40) {}
  u64 operator()() { return engine(); }
  u64 below(u64 n) { return engine() % n; }
  bool one_in(u64 n) { return below(n) == 0; }
  /// Of page-table entries: mostly one kind in a run, or the kinds would destroy each other's tables.
  unsigned entry_size() { return one_in(mixing) != small_entries ? 4 : 8; }
  std::mt19937_64 engine;
  bool small_entries;
  u64 mixing;
};

/// Tables sit in rows of three frames, roots first, and mostly refer to the row after; the last row to anything.
u64 frame_in_row(Random& random, u64 row) {
  return random.one_in(10) ? random.below(kTableFrames) : row * 3 + random.below(3);
}

PagingMode random_mode(Random& random) {
  PagingMode m;
  m.paging = !random.one_in(12);
  if (random.entry_size() == 4) {
    m.pse = random.one_in(2);
  } else {
    m.pae = true;
    m.long_mode = !random.one_in(3);
  }
  m.nxe = !random.one_in(5);
  m.wp = random.one_in(2);
  m.smep = random.one_in(2);
  m.smap = random.one_in(2);
  m.root = frame_in_row(random, m.long_mode ? 0 : 2) << kPageShift;
  for (u64& e : m.pdpte) e = (frame_in_row(random, 2) << kPageShift) | (random.one_in(16) ? 0 : 1);
  return m;
}

u64 random_entry(Random& random, u64 address) {
  if (random.one_in(24)) return random.one_in(2) ? 0 : random();
  const u64 row = (address >> kPageShift) / 3 + 1;
  const u64 frame =
      row >= 4 && !random.one_in(6) ? random.below(random.one_in(2) ? kFrames : 24) + (random.one_in(6) ? kFrames : 0) : frame_in_row(random, row % 4);
  u64 entry = frame << kPageShift;
  entry |= random.below(32) << 3 | 7;
  if (!random.one_in(20)) entry &= ~u64{0x80};
  if (random.one_in(12)) entry &= ~random.below(8);                     // drop some of P, W, U
  if (row == 3 && random.one_in(6)) entry = (entry & 0x200FFF) | 0x80;  // a large page, aligned
  if (row == 4 && random.one_in(8)) entry |= u64{1} << 63;
  return entry;
}

u64 random_linear(Random& random, const PagingMode& mode) {
  static constexpr u64 kIndex[] = {0, 0, 0, 1, 2, 3, 510, 511};
  u64 linear = 0;
  const bool small_entries = mode.paging && !mode.pae;
  const unsigned index_bits = small_entries ? 10 : 9;
  for (unsigned level = 0; level < (small_entries ? 2 : 4); level++) {
    u64 index = kIndex[random.below(8)];
    if (small_entries && index >= 510) index += 512;
    linear |= index << (kPageShift + index_bits * level);
  }
  linear |= random.one_in(8) ? kPageSize - 1 - random.below(16) : random.below(kPageSize);
  if (!mode.paging) return linear & (kFrames * kPageSize - 1);
  return mode.long_mode ? sign_extend(linear, kLinearBits) : linear & low_mask(32);
}

/// Everything cached for the current mode must be what a walk would say now, with nothing left to set.
void check_cached(World& w, unsigned cpu) {
  SoftTlb& tlb = w.tlb(cpu);
  for (unsigned c = 0; c < kAccessContexts; c++) {
    const auto context = static_cast<AccessContext>(c);
    const TlbTable& t = *tlb.table(context);
    for (u64 slot = 0; slot < TlbTable::kSlots; slot++) {
      const std::pair<u64, AccessKind> tags[] = {{t.read_tag[slot], AccessKind::Read},
                                                 {t.write_tag[slot], AccessKind::Write},
                                                 {t.exec_tag[slot], AccessKind::Execute}};
      for (const auto& [tag, kind] : tags) {
        if (tag == TlbTable::empty_tag(slot)) continue;
        const Walk walk = probe(w.memory, tlb.mode(), tag);
        REQUIRE(walk.ok);
        REQUIRE(access_allowed(tlb.mode(), walk, context, kind));
        const PhysicalPage page = w.memory.page(walk.physical);
        REQUIRE(reinterpret_cast<u64>(page.host) == tag + t.addend[slot]);
        for (unsigned i = 0; i < walk.count; i++) REQUIRE((walk.step[i].entry & 0x20) != 0);
        if (kind != AccessKind::Write) continue;
        REQUIRE(walk.dirty);
        REQUIRE((w.memory.ram().flags(page.frame) & kFrameSlowWrite) == 0);
        REQUIRE((w.memory.ram().flags(page.frame) & kFrameWriteCached) != 0);
      }
    }
  }
}

bool same_fault(const WalkFault& a, const WalkFault& b) {
  return a.linear == b.linear && a.error_code == b.error_code && a.level == b.level && a.entry == b.entry &&
         a.reason == b.reason;
}

struct Outcome {
  u64 loads = 0, faults = 0, fast = 0, at_once = 0;
};

Outcome run(u64 seed, TlbCaching caching, unsigned steps) {
  INFO("seed ", seed);
  Random random(seed);
  World cached(caching), plain(TlbCaching::None);
  CodeWatcher watcher(cached.memory);
  Outcome outcome;

  std::vector<PagingMode> modes;
  for (unsigned i = 0; i < 1 + random.below(12); i++) modes.push_back(random_mode(random));
  // Some address spaces that differ in one flag only.
  for (unsigned i = 0; i < 3; i++) {
    PagingMode m = modes[random.below(modes.size())];
    m.wp = !m.wp;
    modes.push_back(m);
  }
  const auto both = [&](auto&& f) {
    f(cached);
    f(plain);
  };
  const auto edit = [&](u64 address, unsigned size, u64 value) {
    both([&](World& w) { w.memory.bus_write(address, size, value); });
  };
  // No two words of RAM are the same, so that a wrong page shows.
  std::vector<u8> pattern(kFrames * kPageSize - kTableFrames * kPageSize);
  for (std::size_t i = 0; i < pattern.size(); i += 8) store_as<u64>(&pattern[i], (i + 8) * 0x9E3779B97F4A7C15);
  both([&](World& w) { w.memory.write(kTableFrames * kPageSize, pattern); });
  for (u32 frame = 0; frame < kTableFrames; frame++) {
    for (const u64 index : {0, 1, 2, 3, 510, 511, 1022, 1023}) {
      const unsigned size = random.entry_size();
      const u64 address = (u64{frame} << kPageShift) + index * size;
      if (index * size < kPageSize) edit(address, size, random_entry(random, address));
    }
  }
  // Processes whose roots share their upper half, as kernels make them.
  const auto share_upper_half = [&] {
    const u64 from = random.below(3) << kPageShift, to = random.below(3) << kPageShift;
    for (const u64 index : {510, 511}) {
      const u64 entry = plain.memory.bus_read(from + index * 8, 8) | (random.one_in(4) ? 0 : 0x20);
      edit(from + index * 8, 8, entry);
      edit(to + index * 8, 8, entry);
    }
  };
  const bool kernels = random.one_in(2);
  for (unsigned i = 0; kernels && i < 4; i++) share_upper_half();
  // What was used lately is used again: that is when a stale entry would show.
  std::vector<u64> recent;
  for (unsigned step = 0; step < steps; step++) {
    const unsigned cpu = static_cast<unsigned>(random.below(kProcessors));
    const PagingMode mode = cached.tlb(cpu).mode();
    const u64 wrap = mode.long_mode ? ~u64{0} : low_mask(32);
    const u64 action = random.below(100);
    if (action < 70) {
      u64 linear = random_linear(random, mode);
      if (!recent.empty() && !random.one_in(3)) {
        linear = recent[random.below(recent.size())];
        if (random.one_in(4)) linear ^= random.below(kPageSize);
        if (!mode.paging) linear &= kFrames * kPageSize - 1;
        linear = mode.long_mode ? sign_extend(linear, kLinearBits) : linear & low_mask(32);
      }
      if (recent.size() < 24) recent.push_back(linear);
      recent[random.below(recent.size())] = linear;
      if (action >= 45 && random.one_in(6)) {
        linear &= ~u64{7};
        std::vector<u64> row(1 + random.below(random.one_in(4) ? 512 : 4));
        row.resize(std::min<u64>(row.size(), (kPageSize - (linear & kPageMask)) / 8));
        const u64 address = random.below(kTableFrames) << kPageShift;
        const bool zeros = random.one_in(3);
        for (u64& word : row) word = zeros ? 0 : random_entry(random, address);
        const auto context = static_cast<AccessContext>(random.below(3));
        const std::size_t done = cached.store_row(cpu, context, linear, row);
        REQUIRE(done == plain.store_row(cpu, context, linear, row));
        if (done < row.size()) REQUIRE(same_fault(cached.tlb(cpu).fault(), plain.tlb(cpu).fault()));
        continue;
      }
      const unsigned size = static_cast<unsigned>(1 + random.below(16));
      if (mode.long_mode && !is_canonical(linear + size - 1)) continue;
      const auto context = static_cast<AccessContext>(random.below(3));
      u8 a[16] = {}, b[16] = {};
      bool ok_a, ok_b;
      if (action < 35) {
        outcome.fast += cached.tlb(cpu).find_read(context, linear, size) != nullptr;
        ok_a = cached.load(cpu, context, linear, a, size, wrap);
        ok_b = plain.load(cpu, context, linear, b, size, wrap);
      } else if (action < 45) {
        ok_a = cached.fetch(cpu, context, linear, a);
        ok_b = plain.fetch(cpu, context, linear, b);
      } else {
        u8 data[16];
        for (u8& byte : data) byte = static_cast<u8>(random());
        if (random.one_in(4)) {  // a store that looks like an entry
          const u64 entry = random_entry(random, random.below(kTableFrames) << kPageShift);
          std::memcpy(data, &entry, 8);
          linear &= ~u64{7};
        }
        ok_a = cached.store(cpu, context, linear, data, size, wrap);
        ok_b = plain.store(cpu, context, linear, data, size, wrap);
      }
      REQUIRE(ok_a == ok_b);
      if (!ok_a) REQUIRE(same_fault(cached.tlb(cpu).fault(), plain.tlb(cpu).fault()));
      REQUIRE(std::memcmp(a, b, sizeof a) == 0);
      outcome.loads++;
      outcome.faults += !ok_a;
    } else if (action < 84) {
      const u64 frame = random.below(kTableFrames);
      static constexpr u64 kIndex[] = {0, 0, 1, 2, 3, 510, 511, 511, 1022, 1023};
      const unsigned size = random.entry_size();
      u64 address = (frame << kPageShift) + (kIndex[random.below(10)] * size & kPageMask);
      u64 value = random_entry(random, address);
      const u64 old = plain.memory.bus_read(address, 8);
      if (random.one_in(3))
        value = old ^ (u64{1} << (random.one_in(2) ? 5 + random.below(2) : random.below(16)));  // often A or D
      if (random.one_in(40)) address += random.below(8);                                        // over two entries
      edit(address, size, value);
    } else if (action < 88) {
      // DMA of a stretch, sometimes over table after table.
      const u64 address = random.below(kTableFrames + 8) * kPageSize + (random.below(kPageSize) & ~u64{7});
      std::vector<u8> data(1 + random.below(random.one_in(10) ? 6000 : 40));
      for (u8& byte : data) byte = static_cast<u8>(random());
      if (random.one_in(3)) std::fill(data.begin(), data.end(), u8{0});
      if (!random.one_in(8)) {
        for (std::size_t i = 0; i + 8 <= data.size(); i += 8) {
          const u64 entry = random_entry(random, address);
          std::memcpy(&data[i], &entry, 8);
        }
      }
      both([&](World& w) { w.memory.write(address, data); });
    } else if (action < 95) {
      const PagingMode& next = modes[random.below(modes.size())];
      both([&](World& w) { w.tlb(cpu).set_mode(next); });
    } else if (action == 95) {
      if (random.one_in(20)) {
        const bool on = !plain.memory.a20();
        both([&](World& w) { w.memory.set_a20(on); });
      } else if (random.one_in(4)) {
        cached.tlb(cpu).drop_all();
      }
    } else if (action == 96 && kernels && random.one_in(2)) {
      share_upper_half();
    } else if (action == 96) {
      REQUIRE(cached.memory.hash() == plain.memory.hash());
    } else if (action == 97) {
      watcher.watch(static_cast<u32>(random.below(random.one_in(2) ? kTableFrames : kFrames)));
    } else if (action == 98) {
      watcher.check();
      if (!watcher.copies.empty()) watcher.forget(watcher.copies.begin()->first);
    } else if (random.one_in(8)) {
      check_cached(cached, cpu);
    } else if (random.one_in(8)) {
      // Many plain writes to one table, as when it is freed and reused.
      const u64 frame = random.below(kTableFrames);
      for (u64 i = 0; i < 200; i++)
        edit((frame << kPageShift) + i * 8, 8, random.one_in(8) ? 0 : random_entry(random, frame << kPageShift));
    }
  }
  for (unsigned cpu = 0; cpu < kProcessors; cpu++) check_cached(cached, cpu);
  watcher.check();
  REQUIRE(cached.memory.hash() == plain.memory.hash());
  REQUIRE(std::memcmp(cached.memory.ram().data(), plain.memory.ram().data(), kFrames * kPageSize) == 0);
  outcome.at_once = cached.at_once;
  return outcome;
}

}  // namespace

TEST_CASE("no guest can tell a soft TLB from a walk at every access") {
  Outcome all;
  for (u64 seed = 1; seed <= 200; seed++) {
    const Outcome o = run(seed, TlbCaching::Full, 2500);
    all.loads += o.loads;
    all.faults += o.faults;
    all.fast += o.fast;
    all.at_once += o.at_once;
  }
  MESSAGE("accesses ", all.loads, ", faults ", all.faults, ", loads that hit ", all.fast, ", rows stored at once ", all.at_once);
  // The test is only worth something while a good part of the accesses succeed and hit.
  CHECK(all.faults < all.loads * 7 / 10);
  CHECK(all.fast > all.loads / 20);
  CHECK(all.at_once > 2000);
}

TEST_CASE("a soft TLB of one page gives the same results") {
  for (u64 seed = 1000; seed < 1030; seed++) run(seed, TlbCaching::OnePage, 3000);
}
