// A small machine for the tests of the system half: RAM, one processor, an engine, and descriptor tables that are
// ready to use. Every exception handler is a jump to itself, so that a test sees where the processor went and its
// frame.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "cpu/interpreter.h"
#include "cpu/system/exceptions.h"
#include "cpu/system/segments.h"
#include "cpu/test_engine.h"

namespace callgate::test {

/// A board with an interrupt pin, ports that remember the last write, and nothing else.
class TestBoard : public CpuPlatform {
 public:
  u32 io_read(u16 port, unsigned) override { return last_port = port, io_value; }
  void io_write(u16 port, unsigned size, u32 value) override { last_port = port, last_size = size, io_value = value; }
  bool apic_msr_read(u32 index, u64& value) override { return value = apic_base, index == 0x1B; }
  bool apic_msr_write(u32 index, u64 value) override { return apic_base = value, index == 0x1B; }
  u8 task_priority() override { return tpr; }
  void set_task_priority(u8 value) override { tpr = value; }
  bool interrupt_pending() override { return interrupt; }
  u8 acknowledge_interrupt() override { return interrupt = false, interrupt_vector; }
  u64 now() override { return time + (counter != nullptr ? *counter : 0); }
  bool time_is_count() const override { return counter != nullptr; }
  void tsc_adjusted(u64) override {}
  void set_ferr(bool level) override { ferr = level; }
  void shutdown() override { shut_down = true; }

  bool interrupt = false, shut_down = false, ferr = false;
  u8 interrupt_vector = 0x30, tpr = 0;
  u16 last_port = 0;
  unsigned last_size = 0;
  u32 io_value = 0;
  u64 apic_base = 0xFEE00900, time = 1000;
  const u64* counter = nullptr;  ///< what time goes with; nullptr: it stands still
};

/// An 8-byte segment descriptor. `access` is byte 5 (P, DPL, S, type), `flags` are G, D/B, L, AVL (bits 3 to 0).
constexpr u64 descriptor(u32 base, u32 limit, u8 access, u8 flags) {
  return (u64{limit} & 0xFFFF) | (u64{base} & 0xFFFFFF) << 16 | u64{access} << 40 | (u64{limit} >> 16 & 15) << 48 |
         u64{flags} << 52 | (u64{base} >> 24) << 56;
}
/// An 8-byte gate. `access` is P, DPL and type; `low5` the parameter count or IST.
constexpr u64 gate(u16 selector, u32 offset, u8 access, u8 low5 = 0) {
  return (offset & 0xFFFF) | u64{selector} << 16 | u64{low5} << 32 | u64{access} << 40 | u64{offset >> 16} << 48;
}

class TestMachine {
 public:
  static constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kLdt = 0x3000, kTss = 0x4000, kTss2 = 0x5000, kCode = 0x8000,
                       kHandlers = 0x9000, kStack3 = 0x30000, kStack0 = 0x20000, kIst = 0x28000, kTables = 0x100000;
  // The GDT. All segments are flat.
  static constexpr u16 kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1B, kData3 = 0x23, kCode16 = 0x28, kData16 = 0x30,
                       kCode64 = 0x38, kCode64User = 0x43, kConforming = 0x48, kTssSelector = 0x50, kCode1 = 0x61,
                       kData1 = 0x69;
  static constexpr u16 kFree = 0x70;  ///< from here up to 0xF8: the test's own
  static constexpr u16 kGdtLimit = 0xFF;

  TestMachine()
      : ram_map(make_ram(), 0x80000000), cpu(0, ram_map, platform, log, model), decoded(ram_map), interpreter(decoded) {
    if (make_test_engine != nullptr) engine = make_test_engine(ram_map, interpreter);
    set_default_gdt();
    for (unsigned v = 0; v < 256; v++) write<u16>(kHandlers + 16 * v, 0xFEEB);  // jmp $
    cpu.s.gdtr = {kGdt, kGdtLimit};
  }

  /// Every descriptor that has a name above; what comes after them is left.
  void set_default_gdt() {
    set_gdt(kCode0, descriptor(0, 0xFFFFF, 0x9B, 12));
    set_gdt(kData0, descriptor(0, 0xFFFFF, 0x93, 12));
    set_gdt(kCode3, descriptor(0, 0xFFFFF, 0xFB, 12));
    set_gdt(kData3, descriptor(0, 0xFFFFF, 0xF3, 12));
    set_gdt(kCode16, descriptor(0, 0xFFFFF, 0x9B, 0));
    set_gdt(kData16, descriptor(0, 0xFFFF, 0x93, 0));
    set_gdt(kCode64, descriptor(0, 0xFFFFF, 0x9B, 10));
    set_gdt(kCode64User, descriptor(0, 0xFFFFF, 0xFB, 10));
    set_gdt(kConforming, descriptor(0, 0xFFFFF, 0x9F, 12));
    set_gdt(kTssSelector, descriptor(kTss, 0xFFF, 0x8B, 0));
    set_gdt(kCode1, descriptor(0, 0xFFFFF, 0xBB, 12));
    set_gdt(kData1, descriptor(0, 0xFFFFF, 0xB3, 12));
  }

