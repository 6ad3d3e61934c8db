#include "jit/trace.h"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/disassembler.h"

namespace callgate::jit {

namespace {

constexpr std::size_t kMostBytes = 15;  // of an x86 instruction

std::string listing(std::span<const u8> bytes, u64 address) {
  std::string s;
  for (std::size_t at = 0; at < bytes.size();) {
    const Disassembly d = disassemble(bytes.subspan(at, std::min(kMostBytes, bytes.size() - at)), address + at, CodeSize::Bits64);
    s += fmt::format("      {:#x}  {}\n", address + at, d.text);
    at += d.length;
  }
  return s;
}

}  // namespace

std::string trace(const ir::Block& block, std::span<const u8> code, std::span<const u8> host, std::span<const u32> starts) {
  const u64 address = static_cast<u64>(reinterpret_cast<std::uintptr_t>(host.data()));
  const auto host_code = [&](std::size_t from, std::size_t to) { return listing(host.subspan(from, to - from), address + from); };
  std::string s = fmt::format("block {:#x}, {} instructions, {} bytes of host code\n{}", block.rip, block.insns.size(), host.size(),
                              host_code(0, starts[0]));
  for (std::size_t n = 0; n < block.insns.size(); n++) {
    const std::span<const u8> rest = code.subspan(std::min<std::size_t>(block.insns[n].rip - block.rip, code.size()));
    const Disassembly d = disassemble(rest.first(std::min(kMostBytes, rest.size())), block.insns[n].rip, block.mode.code_size);
    s += fmt::format("{:#x}  {}{}\n{}{}", block.insns[n].rip, d.text, block.insns[n].count == 0 ? "  (by its handler)" : "",
                     print(block, block.insns[n]), host_code(starts[n], starts[n + 1]));
  }
  return s + "out of line\n" + host_code(starts.back(), host.size());
}

}  // namespace callgate::jit
