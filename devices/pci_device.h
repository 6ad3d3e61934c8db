// A PCI function: its 256 bytes of configuration space, base address registers, capabilities and INTx pin. Devices
// derive from it and plug their registers in as BusTargets. Knows nothing of the bus it sits on or of how addresses are
// decoded. Ref: PCI Local Bus Specification 3.0, chapter 6.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "base/seam.h"
#include "base/state_io.h"

namespace callgate {

enum class PciSpace : u8 { Io, Memory };

/// Where decoded ranges appear and disappear. Implemented by the board, which also decides what wins where ranges
/// overlap: an address is the guest's choice and may lie over RAM, a local APIC or another device.
class PciDecoder {
 public:
  virtual ~PciDecoder() = default;
  virtual void map(PciSpace space, u64 first, u64 size, BusTarget& target) = 0;
  /// Takes back exactly what map() was given.
  virtual void unmap(PciSpace space, u64 first, u64 size, BusTarget& target) = 0;
};

/// What never changes in a function's header.
struct PciIdentity {
  u16 vendor = 0, device = 0;
  u8 revision = 0;
  u32 class_code = 0;  ///< base class, sub-class, interface: 24 bits
  u16 subsystem_vendor = 0, subsystem = 0;
  u8 interrupt_pin = 0;  ///< 0: none, 1: INTA#, ...
};

class PciDevice {
 public:
  explicit PciDevice(const PciIdentity& identity);
  virtual ~PciDevice();
  PciDevice(const PciDevice&) = delete;
  PciDevice& operator=(const PciDevice&) = delete;

  /// `size` is 1, 2 or 4, the access inside one double word.
  u32 config_read(unsigned offset, unsigned size) const;
  void config_write(unsigned offset, unsigned size, u32 value);

  bool bus_master() const { return config_[4] & 4; }
  u8 interrupt_pin() const { return config_[0x3D]; }

  /// Called by the bus when the function is plugged in.
  void connect(PciDecoder& decoder, IrqLine& intx);
  void set_multifunction() { config_[0x0E] |= 0x80; }

  struct Bar {
    BusTarget* target = nullptr;  // null: no such BAR
    PciSpace space = PciSpace::Memory;
    bool wide = false;  // 64 bits, in two registers
    u64 size = 0;
  };
  const Bar& bar(unsigned n) const { return bars_[n]; }
  /// Where BAR n is decoded now.
  std::optional<u64> decoded(unsigned n) const { return decoded_[n]; }

  /// RST#: registers to their power-up values, decoding off. Derived classes add their own.
  virtual void reset();

 protected:
  /// Declares BAR `n` (0 to 5) of `size` bytes, a power of two (at least 4 ports or 16 bytes). `wide` takes n + 1 too.
  void add_bar(unsigned n, PciSpace space, u64 size, BusTarget& target, bool wide = false, bool prefetchable = false);
  /// Appends a capability. `body` follows the id and the link; `writable` has a mask for each byte of it. Returns its
  /// offset.
  u8 add_capability(u8 id, std::span<const u8> body, std::span<const u8> writable);
  /// A register's power-up value and its writable bits, one byte.
  void define(unsigned offset, u8 value, u8 writable);
  u8 config_byte(unsigned offset) const { return config_[offset]; }
  /// After the guest wrote; `offset` and `size` of the access.
  virtual void config_written(unsigned offset, unsigned size);

  /// The function's interrupt request; the INTx disable bit is honoured here.
  void set_intx(bool asserted);

  /// The part of a derived class's sync().
  void sync_config(StateIo& io);

 private:
  u64 bar_address(unsigned n) const;
  void update_decoding();
  void update_intx();

  std::array<u8, 256> config_{}, initial_{}, writable_{}, clear_by_one_{};
  std::array<Bar, 6> bars_{};
  std::array<std::optional<u64>, 6> decoded_{};
  u8 last_capability_ = 0;
  unsigned capability_end_ = 0x40;
  bool intx_ = false;
  PciDecoder* decoder_ = nullptr;
  IrqLine* intx_line_ = nullptr;
};

}  // namespace callgate
