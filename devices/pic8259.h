// The PC's pair of interrupt controllers, with the chipset's edge/level registers.
// Knows its sixteen inputs and its INTR output; not who pulls the one or listens to the other.
// Ref: Intel "8259A Programmable Interrupt Controller" (231468); Intel "82371SB PIIX3", ELCR1 and ELCR2.
#pragma once

#include <array>

#include "base/seam.h"
#include "base/state_io.h"
#include "devices/byte_registers.h"

namespace callgate {

/// One 8259A. Used by Pic8259Pair alone.
class Pic8259 {
 public:
  struct State {
    u8 lines = 0;                  ///< levels of the inputs
    u8 edges = 0;                  ///< rising edges not acknowledged yet
    u8 imr = 0;                    ///< mask register
    u8 isr = 0;                    ///< in-service register
    u8 elcr = 0;                   ///< inputs that are level-triggered (the chipset's register)
    u8 vector_base = 0;            ///< ICW2, bits 7:3
    u8 lowest = 7;                 ///< the input of lowest priority
    u8 next_icw = 0;               ///< the ICW (2 to 4) that the next write to A0=1 is; 0 = OCW1
    bool programmed = false;       ///< initialised since power-on
    bool needs_icw4 = false;       ///< ICW1 IC4
    bool single = false;           ///< ICW1 SNGL
    bool level_mode = false;       ///< ICW1 LTIM
    bool auto_eoi = false;         ///< ICW4 AEOI
    bool fully_nested = false;     ///< ICW4 SFNM
    bool rotate_auto_eoi = false;  ///< OCW2 rotate in AEOI mode
    bool special_mask = false;     ///< OCW3 SMM
    bool read_isr = false;         ///< OCW3 RIS: A0=0 reads the ISR
    bool poll = false;             ///< OCW3 P: the next read is an acknowledge
  };

  /// `cascade` has a bit for each input that a slave drives; `elcr_writable` for each input that may be
  /// level-triggered.
  Pic8259(u8 cascade, u8 elcr_writable) : cascade_(cascade), elcr_writable_(elcr_writable) {}

  void set_line(unsigned irq, bool level);
  /// The input that the priority rules let through, or -1.
  int highest() const;
  /// INTA: takes `highest()` into service; a request that has gone gives input 7 and changes nothing.
  unsigned take();
  u8 vector(unsigned irq) const { return static_cast<u8>(state_.vector_base | irq); }

  u8 read(bool a0);
  void write(bool a0, u8 value);
  u8 elcr() const { return state_.elcr; }
  void set_elcr(u8 value);
  void reset();
  void sync(StateIo& io);
  const State& state() const { return state_; }

 private:
  u8 level_triggered() const;
  u8 requests() const;
  unsigned priority(unsigned irq) const { return (irq - state_.lowest - 1) & 7; }
  int first_by_priority(u8 set) const;
  void start_initialisation(u8 icw1);
  void operation(u8 ocw2);

  State state_;
  u8 cascade_;
  u8 elcr_writable_;
};

/// Master and slave as a PC wires them: the slave's INT is the master's input 2.
class Pic8259Pair final : public InterruptSource {
 public:
  /// `intr` is the INTR output.
  explicit Pic8259Pair(IrqLine& intr);

  /// Input `irq`, 0 to 15; 2 is the cascade and not to be driven.
  IrqLine& line(unsigned irq);

  BusTarget& master_ports() { return master_ports_; }  ///< two ports, at 0x20
  BusTarget& slave_ports() { return slave_ports_; }    ///< two ports, at 0xA0
  BusTarget& elcr_ports() { return elcr_ports_; }      ///< two ports, at 0x4D0

  bool pending() const override { return master_.highest() >= 0; }
  u8 acknowledge() override;

  void reset();
  /// Input levels are part of the state: a restore pulls no wire.
  void sync(StateIo& io);

  const Pic8259& master() const { return master_; }
  const Pic8259& slave() const { return slave_; }

 private:
  class Input final : public IrqLine {
   public:
    void set(bool level) override { owner->set_line(irq, level); }
    Pic8259Pair* owner = nullptr;
    unsigned irq = 0;
  };
  class ChipPorts final : public ByteRegisters {
   public:
    ChipPorts(Pic8259Pair& owner, Pic8259& chip) : owner_(owner), chip_(chip) {}

   private:
    u8 read8(u64 offset) override;
    void write8(u64 offset, u8 value) override;
    Pic8259Pair& owner_;
    Pic8259& chip_;
  };
  class ElcrPorts final : public ByteRegisters {
   public:
    explicit ElcrPorts(Pic8259Pair& owner) : owner_(owner) {}

   private:
    u8 read8(u64 offset) override;
    void write8(u64 offset, u8 value) override;
    Pic8259Pair& owner_;
  };

  void set_line(unsigned irq, bool level);
  void update();

  IrqLine& intr_;
  Pic8259 master_;
  Pic8259 slave_;
  std::array<Input, 16> inputs_;
  ChipPorts master_ports_;
  ChipPorts slave_ports_;
  ElcrPorts elcr_ports_;
};

}  // namespace callgate
