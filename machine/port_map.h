// The I/O port space: which device answers at which port. Knows no device.
#pragma once

#include <map>
#include <memory>

#include "base/log.h"
#include "base/seam.h"

namespace callgate {

class PortMap {
 public:
  explicit PortMap(Log& log) : log_(log) {}

  /// `target` answers at [first, first + count). A later mapping wins over an earlier one.
  void map(u16 first, unsigned count, BusTarget& target);
  /// Takes back a mapping: `target` no longer answers in [first, first + count).
  void unmap(u16 first, unsigned count, BusTarget& target);

  /// 1, 2 or 4 bytes. A port without a device reads as ones; an access over the end of a device's range is split in
  /// bytes.
  u32 read(u16 port, unsigned size);
  void write(u16 port, unsigned size, u32 value);

 private:
  struct Slot {
    BusTarget* target = nullptr;
    u16 offset = 0;
    u16 left = 0;  ///< ports of the device from here on
  };
  Log& log_;
  std::unique_ptr<Slot[]> slots_ = std::make_unique<Slot[]>(0x10000);
};

}  // namespace callgate