  // --- memory, as physical addresses ---
  template <class T>
  T read(u64 address) {
    T v;
    ram_map.bus_read(address, {reinterpret_cast<u8*>(&v), sizeof v});
    return v;
  }
  template <class T>
  void write(u64 address, T v) {
    ram_map.bus_write(address, {reinterpret_cast<const u8*>(&v), sizeof v});
  }
  void set_gdt(u16 selector, u64 raw) { write<u64>(kGdt + (selector & ~7u), raw); }
  u64 gdt(u16 selector) { return read<u64>(kGdt + (selector & ~7u)); }

  // --- modes ---
  /// 32-bit protected mode at `cpl` with flat segments, every vector with an interrupt gate to its handler.
  void protected32(unsigned cpl = 0) {
    cpu.s.cr0 = kCr0Pe | kCr0Et | kCr0Ne;
    for (unsigned v = 0; v < 256; v++) set_idt(v, kCode0, handler(v), 0x8E);
    cpu.s.idtr = {kIdt, 0x7FF};
    cpu.s.tr =
        Descriptor{static_cast<u32>(gdt(kTssSelector)), static_cast<u32>(gdt(kTssSelector) >> 32), 0, kTssSelector}
            .segment();
    write<u32>(kTss + 4, kStack0);
    write<u32>(kTss + 8, kData0);
    write<u32>(kTss + 12, kStack0 - 0x1000);
    write<u32>(kTss + 16, kData1);
    cpu.s.ldtr = null_segment(0);
    const u16 code[] = {kCode0, kCode1, 0, kCode3}, data[] = {kData0, kData1, 0, kData3};
    enter(code[cpl], data[cpl], cpl);
  }

  /// 64-bit mode (or compatibility mode) at `cpl`: 4 GiB mapped to themselves, for everybody, with 2 MiB pages.
  void long64(unsigned cpl = 0, bool compatibility = false) {
    write<u64>(kTables, (kTables + 0x1000) | 7);
    for (u64 g = 0; g < 4; g++) write<u64>(kTables + 0x1000 + 8 * g, (kTables + 0x2000 + 0x1000 * g) | 7);
    for (u64 n = 0; n < 2048; n++) write<u64>(kTables + 0x2000 + 8 * n, n << 21 | 0x87);
    cpu.s.cr3 = kTables;
    cpu.s.cr4 = kCr4Pae | kCr4Osfxsr;
    cpu.s.msr.efer = kEferLme | kEferLma | kEferNxe | kEferSce;
    cpu.s.cr0 = kCr0Pe | kCr0Et | kCr0Ne | kCr0Pg | kCr0Wp;
    for (unsigned v = 0; v < 256; v++) set_idt64(v, kCode64, handler(v), 0x8E);
    cpu.s.idtr = {kIdt, 0xFFF};
    cpu.s.tr =
        Descriptor{static_cast<u32>(gdt(kTssSelector)), static_cast<u32>(gdt(kTssSelector) >> 32), 0, kTssSelector}
            .segment();
    write<u64>(kTss + 4, kStack0);
    for (unsigned ist = 1; ist <= 7; ist++) write<u64>(kTss + 0x1C + 8 * ist, kIst + 0x400 * ist);
    cpu.s.ldtr = null_segment(0);
    if (compatibility) enter(cpl == 0 ? kCode0 : kCode3, cpl == 0 ? kData0 : kData3, cpl);
    else enter(cpl == 0 ? kCode64 : kCode64User, cpl == 0 ? kData0 : kData3, cpl);
  }

  /// A virtual-8086 task: CS = 0x800, so that its code is at kCode too; SS:SP = 0x3000:0.
  void v86(unsigned iopl) {
    protected32(3);
    cpu.s.flags.set_value(kVM | iopl << 12);
    for (Segment& s : cpu.s.seg) s = v86_segment(0x3000);
    cpu.s.seg[CS] = v86_segment(kCode >> 4);
    cpu.s.gpr[RSP] = 0x8000;
    cpu.s.rip = 0;
    cpu.refresh();
  }

