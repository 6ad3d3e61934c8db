// The page walk: from a linear to a physical address through the guest's tables, exactly as the manual says, with
// accessed and dirty bits and the reason of every fault. Caches nothing; the soft TLB in front of it is invisible to
// the guest. Ref: SDM 3A, chapter 4 "Paging".
#pragma once

#include <string>

#include "base/bits.h"
#include "base/types.h"
#include "mmu/physical_map.h"

namespace callgate {

constexpr unsigned kLinearBits = 48;

/// True when bits 63 to 47 of a 64-bit linear address are equal.
constexpr bool is_canonical(u64 linear) { return sign_extend(linear, kLinearBits) == linear; }

/// Who accesses memory.
enum class AccessContext : u8 {
  User,          ///< explicit access at CPL 3
  Supervisor,    ///< CPL < 3 with RFLAGS.AC clear, and every implicit access to system tables, at any CPL: SMAP holds
  SupervisorAc,  ///< explicit access at CPL < 3 with RFLAGS.AC set: SMAP is overridden
  Watched,       ///< not a context of its own: nothing is ever cached for it, so that every access takes the slow path
};
constexpr unsigned kAccessContexts = 3;

enum class AccessKind : u8 { Read, Write, Execute };

/// Everything that decides how a linear address is translated. The CPU builds it from CR0, CR3, CR4 and EFER.
struct PagingMode {
  bool paging = false;     ///< CR0.PG. When false, nothing below matters.
  bool pae = false;        ///< CR4.PAE
  bool long_mode = false;  ///< EFER.LMA: 4-level paging
  bool pse = false;        ///< CR4.PSE (only matters without PAE)
  bool nxe = false;        ///< EFER.NXE
  bool wp = false;         ///< CR0.WP
  bool smep = false;       ///< CR4.SMEP
  bool smap = false;       ///< CR4.SMAP
  u64 root = 0;            ///< CR3; its flag and PCID bits are ignored. Unused in PAE mode.
  u64 pdpte[4] = {};       ///< PAE mode: the entries as MOV to CR3 loaded them (see pdpte_is_valid)

  bool operator==(const PagingMode&) const = default;
};

/// `mode` with everything that can't matter set to zero, so that equal translations compare equal.
PagingMode normalized(const PagingMode& mode);

/// PAE: true when a PDPTE may be loaded: not present, or present with no reserved bit set. Else MOV to CR3 raises
/// #GP(0).
bool pdpte_is_valid(u64 entry);

// Bits of the page-fault error code. SDM 3A, "Page-Fault Error Code".
constexpr u32 kPageFaultPresent = 1;
constexpr u32 kPageFaultWrite = 2;
constexpr u32 kPageFaultUser = 4;
constexpr u32 kPageFaultReserved = 8;
constexpr u32 kPageFaultFetch = 16;

/// Why a translation failed.
struct WalkFault {
  u64 linear = 0;                ///< for CR2
  u32 error_code = 0;            ///< kPageFault...
  u8 level = 0;                  ///< of the deciding entry: 1 (page table) to 4
  u64 entry = 0;                 ///< its value
  const char* reason = nullptr;  ///< static text, e.g. "write to a read-only page"
};

/// The fault as a sentence: "write to a read-only page (level 1 entry 0x1234025)".
std::string describe(const WalkFault& fault);

/// One entry that a walk went through.
struct WalkStep {
  u64 address = 0;  ///< physical, after the A20 mask
  u64 entry = 0;    ///< its value, as it was read
  u32 frame = 0;    ///< of RAM, or kNoFrame
  u8 level = 0;
};

/// A translation.
struct Walk {
  bool ok = false;             ///< false: see `fault`
  bool writable = false;       ///< R/W of all levels
  bool user = false;           ///< U/S of all levels
  bool no_execute = false;     ///< XD of any level
  bool dirty = false;          ///< D of the leaf, after this walk
  u8 page_shift = kPageShift;  ///< 12, 21, 22 or 30
  u8 entry_bytes = 8;          ///< 4 in 32-bit paging
  u8 count = 0;                ///< steps used: from the root down. PDPTEs of PAE mode are not among them.
  WalkStep step[4];
  u64 physical = 0;  ///< of the byte at `linear`, after the A20 mask
  WalkFault fault;
};

/// Translates for a real access: checks permissions and sets the accessed bits of all entries and, for a write, the
/// dirty bit of the leaf. `linear` must be canonical in long mode, below 4 GiB otherwise. Canonical choice: a walk that
/// faults sets no accessed bit at all (SDM 3A, "Accessed and Dirty Flags", lets a processor set them earlier, but never
/// asks for it). DEVIATION: entries in memory-mapped devices read as ones instead of making a bus access.
Walk walk(PhysicalMap& memory, const PagingMode& mode, u64 linear, AccessContext context, AccessKind kind);

/// Translates without side effects and without permission checks, for a debugger: fails only for entries that are not
/// present or have reserved bits set.
Walk probe(const PhysicalMap& memory, const PagingMode& mode, u64 linear);

/// True when a page with these combined permissions may be accessed so.
bool access_allowed(const PagingMode& mode, const Walk& page, AccessContext context, AccessKind kind);

}  // namespace callgate
