#include "jit/trace.h"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/disassembler.h"

namespace callgate::jit {

namespace {

std::string listing(std::span<const u8> bytes, u64 address, CodeSize size) {
  std::string s;
  for (std::size_t at = 0; at < bytes.size();) {
    const Disassembly d = disassemble(bytes.subspan(at, std::min<std::size_t>(15, bytes.size() - at)), address + at, size);
    s += fmt::format("  {:#x}  {}\n", address + at, d.text);
    at += d.length;
  }
  return s;
}

}  // namespace

std::string trace(const ir::Block& block, std::span<const u8> code, std::span<const u8> host) {
  std::size_t length = 0;
  for (const ir::BlockInsn& b : block.insns) length += b.insn.length;
  const u64 at = static_cast<u64>(reinterpret_cast<std::uintptr_t>(host.data()));
  return fmt::format("block {:#x}, {} instructions\n{}{}{} bytes of host code\n{}", block.rip, block.insns.size(),
                     listing(code.first(std::min(length, code.size())), block.rip, block.mode.code_size), print(block),
                     host.size(), listing(host, at, CodeSize::Bits64));
}

}  // namespace callgate::jit
