#include "cpu/disassembler.h"

#include <capstone/capstone.h>
#include <fmt/format.h>

namespace callgate {

Disassembly disassemble(std::span<const u8> bytes, u64 address, CodeSize size) {
  Disassembly out{"(bad)", 1};
  csh handle = 0;
  const cs_mode mode = size == CodeSize::Bits64 ? CS_MODE_64 : size == CodeSize::Bits32 ? CS_MODE_32 : CS_MODE_16;
  if (cs_open(CS_ARCH_X86, mode, &handle) != CS_ERR_OK) return out;
  cs_insn* insn = nullptr;
  if (cs_disasm(handle, bytes.data(), bytes.size(), address, 1, &insn) == 1) {
    out.text = insn->op_str[0] != 0 ? fmt::format("{} {}", insn->mnemonic, insn->op_str) : std::string(insn->mnemonic);
    out.length = insn->size;
    cs_free(insn, 1);
  }
  cs_close(&handle);
  return out;
}

}  // namespace callgate