  /// Real-address mode with the IVT at 0: every vector at 0000:handler. Code at 0000:8000, stack at 0000:7000.
  void real() {
    cpu.s.cr0 = kCr0Et;
    for (u32 v = 0; v < 256; v++) write<u32>(4 * v, handler(v));
    cpu.s.idtr = {0, 0x3FF};
    for (unsigned n = 0; n < kSegCount; n++) {
      cpu.s.seg[n].limit = 0xFFFF;
      cpu.s.seg[n].rights = 0x93;
      cpu.s.seg[n].base = cpu.s.seg[n].selector = 0;
    }
    cpu.s.gpr[RSP] = 0x7000;
    cpu.s.rip = kCode;
    cpu.refresh();
  }

  // --- code ---
  /// Puts `bytes` where the processor will execute next.
  void code(std::initializer_list<u8> bytes) {
    u64 at = code_linear(cpu, cpu.s.rip);
    for (const u8 b : bytes) write<u8>(at++, b);
  }
  /// Runs until `count` instructions have retired (those of a handler included), or the processor stops.
  void run(u64 count = 1) {
    execute(cpu, cpu.s.retired + count);
  }
  /// Runs until so many instructions have retired on `c`.
  void execute(Cpu& c, u64 until) {
    const bool stop = false;
    if (engine) engine->run(c, until, stop);
    else interpreter.run(c, until, stop);
  }
  void run(std::initializer_list<u8> bytes) {
    code(bytes);
    run(1);
  }

  // --- what happened ---
  static constexpr u32 handler(unsigned vector) { return static_cast<u32>(kHandlers) + 16 * vector; }
  /// The vector whose handler is being executed, or -1.
  int handling() const {
    const u64 linear = code_linear(cpu, cpu.s.rip);
    return linear >= kHandlers && linear < kHandlers + 0x1000 ? static_cast<int>((linear - kHandlers) / 16) : -1;
  }
  /// The fault delivered last: "#GP(0x10)", or "none".
  std::string last_fault() const {
    const auto all = cpu.recent_faults();
    if (all.empty()) return "none";
    const std::string text = describe(all.back());
    return text.substr(0, text.find(' '));
  }
  /// Its reason.
  std::string last_reason() const {
    const auto all = cpu.recent_faults();
    return all.empty() ? "none" : all.back().fault.reason.text();
  }
  /// The n-th slot of the current stack, in slots of `size` bytes.
  u64 stack(unsigned n, unsigned size) {
    const u64 top =
        cpu.bits64() ? cpu.s.gpr[RSP] : cpu.s.seg[SS].base + (cpu.s.gpr[RSP] & low_mask(8 * cpu.stack_size()));
    u64 v = 0;
    ram_map.bus_read(top + n * size, {reinterpret_cast<u8*>(&v), size});
    return v;
  }
  void push(u64 value, unsigned size) { cpu.push(value, size); }

  void set_idt(unsigned vector, u16 selector, u32 offset, u8 access) {
    write<u64>(kIdt + 8 * vector, gate(selector, offset, access));
  }
  void set_idt64(unsigned vector, u16 selector, u64 offset, u8 access, u8 ist = 0) {
    write<u64>(kIdt + 16 * vector, gate(selector, static_cast<u32>(offset), access, ist));
    write<u64>(kIdt + 16 * vector + 8, offset >> 32);
  }
  /// Loads a segment register without any check.
  void set_segment(SegReg seg, u16 selector) {
    const u64 raw = gdt(selector);
    cpu.s.seg[seg] = Descriptor{static_cast<u32>(raw), static_cast<u32>(raw >> 32), 0, selector}.segment();
    cpu.refresh();
  }

  TestBoard platform;
  Log log;
  CpuModel model;
  PhysicalMap ram_map;
  Cpu cpu;
  DecodeCache decoded;
  Interpreter interpreter;
  std::unique_ptr<TestEngine> engine;  ///< nullptr: the interpreter

 private:
  static std::unique_ptr<Ram> make_ram() { return std::move(Ram::create(4 << 20).value()); }

  void enter(u16 code, u16 data, unsigned cpl) {
    cpu.s.flags.set_value(0);
    cpu.s.cpl = static_cast<u8>(cpl);
    for (const SegReg seg : {DS, ES, SS, FS, GS}) set_segment(seg, data);
    set_segment(CS, code);
    cpu.s.gpr[RSP] = cpl == 3 ? kStack3 : kStack0;
    cpu.s.rip = kCode;
    cpu.refresh();
  }
};

}  // namespace callgate::test
