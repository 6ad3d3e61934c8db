// The places that a guest marked by SNAPSHOT and goes back to by RESTORE (paravirt/ABI.md). They are part of the machine's state, but
// not of what goes back: a RESTORE leaves them, the count and the journal as they are, so that a run is one line whose places are
// counts, with or without RESTOREs in it. Machine makes and takes them; nothing else looks inside.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "machine/page_tree.h"

namespace callgate {

constexpr unsigned kMostGuestSnapshots = 4;  ///< paravirt/ABI.md

struct GuestSnapshot {
  PageTree ram;
  std::vector<u8> devices;  ///< everything but RAM's contents
  u64 hash = 0;             ///< of that state
  u32 processor = 0;        ///< whose SNAPSHOT returns again
  bool wide = false;        ///< ... in 64-bit mode
};

struct GuestSnapshots {
  std::array<std::shared_ptr<const GuestSnapshot>, kMostGuestSnapshots> slots;
  u64 restored_at = ~u64{0};  ///< the count of the last RESTORE: inputs may come at that moment

  /// What the guest asked for with its last instruction; done before the next one.
  enum class Wish : u8 { None, Keep, Forget, GoBack };
  Wish wish = Wish::None;
  u32 slot = 0;
  u32 processor = 0;
  u32 value = 0;  ///< GoBack: what SNAPSHOT returns

  bool any() const {
    for (const auto& s : slots)
      if (s) return true;
    return false;
  }
};

}  // namespace callgate
