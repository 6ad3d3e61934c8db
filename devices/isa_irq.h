// An ISA interrupt request: one wire that reaches both the 8259 pair and the I/O APIC. Which of the two delivers is the
// guest's choice, by their masks. Ref: ACPI 6.5, 5.2.12.5 Interrupt Source Override Structure (as our MADT has it).
#pragma once

#include "base/seam.h"

namespace callgate {

/// The I/O APIC input of an ISA IRQ: the same number, but the 8254 is on input 2, where the 8259's cascade would be.
constexpr unsigned gsi_of_isa_irq(unsigned irq) { return irq == 0 ? 2 : irq; }

class IsaIrq final : public IrqLine {
 public:
  IsaIrq(IrqLine& pic, IrqLine& io_apic) : pic_(pic), io_apic_(io_apic) {}
  void set(bool level) override {
    pic_.set(level);
    io_apic_.set(level);
  }

 private:
  IrqLine& pic_;
  IrqLine& io_apic_;
};

}  // namespace callgate
