// The walk against the manual's tables, transcribed here (SDM 3A, chapter 4 "Paging").
#include "mmu/page_walk.h"

#include <doctest/doctest.h>

#include <string>

#include "mmu/physical_map.h"

using namespace callgate;

namespace {

constexpr u64 kP = 1, kW = 2, kU = 4, kA = 0x20, kD = 0x40, kPS = 0x80, kNX = u64{1} << 63;
constexpr u64 kAll = kP | kW | kU;

/// Tables at fixed places: the level 4 table at 0x4000 down to level 1 at 0x1000; each maps its next by entry 0 ... 3.
struct Fixture {
  Fixture() : memory(Ram::create(16 << 20).value(), u64{3} << 30) {}

  static PagingMode mode4() {
    PagingMode m;
    m.paging = m.pae = m.long_mode = m.nxe = m.wp = true;
    m.root = 0x4000;
    return m;
  }
  static PagingMode mode_pae() {
    PagingMode m = mode4();
    m.long_mode = false;
    m.root = 0;
    m.pdpte[1] = 0x2000 | kP;
    return m;
  }
  static PagingMode mode32() {
    PagingMode m;
    m.paging = m.pse = m.wp = true;
    m.root = 0x2000;
    return m;
  }

  /// Index 1 at each level leads on; the leaf of `leaf_level` holds `leaf`.
  void put8(unsigned level, u64 value) { memory.bus_write(u64{level} * 0x1000 + 8, 8, value); }
  void put4(unsigned level, u32 value) { memory.bus_write(u64{level} * 0x1000 + 4, 4, value); }
  u64 get8(unsigned level) { return memory.bus_read(u64{level} * 0x1000 + 8, 8); }
  u64 get4(unsigned level) { return memory.bus_read(u64{level} * 0x1000 + 4, 4); }
  void chain4(u64 flags = kAll) {
    put8(4, 0x3000 | flags);
    put8(3, 0x2000 | flags);
    put8(2, 0x1000 | flags);
    put8(1, 0x5000 | flags);
  }
  Walk user_read(const PagingMode& m, u64 linear) {
    return walk(memory, m, linear, AccessContext::User, AccessKind::Read);
  }

  PhysicalMap memory;
};

constexpr u64 kLinear4 = (u64{1} << 39) | (u64{1} << 30) | (u64{1} << 21) | (u64{1} << 12) | 0x123;
constexpr u64 kLinearPae = (u64{1} << 30) | (u64{1} << 21) | (u64{1} << 12) | 0x123;
constexpr u64 kLinear32 = (u64{1} << 22) | (u64{1} << 12) | 0x123;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "without paging, linear is physical, and A20 masks bit 20") {
  Walk w = user_read(PagingMode{}, 0x123456);
  CHECK(w.ok);
  CHECK(w.physical == 0x123456);
  memory.set_a20(false);
  w = user_read(PagingMode{}, 0x123456);
  CHECK(w.physical == 0x023456);
}

