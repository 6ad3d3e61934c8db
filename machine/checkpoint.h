// A machine's state at one moment, kept in memory: what Timeline goes back to. Machine makes and takes it.
#pragma once

#include <vector>

#include "machine/guest_snapshots.h"
#include "machine/page_tree.h"

namespace callgate {

class Checkpoint {
 public:
  Checkpoint(u64 count_, std::size_t taken_, std::vector<u8> devices_, PageAccount account_, PageTree ram_, std::vector<u32> written_,
             GuestSnapshots guests_own_)
      : count(count_), taken(taken_), devices(std::move(devices_)), account(std::move(account_)), ram(std::move(ram_)), written(std::move(written_)), guests_own(std::move(guests_own_)) {}

  const u64 count;                  ///< retired instructions
  const std::size_t taken;          ///< records of the journal taken
  const std::vector<u8> devices;    ///< everything but RAM's contents
  const PageAccount account;        ///< what the pages of all checkpoints of the machine take; goes after `ram`
  const PageTree ram;
  const std::vector<u32> written;   ///< frames written since the checkpoint before it was made or restored, in order
  const GuestSnapshots guests_own;  ///< the places that the guest itself could go back to then

  /// Host memory of this checkpoint's own beside the pages.
  u64 own_bytes() const { return devices.size() + written.size() * sizeof(u32); }
};

}  // namespace callgate
