// I/O APIC: 24 inputs, each with a redirection entry that turns its wire into messages on the APIC bus.
// Knows wires and the bus; refuses to know who listens there.
// Ref: Intel 82093AA I/O APIC datasheet (290566); version 20h and the EOI register: Intel ICH9 datasheet, APIC
// registers.
#pragma once

#include <utility>

#include "base/log.h"
#include "base/seam.h"
#include "base/state_io.h"
#include "devices/apic_bus.h"

namespace callgate {

constexpr u64 kIoApicDefaultAddress = 0xFEC0'0000;

class IoApic final : public BusTarget, public EoiListener {
 public:
  static constexpr unsigned kInputs = 24;

  /// `active_low` has a bit for each input whose wire is low when its source asserts it (PCI's INTx). A guest that
  /// programs the wrong polarity then sees what it would see on a real board. Attaches itself to `bus`.
  IoApic(ApicBus& bus, Log& log, u32 active_low = 0);
  IoApic(const IoApic&) = delete;
  IoApic& operator=(const IoApic&) = delete;

  /// Input n (0 to 23). set(true): the source asserts it, whatever the wire's polarity.
  IrqLine& line(unsigned n) { return pins_[n]; }

  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  void end_of_interrupt(u8 vector) override;
  void retry() override;

  void reset();
  void sync(StateIo& io);

 private:
  struct State {
    u8 select = 0;  // IOREGSEL
    u32 id = 0;     // bits 27:24
    u32 asserted = 0;
    u64 entry[kInputs] = {};
  };

  class Pin final : public IrqLine {
   public:
    Pin(IoApic& owner, unsigned n) : owner_(owner), n_(n) {}
    void set(bool level) override { owner_.line_changed(n_, level); }

   private:
    IoApic& owner_;
    unsigned n_;
  };

  template <std::size_t... N>
  IoApic(ApicBus& bus, Log& log, u32 active_low, std::index_sequence<N...>);

  bool active(unsigned n) const;
  void line_changed(unsigned n, bool level);
  void retry_level(unsigned n);
  bool send(unsigned n);
  u32 read_register(u8 index) const;
  void write_register(u8 index, u32 value);

  ApicBus& bus_;
  Log& log_;
  const u32 active_low_;
  Pin pins_[kInputs];
  State s_;
};

}  // namespace callgate
