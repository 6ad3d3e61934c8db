#include "jit/x64/system_form.h"

#include <string_view>

#include "cpu/hypervisor.h"
#include "cpu/table/row.h"

namespace callgate::jit::x64 {

SystemForm system_form(const ir::Mode& mode, const Insn& insn) {
  // Without paging rings and segments of 64-bit mode there are more cases than it is worth.
  if (!mode.long64 || insn.row == nullptr) return SystemForm::None;
  struct Name {
    std::string_view name;
    SystemForm form;
  };
  static constexpr Name kNames[] = {
      {"syscall", SystemForm::Syscall}, {"sysret", SystemForm::Sysret}, {"swapgs", SystemForm::Swapgs},
      {"cli", SystemForm::Cli},         {"sti", SystemForm::Sti},       {"clac", SystemForm::Clac},
      {"stac", SystemForm::Stac},       {"rdtsc", SystemForm::Rdtsc},   {"rdtscp", SystemForm::Rdtscp},
      {"iret", SystemForm::Iretq},
  };
  const std::string_view name = insn.row->name;
  if (name == "in")
    return insn.opcode == 0xE5 && insn.width != 2 && static_cast<u8>(insn.imm) == kCallPort ? SystemForm::PortCall : SystemForm::None;
  if (name == "mov") {
    const bool selector = insn.opcode == 0x8C && std::string_view(insn.row->encoding) == "8C /r";
    return selector && !insn.is_memory && insn.reg < kSegCount ? SystemForm::ReadSelector : SystemForm::None;
  }
  for (const Name& n : kNames) {
    if (name != n.name) continue;
    // A return to compatibility mode changes the mode, and that needs another block's code.
    const bool returns = n.form == SystemForm::Sysret || n.form == SystemForm::Iretq;
    return returns && insn.width != 8 ? SystemForm::None : n.form;
  }
  return SystemForm::None;
}

}  // namespace callgate::jit::x64