TEST_CASE_FIXTURE(Fixture, "4-level paging maps 4 KiB, 2 MiB and 1 GiB pages") {
  chain4();
  Walk w = user_read(mode4(), kLinear4);
  CHECK(w.ok);
  CHECK(w.physical == 0x5123);
  CHECK(w.page_shift == 12);
  CHECK(w.count == 4);
  put8(2, 0x40'0000 | kAll | kPS);
  w = user_read(mode4(), kLinear4);
  CHECK(w.physical == 0x40'1123);
  CHECK(w.page_shift == 21);
  put8(2, 0x40'1000 | kAll | kPS);  // bit 12 is PAT, not an address bit
  CHECK(user_read(mode4(), kLinear4).physical == 0x40'1123);
  put8(3, 0xC0'4000'0000 | kAll | kPS);
  w = user_read(mode4(), kLinear4);
  CHECK(w.physical == 0xC0'4020'1123);
  CHECK(w.page_shift == 30);
}

TEST_CASE_FIXTURE(Fixture, "the upper half of the linear space uses the upper half of the root") {
  memory.bus_write(0x4000 + 511 * 8, 8, 0x3000 | kAll);
  memory.bus_write(0x3000 + 510 * 8, 8, 0x2000 | kAll);
  memory.bus_write(0x2000, 8, 0x60'0000 | kAll | kPS);
  CHECK(user_read(mode4(), 0xFFFF'FFFF'8000'1234).physical == 0x60'1234);
}

TEST_CASE_FIXTURE(Fixture, "PAE takes the loaded PDPTEs and maps 4 KiB and 2 MiB pages") {
  put8(2, 0x1000 | kAll);
  put8(1, 0x7F'0000'5000 | kAll);
  Walk w = user_read(mode_pae(), kLinearPae);
  CHECK(w.ok);
  CHECK(w.physical == 0x7F'0000'5123);
  CHECK(w.count == 2);
  put8(2, 0x80'0000 | kAll | kPS);
  CHECK(user_read(mode_pae(), kLinearPae).physical == 0x80'1123);
  w = user_read(mode_pae(), 0x8000'0000);
  CHECK_FALSE(w.ok);
  CHECK(w.fault.error_code == kPageFaultUser);
  CHECK(w.fault.level == 3);
}

TEST_CASE_FIXTURE(Fixture, "32-bit paging maps 4 KiB and 4 MiB pages, these up to 40 bits of address") {
  put4(2, 0x1000 | kAll);
  put4(1, 0xFFFF'F000 | kAll);
  CHECK(user_read(mode32(), kLinear32).physical == 0xFFFF'F123);
  // PSE-36: bits 20:13 of the entry are address bits 39:32.
  put4(2, 0x0040'0000 | (0xA5 << 13) | kAll | kPS);
  Walk w = user_read(mode32(), kLinear32);
  CHECK(w.physical == 0xA5'0040'1123);
  CHECK(w.page_shift == 22);
  // Without CR4.PSE the bit means nothing.
  PagingMode m = mode32();
  m.pse = false;
  put4(2, 0x1000 | kAll | kPS);
  CHECK(user_read(m, kLinear32).physical == 0xFFFF'F123);
}

TEST_CASE_FIXTURE(Fixture, "each level that is not present faults with P clear and says so") {
  for (unsigned level = 1; level <= 4; level++) {
    chain4();
    put8(level, ~kP & ~u64{0});
    const Walk w = user_read(mode4(), kLinear4);
    CHECK_FALSE(w.ok);
    CHECK(w.fault.error_code == kPageFaultUser);
    CHECK(w.fault.level == level);
    CHECK(w.fault.linear == kLinear4);
  }
  chain4();
  put8(1, 0x1234000);
  CHECK(describe(user_read(mode4(), kLinear4).fault) == "the page is not present (level 1 entry 0x1234000)");
}

// "Format of ..." tables for MAXPHYADDR = 40, the bits that must be 0 in a present entry.
TEST_CASE_FIXTURE(Fixture, "reserved bits fault with RSVD, level by level and bit by bit") {
  constexpr u64 kAbove40 = 0x000F'FF00'0000'0000;     // 51:40
  constexpr u64 kAbove40Pae = 0x7FFF'FF00'0000'0000;  // 62:40
  struct Row {
    PagingMode mode;
    u64 linear;
    unsigned level;
    u64 entry;
    u64 reserved;
  };
  const Row rows[] = {
      {mode4(), kLinear4, 4, 0x3000 | kAll, kAbove40 | kPS},
      {mode4(), kLinear4, 3, 0x2000 | kAll, kAbove40},
      {mode4(), kLinear4, 3, kAll | kPS, kAbove40 | 0x3FFF'E000},  // 29:13
      {mode4(), kLinear4, 2, 0x1000 | kAll, kAbove40},
      {mode4(), kLinear4, 2, kAll | kPS, kAbove40 | 0x1F'E000},  // 20:13
      {mode4(), kLinear4, 1, 0x5000 | kAll, kAbove40},
      {mode_pae(), kLinearPae, 2, 0x1000 | kAll, kAbove40Pae},
      {mode_pae(), kLinearPae, 2, kAll | kPS, kAbove40Pae | 0x1F'E000},
      {mode_pae(), kLinearPae, 1, 0x5000 | kAll, kAbove40Pae},
  };
  for (const Row& row : rows) {
    for (const bool nxe : {true, false}) {
      for (unsigned b = 3; b < 64; b++) {
        // PS changes the format: it has rows of its own.
        if (b == 7 && (row.level == 2 || row.level == 3)) continue;
        CAPTURE(row.level);
        CAPTURE(b);
        CAPTURE(nxe);
        chain4();
        PagingMode m = row.mode;
        m.nxe = nxe;
        put8(row.level, row.entry | u64{1} << b);
        const Walk w = user_read(m, row.linear);
        const u64 reserved = row.reserved | (nxe ? 0 : kNX);
        const bool at_row = !w.ok && w.fault.level == row.level;
        if (reserved >> b & 1) {
          CHECK(at_row);
          CHECK(w.fault.error_code == (kPageFaultPresent | kPageFaultReserved | kPageFaultUser));
        } else {
          CHECK_FALSE(at_row);
        }
      }
    }
  }
  // 32-bit: only bit 21 of a 4 MiB page's entry.
  for (unsigned b = 3; b < 32; b++) {
    if (b == 7) continue;
    put4(2, static_cast<u32>(kAll | kPS | u64{1} << b));
    CHECK(user_read(mode32(), kLinear32).ok == (b != 21));
    put4(2, 0x1000 | kAll);
    put4(1, static_cast<u32>(kAll | u64{1} << b));
    CHECK(user_read(mode32(), kLinear32).ok);
  }
}

TEST_CASE("a PDPTE may be loaded with its reserved bits clear") {
  CHECK(pdpte_is_valid(0));
  CHECK(pdpte_is_valid(~kP));
  CHECK(pdpte_is_valid(0xFF'FFFF'F000 | kP | 0x18 | 0xE00));  // PWT, PCD and the ignored bits
  for (const unsigned b : {1u, 2u, 5u, 6u, 7u, 8u, 40u, 51u, 62u, 63u}) CHECK_FALSE(pdpte_is_valid(kP | u64{1} << b));
}

namespace {
/// "Determination of Access Rights", paragraph by paragraph.
bool manual_allows(bool user_page, bool writable, bool xd, const PagingMode& m, AccessContext c, AccessKind k) {
  const bool user_mode = c == AccessContext::User;
  const bool explicit_with_ac = c == AccessContext::SupervisorAc;
  if (!user_mode) {
    switch (k) {
      case AccessKind::Read:
        return !user_page || !m.smap || explicit_with_ac;
      case AccessKind::Write:
        if (!user_page) return !m.wp || writable;
        if (!m.wp) return !m.smap || explicit_with_ac;
        return writable && (!m.smap || explicit_with_ac);
      case AccessKind::Execute:
        if (!user_page) return !(m.nxe && xd);
        return !m.smep && !(m.nxe && xd);
    }
  }
  switch (k) {
    case AccessKind::Read:
      return user_page;
    case AccessKind::Write:
      return user_page && writable;
    case AccessKind::Execute:
      return user_page && !(m.nxe && xd);
  }
  return false;
}
}  // namespace

TEST_CASE_FIXTURE(Fixture, "rights and error codes are the manual's in every combination, whichever level restricts") {
  for (unsigned n = 0; n < 1u << 7; n++) {
    const bool user_page = n & 1, writable = n & 2, xd = n & 4;
    PagingMode m = mode4();
    m.wp = n & 8;
    m.smep = n & 16;
    m.smap = n & 32;
    m.nxe = xd || (n & 64);  // XD is reserved without NXE
    for (unsigned level = 1; level <= 4; level++) {
      for (unsigned c = 0; c < kAccessContexts; c++) {
        for (unsigned k = 0; k < 3; k++) {
          const auto context = static_cast<AccessContext>(c);
          const auto kind = static_cast<AccessKind>(k);
          chain4();
          u64 entry = get8(level);
          if (!user_page) entry &= ~kU;
          if (!writable) entry &= ~kW;
          if (xd) entry |= kNX;
          put8(level, entry);
          const Walk w = walk(memory, m, kLinear4, context, kind);
          CAPTURE(n);
          CAPTURE(level);
          CAPTURE(c);
          CAPTURE(k);
          REQUIRE(w.ok == manual_allows(user_page, writable, xd, m, context, kind));
          if (w.ok) continue;
          u32 code = kPageFaultPresent;
          if (kind == AccessKind::Write) code |= kPageFaultWrite;
          if (context == AccessContext::User) code |= kPageFaultUser;
          if (kind == AccessKind::Execute && (m.smep || m.nxe)) code |= kPageFaultFetch;
          REQUIRE(w.fault.error_code == code);
          REQUIRE(w.fault.reason != nullptr);
        }
      }
    }
  }
}

TEST_CASE_FIXTURE(Fixture, "the fetch bit is only set where fetches can be forbidden") {
  PagingMode m = mode32();
  m.nxe = true;  // means nothing in 32-bit paging
  Walk w = walk(memory, m, kLinear32, AccessContext::User, AccessKind::Execute);
  CHECK(w.fault.error_code == kPageFaultUser);
  m.smep = true;
  w = walk(memory, m, kLinear32, AccessContext::User, AccessKind::Execute);
  CHECK(w.fault.error_code == (kPageFaultUser | kPageFaultFetch));
}

TEST_CASE_FIXTURE(Fixture,
                  "accessed bits are set at all levels, dirty at the leaf of a write, none by a fault or a probe") {
  chain4();
  CHECK(probe(memory, mode4(), kLinear4).ok);
  CHECK(get8(1) == (0x5000 | kAll));
  put8(1, 0x5000 | kP | kW);
  CHECK_FALSE(walk(memory, mode4(), kLinear4, AccessContext::User, AccessKind::Write).ok);
  CHECK(get8(4) == (0x3000 | kAll));
  put8(1, 0x5000 | kAll);
  CHECK_FALSE(user_read(mode4(), kLinear4).dirty);
  CHECK(get8(4) == (0x3000 | kAll | kA));
  CHECK(get8(3) == (0x2000 | kAll | kA));
  CHECK(get8(2) == (0x1000 | kAll | kA));
  CHECK(get8(1) == (0x5000 | kAll | kA));
  CHECK(walk(memory, mode4(), kLinear4, AccessContext::User, AccessKind::Write).dirty);
  CHECK(get8(2) == (0x1000 | kAll | kA));
  CHECK(get8(1) == (0x5000 | kAll | kA | kD));
}

TEST_CASE_FIXTURE(Fixture, "a 32-bit walk writes four bytes, not its neighbour's") {
  put4(2, 0x1000 | kAll);
  memory.bus_write(0x1000, 4, 0xAAAAAAAA);
  memory.bus_write(0x1008, 4, 0xBBBBBBBB);
  put4(1, 0x5000 | kAll);
  walk(memory, mode32(), kLinear32, AccessContext::User, AccessKind::Write);
  CHECK(get4(1) == (0x5000 | kAll | kA | kD));
  CHECK(get4(2) == (0x1000 | kAll | kA));
  CHECK(memory.bus_read(0x1000, 4) == 0xAAAAAAAA);
  CHECK(memory.bus_read(0x1008, 4) == 0xBBBBBBBB);
}

TEST_CASE_FIXTURE(Fixture, "a root that maps itself gets A and D in one entry") {
  memory.bus_write(0x4000 + 8 * 8, 8, 0x4000 | kAll);
  const u64 linear = (u64{8} << 39) | (u64{8} << 30) | (u64{8} << 21) | (u64{8} << 12);
  const Walk w = walk(memory, mode4(), linear, AccessContext::User, AccessKind::Write);
  CHECK(w.ok);
  CHECK(w.physical == 0x4000);
  CHECK(memory.bus_read(0x4000 + 8 * 8, 8) == (0x4000 | kAll | kA | kD));
}

TEST_CASE_FIXTURE(Fixture, "tables outside of memory read as ones and fault") {
  PagingMode m = mode4();
  m.root = 0xFE00'0000;
  const Walk w = user_read(m, kLinear4);
  CHECK_FALSE(w.ok);
  CHECK(w.fault.error_code == (kPageFaultUser | kPageFaultPresent | kPageFaultReserved));
}

TEST_CASE("modes that translate alike compare equal") {
  PagingMode a, b;
  a.root = 5;
  a.wp = true;
  CHECK(normalized(a) == normalized(b));
  a.paging = b.paging = a.wp = b.wp = true;
  a.root = 0x1018;
  b.root = 0x1000;
  b.nxe = true;
  CHECK(normalized(a) == normalized(b));
  a.long_mode = b.long_mode = a.pae = true;
  a.nxe = true;
  a.pse = true;
  a.pdpte[2] = 7;
  CHECK(normalized(a) == normalized(b));
  b.smap = true;
  CHECK(normalized(a) != normalized(b));
}
