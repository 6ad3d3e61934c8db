// The pins of a processor and its local APIC, as the board wires them.
#include "machine/board.h"
#include "machine/teeth.h"

namespace callgate {

Processor::Processor(unsigned index, Board& board, const CpuModel& model)
    : cpu(index, board.memory, *this, board.log, model),
      apic({.id = index, .bootstrap = index == 0, .physical_address_bits = kPhysicalBits}, board.clock, board.apic_bus,
           *this, board.log),
      board_(board) {
  place_apic_page();
}

u32 Processor::io_read(u16 port, unsigned size) { return board_.ports.read(port, size); }

void Processor::io_write(u16 port, unsigned size, u32 value) { board_.ports.write(port, size, value); }

bool Processor::apic_msr_read(u32 index, u64& value) { return apic.read_msr(index, value); }

bool Processor::apic_msr_write(u32 index, u64 value) {
  if (!apic.write_msr(index, value)) return false;
  if (index == kMsrApicBase) place_apic_page();
  return true;
}

void Processor::place_apic_page() {
  const auto page = apic.mmio_page();
  cpu.tlb.set_local_page(page.value_or(0), page ? &apic : nullptr);
}

u8 Processor::acknowledge_interrupt() {
  interrupts_taken++;
  if (board_.on_interrupt) board_.on_interrupt(cpu);
  const u8 vector = apic.acknowledge();
  board_.log.line(LogChannel::Interrupts, "cpu {} takes interrupt {:#04x} at count {}", cpu.index, vector,
                  cpu.s.retired);
  return vector;
}

u64 Processor::now() {
  const u64 host = teeth::active == teeth::Tooth::HostClock ? teeth::host_clock() & 1 : 0;
  return board_.clock.processor_now() + host;
}

void Processor::set_ferr(bool level) { board_.ferr().set(level); }

void Processor::shutdown() {
  was_shut_down = true;
  board_.end_slice = true;
  board_.attention();
}

void Processor::nmi() {
  cpu.s.nmi_pending = true;
  cpu.request_attention();
}

void Processor::init() {
  if (board_.paravirt) board_.paravirt->initialized(cpu);
  cpu.s.init_pending = true;
  cpu.request_attention();
}

void Processor::startup(u8 vector) {
  if (cpu.s.activity != Activity::WaitForSipi && !cpu.s.init_pending) return;
  cpu.s.sipi_pending = true;
  cpu.s.sipi_vector = vector;
  cpu.request_attention();
}

void Processor::interrupt_line(bool asserted) {
  if (!asserted) return;
  cpu.request_attention();
  if (board_.paravirt) board_.paravirt->interrupt_waits(cpu);
}

}  // namespace callgate
