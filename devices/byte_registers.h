// A register file eight bits wide, as ISA devices are: a wider access is one access a byte, lowest offset first.
// Knows nothing of what the registers mean.
#pragma once

#include "base/seam.h"

namespace callgate {

class ByteRegisters : public BusTarget {
 public:
  u64 read(u64 offset, unsigned size) final {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{read8(offset + i)} << (8 * i);
    return value;
  }
  void write(u64 offset, unsigned size, u64 value) final {
    for (unsigned i = 0; i < size; ++i) write8(offset + i, static_cast<u8>(value >> (8 * i)));
  }

 protected:
  /// One byte; offsets past the registers read 0xFF.
  virtual u8 read8(u64 offset) = 0;
  /// One byte; offsets past the registers are ignored.
  virtual void write8(u64 offset, u8 value) = 0;
};

}  // namespace callgate
