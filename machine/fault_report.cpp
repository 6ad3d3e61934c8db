#include "machine/fault_report.h"

#include <fmt/format.h>

#include "cpu/decoder.h"
#include "cpu/interpreter.h"
#include "cpu/system/exceptions.h"
#include "cpu/disassembler.h"
#include "machine/mapped_memory.h"

namespace callgate {

namespace {

std::string describe_segment(const char* name, const Segment& s) {
  return fmt::format("{:<4} {:04x} base {:016x} limit {:08x} rights {:05x}{}{}\n", name, s.selector, s.base, s.limit,
                     s.rights,
                     s.unusable()          ? " null"
                     : s.is_code()         ? " code"
                     : s.is_code_or_data() ? " data"
                                           : " system",
                     s.unusable() ? "" : fmt::format(" dpl {}", s.dpl()));
}

std::string describe_instruction(Cpu& c, u64 rip) {
  std::vector<u8> bytes;  // fewer where a page is missing
  while (bytes.size() < kMaxInsnLength) {
    const u8* byte = mapped_byte(c, code_linear(c, rip + bytes.size()));
    if (byte == nullptr) break;
    bytes.push_back(*byte);
  }
  if (bytes.empty()) return fmt::format("    {:#018x}  (no memory is mapped here)\n", rip);
  const Disassembly d = disassemble(bytes, rip, c.code_size());
  std::string hex;
  for (unsigned k = 0; k < d.length && k < bytes.size(); k++) hex += fmt::format("{:02x} ", bytes[k]);
  return fmt::format("    {:#018x}  {:<32} {}\n", rip, hex, d.text);
}

}  // namespace

std::string describe_registers(const CpuState& s) {
  static constexpr const char* kNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                             "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  static constexpr const char* kSegNames[kSegCount] = {"es", "cs", "ss", "ds", "fs", "gs"};
  std::string out;
  for (unsigned i = 0; i < 16; i++)
    out += fmt::format("{:<3} {:016x}{}", kNames[i], s.gpr[i], i % 4 == 3 ? "\n" : "  ");
  out += fmt::format("rip {:016x}  rflags {:08x}  cpl {}\n", s.rip, s.flags.value(), s.cpl);
  for (unsigned i = 0; i < kSegCount; i++) out += describe_segment(kSegNames[i], s.seg[i]);
  out += describe_segment("ldtr", s.ldtr);
  out += describe_segment("tr", s.tr);
  out += fmt::format("gdtr base {:016x} limit {:04x}  idtr base {:016x} limit {:04x}\n", s.gdtr.base, s.gdtr.limit,
                     s.idtr.base, s.idtr.limit);
  out += fmt::format("cr0 {:08x}  cr2 {:016x}  cr3 {:016x}  cr4 {:08x}  efer {:04x}  dr6 {:08x}  dr7 {:08x}\n", s.cr0,
                     s.cr2, s.cr3, s.cr4, s.msr.efer, s.dr6, s.dr7);
  return out;
}

std::string fault_report(Processor& p) {
  Cpu& c = p.cpu;
  std::string out;
  const auto faults = c.recent_faults();
  if (!faults.empty()) {
    out += fmt::format("The last faults of processor {}, oldest first:\n", c.index);
    for (const FaultRecord& fault : faults) out += "  " + describe(fault) + "\n";
  }
  out += describe_registers(c.s);
  // Emitted code notes none of its own.
  out += "The last instructions that were noted, the one that faulted at the end:\n";
  for (const u64 rip : c.trail()) out += describe_instruction(c, rip);
  return out;
}

}  // namespace callgate
