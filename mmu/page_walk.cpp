#include "mmu/page_walk.h"

#include <fmt/format.h>

#include "base/verify.h"
#include "mmu/physical_map.h"

namespace callgate {

namespace {

// SDM 3A, "Formats of CR3 and Paging-Structure Entries".
constexpr u64 kPresent = u64{1} << 0;
constexpr u64 kWritable = u64{1} << 1;
constexpr u64 kUser = u64{1} << 2;
constexpr u64 kAccessed = u64{1} << 5;
constexpr u64 kDirty = u64{1} << 6;
constexpr u64 kLargePage = u64{1} << 7;
constexpr u64 kNoExecute = u64{1} << 63;
/// The address field of an 8-byte entry.
constexpr u64 kFrameBits = low_mask(kPhysicalBits) & ~kPageMask;

/// The shape of a paging mode.
struct Shape {
  unsigned levels;       // the first level whose entry is read from memory
  unsigned entry_bytes;  // 4 or 8
  unsigned index_bits;   // 10 or 9
};

constexpr Shape shape_of(const PagingMode& mode) {
  if (mode.long_mode) return {4, 8, 9};
  return mode.pae ? Shape{2, 8, 9} : Shape{2, 4, 10};
}

/// Bits of a present entry that must be clear. SDM 3A, "Paging-Structure Entries", the tables of each format.
u64 reserved_bits(const PagingMode& mode, unsigned level, bool large) {
  if (!mode.long_mode && !mode.pae) {
    // Address bits 39:32 of a 4 MiB page are in bits 20:13 (PSE-36); bit 21 would be address bit 40.
    return level == 2 && large ? u64{1} << 21 : 0;
  }
  // Long mode leaves bits 62:52 to software; PAE reserves them.
  u64 reserved = low_mask(mode.long_mode ? 52 : 63) & ~low_mask(kPhysicalBits);
  if (!mode.nxe) reserved |= kNoExecute;
  if (level == 4) reserved |= kLargePage;
  if (large && level == 2) reserved |= low_mask(21) & ~low_mask(13);
  if (large && level == 3) reserved |= low_mask(30) & ~low_mask(13);
  return reserved;
}

u64 load_entry(const u8* p, unsigned bytes) { return bytes == 8 ? load_as<u64>(p) : load_as<u32>(p); }

/// Reads the entry at `address`; where there is no memory it reads as ones. Field by field: the compiler would copy a
/// whole WalkStep in pieces of another size than it was stored in, which stalls the host at every level.
void read_step(const PhysicalMap& memory, u64 address, unsigned bytes, unsigned level, WalkStep& step) {
  const PhysicalPage page = memory.page(address);
  step.address = address;
  step.entry = page.host == nullptr ? low_mask(8 * bytes) : load_entry(page.host + (address & kPageMask), bytes);
  step.frame = page.frame;
  step.level = static_cast<u8>(level);
}

u32 fault_code(const PagingMode& mode, AccessContext context, AccessKind kind) {
  u32 code = 0;
  if (context == AccessContext::User) code |= kPageFaultUser;
  if (kind == AccessKind::Write) code |= kPageFaultWrite;
  // The fetch bit exists only where fetches can be forbidden.
  const bool nx = mode.nxe && (mode.pae || mode.long_mode);
  if (kind == AccessKind::Execute && (mode.smep || nx)) code |= kPageFaultFetch;
  return code;
}

void deny(Walk& w, u64 linear, u32 code, const char* reason) {
  w.ok = false;
  w.fault.linear = linear;
  w.fault.error_code = code;
  w.fault.reason = reason;
}

constexpr const char* kNotPresent[] = {"the page is not present", "the page table is not present",
                                       "the page directory is not present",
                                       "the page-directory-pointer table is not present"};

/// Follows the entries down to the leaf: fills in everything but what depends on the access. `code` is the error code
/// without P and RSVD.
Walk descend(const PhysicalMap& memory, const PagingMode& mode, u64 linear, u32 code) {
  Walk w;
  if (!mode.paging) {
    w.ok = w.writable = w.user = w.dirty = true;
    w.physical = memory.cpu_address(linear);
    return w;
  }
  const Shape shape = shape_of(mode);
  w.entry_bytes = static_cast<u8>(shape.entry_bytes);
  w.writable = w.user = true;
  u64 table = mode.root & (mode.long_mode ? kFrameBits : low_mask(32) & ~kPageMask);
  if (mode.pae && !mode.long_mode) {
    const u64 pdpte = mode.pdpte[bits(linear, 31, 30)];
    w.fault.level = 3;
    w.fault.entry = pdpte;
    if (!(pdpte & kPresent)) {
      deny(w, linear, code, kNotPresent[2]);
      return w;
    }
    table = pdpte & kFrameBits;
  }
  for (unsigned level = shape.levels;; level--) {
    const unsigned shift = kPageShift + (level - 1) * shape.index_bits;
    const u64 index = bits(linear, shift + shape.index_bits - 1, shift);
    const u64 address = memory.cpu_address(table + index * shape.entry_bytes);
    WalkStep& step = w.step[w.count++];
    read_step(memory, address, shape.entry_bytes, level, step);
    const u64 entry = step.entry;
    w.fault.level = static_cast<u8>(level);
    w.fault.entry = entry;
    const bool large = (entry & kLargePage) && (level == 3 || (level == 2 && (shape.entry_bytes == 8 || mode.pse)));
    const bool leaf = large || level == 1;
    if (!(entry & kPresent)) {
      deny(w, linear, code, kNotPresent[level - 1]);
      return w;
    }
    if (entry & reserved_bits(mode, level, large)) {
      deny(w, linear, code | kPageFaultPresent | kPageFaultReserved,
           (entry & kNoExecute) && shape.entry_bytes == 8 && !mode.nxe ? "no-execute bit set while EFER.NXE is clear"
                                                                       : "reserved bit set in a present entry");
      return w;
    }
    w.writable = w.writable && (entry & kWritable);
    w.user = w.user && (entry & kUser);
    w.no_execute = w.no_execute || (shape.entry_bytes == 8 && (entry & kNoExecute));
    if (!leaf) {
      table = entry & (shape.entry_bytes == 8 ? kFrameBits : low_mask(32) & ~kPageMask);
      continue;
    }
    u64 base = entry & (shape.entry_bytes == 8 ? kFrameBits : low_mask(32)) & ~low_mask(shift);
    if (large && shape.entry_bytes == 4) base |= bits(entry, 20, 13) << 32;
    w.page_shift = static_cast<u8>(shift);
    w.dirty = entry & kDirty;
    w.physical = memory.cpu_address(base | (linear & low_mask(shift)));
    w.ok = true;
    return w;
  }
}

/// Why a present page may not be accessed so; nullptr when it may. SDM 3A, "Determination of Access Rights".
const char* objection(const PagingMode& mode, const Walk& w, AccessContext context, AccessKind kind) {
  if (!mode.paging) return nullptr;
  if (context == AccessContext::User) {
    if (!w.user) return "user access to a supervisor page";
    if (kind == AccessKind::Write && !w.writable) return "write to a read-only page";
  } else if (kind == AccessKind::Execute) {
    if (mode.smep && w.user) return "SMEP: supervisor fetch from a user page";
  } else {
    if (mode.smap && w.user && context == AccessContext::Supervisor)
      return "SMAP: supervisor access to a user page with AC clear";
    if (kind == AccessKind::Write && mode.wp && !w.writable)
      return "supervisor write to a read-only page with CR0.WP set";
  }
  if (kind == AccessKind::Execute && w.no_execute) return "instruction fetch from a no-execute page";
  return nullptr;
}

}  // namespace

PagingMode normalized(const PagingMode& mode) {
  PagingMode m;
  if (!mode.paging) return m;
  m = mode;
  if (m.long_mode) m.pae = true;
  if (m.pae) m.pse = false;
  if (!m.pae) m.nxe = false;
  if (m.long_mode || !m.pae) {
    m.root &= (m.long_mode ? kFrameBits : low_mask(32)) & ~kPageMask;
    for (u64& e : m.pdpte) e = 0;
  } else {
    m.root = 0;
    for (u64& e : m.pdpte) e = e & kPresent ? e & (kFrameBits | kPresent) : 0;
  }
  return m;
}

bool pdpte_is_valid(u64 entry) {
  // SDM 3A, "PAE paging", the format of a PDPTE: bits 2:1, 8:5 and 63:MAXPHYADDR are reserved.
  constexpr u64 kReserved = 0x6 | 0x1E0 | ~low_mask(kPhysicalBits);
  return !(entry & kPresent) || (entry & kReserved) == 0;
}

bool access_allowed(const PagingMode& mode, const Walk& page, AccessContext context, AccessKind kind) {
  return objection(mode, page, context, kind) == nullptr;
}

Walk walk(PhysicalMap& memory, const PagingMode& mode, u64 linear, AccessContext context, AccessKind kind) {
  VERIFY(!mode.paging || (mode.long_mode ? is_canonical(linear) : linear <= 0xFFFFFFFF), "an unchecked linear address");
  const u32 code = fault_code(mode, context, kind);
  Walk w = descend(memory, mode, linear, code);
  if (!w.ok) return w;
  if (const char* reason = objection(mode, w, context, kind)) {
    deny(w, linear, code | kPageFaultPresent, reason);
    return w;
  }
  // Set all of them before the access, top down. One processor runs at a time, so no locked update is needed.
  for (unsigned i = 0; i < w.count; i++) {
    const bool leaf = i + 1u == w.count;
    u64 wanted = kAccessed;
    if (leaf && kind == AccessKind::Write) {
      wanted |= kDirty;
      w.dirty = true;
    }
    const WalkStep& step = w.step[i];
    if ((step.entry & wanted) == wanted) continue;
    if (step.frame == kNoFrame) continue;  // ROM: nothing can be set
    // A table may refer to itself, so that two steps are the same entry: look at what is there now.
    const u64 entry = load_entry(memory.ram().frame(step.frame) + (step.address & kPageMask), w.entry_bytes);
    if ((entry & wanted) != wanted) memory.set_entry_bits(step.address, entry | wanted, w.entry_bytes);
  }
  return w;
}

Walk probe(const PhysicalMap& memory, const PagingMode& mode, u64 linear) { return descend(memory, mode, linear, 0); }

std::string describe(const WalkFault& fault) {
  if (fault.reason == nullptr) return "no page fault";
  return fmt::format("{} (level {} entry {:#x})", fault.reason, fault.level, fault.entry);
}

}  // namespace callgate
