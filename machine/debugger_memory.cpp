// The debugger's views of memory: linear as a processor maps it now, physical, and the page tables in between.
#include <fmt/format.h>

#include <algorithm>

#include "cpu/disassembler.h"
#include "cpu/interpreter.h"
#include "machine/board.h"
#include "machine/debugger.h"

namespace callgate {

namespace {

bool addressable(const Cpu& c, u64 linear) { return c.long_mode() ? is_canonical(linear) : linear <= 0xFFFFFFFF; }

/// Calls `part(physical, offset, size)` for the pieces of a linear range, page by page, until one returns false; the bytes
/// that went well.
template <class Part>
std::size_t by_pages(const Cpu& c, u64 linear, std::size_t size, Part part) {
  std::size_t done = 0;
  while (done < size) {
    const u64 at = linear + done;
    if (!addressable(c, at)) break;
    const Walk w = probe(c.memory, c.tlb.mode(), at);
    if (!w.ok) break;
    const std::size_t here = std::min<std::size_t>(size - done, kPageSize - (at & kPageMask));
    const std::size_t went = part(w.physical, done, here);
    done += went;
    if (went != here) break;
  }
  return done;
}

}  // namespace

std::size_t Debugger::read_physical(u64 address, std::span<u8> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const u64 at = address + done;
    const PhysicalPage page = board_.memory.page(at);
    if (page.host == nullptr) break;
    const std::size_t here = std::min<std::size_t>(out.size() - done, kPageSize - (at & kPageMask));
    std::copy_n(page.host + (at & kPageMask), here, out.begin() + static_cast<std::ptrdiff_t>(done));
    done += here;
  }
  return done;
}

std::size_t Debugger::write_physical(u64 address, std::span<const u8> data) {
  std::size_t done = 0;
  while (done < data.size()) {
    const u64 at = address + done;
    if (board_.memory.page(at).frame == kNoFrame) break;
    const std::size_t here = std::min<std::size_t>(data.size() - done, kPageSize - (at & kPageMask));
    board_.memory.write(at, data.subspan(done, here));
    done += here;
    edits_++;
  }
  return done;
}

std::size_t Debugger::read_linear(unsigned cpu, u64 address, std::span<u8> out) const {
  return by_pages(board_.processors.at(cpu)->cpu, address, out.size(), [&](u64 physical, std::size_t offset, std::size_t size) {
    return read_physical(physical, out.subspan(offset, size));
  });
}

std::size_t Debugger::write_linear(unsigned cpu, u64 address, std::span<const u8> data) {
  return by_pages(board_.processors.at(cpu)->cpu, address, data.size(), [&](u64 physical, std::size_t offset, std::size_t size) {
    return write_physical(physical, data.subspan(offset, size));
  });
}

std::optional<u64> Debugger::translate(unsigned cpu, u64 linear) const {
  const Cpu& c = board_.processors.at(cpu)->cpu;
  if (!addressable(c, linear)) return std::nullopt;
  const Walk w = probe(c.memory, c.tlb.mode(), linear);
  if (!w.ok) return std::nullopt;
  return w.physical;
}

u64 Debugger::unmapped_bytes(unsigned cpu, u64 linear) const {
  const Cpu& c = board_.processors.at(cpu)->cpu;
  if (!addressable(c, linear)) return c.long_mode() && linear < 0xFFFF'8000'0000'0000 ? 0xFFFF'8000'0000'0000 - linear : ~u64{0};
  const Walk w = probe(c.memory, c.tlb.mode(), linear);
  if (w.ok) return 0;
  const PagingMode& mode = c.tlb.mode();
  const bool wide = mode.long_mode || mode.pae;
  const unsigned level = std::clamp<unsigned>(w.fault.level, 1, 4);
  const unsigned shift = kPageShift + (level - 1) * (wide ? 9 : 10);
  return (u64{1} << shift) - (linear & ((u64{1} << shift) - 1));
}

std::string Debugger::describe_translation(unsigned cpu, u64 linear) const {
  const Cpu& c = board_.processors.at(cpu)->cpu;
  if (!addressable(c, linear)) return fmt::format("{:#x} is no address in this mode\n", linear);
  if (!c.tlb.mode().paging) return fmt::format("{:#x} is physical {:#x}: paging is off\n", linear, c.memory.cpu_address(linear));
  const Walk w = probe(c.memory, c.tlb.mode(), linear);
  static constexpr const char* kLevels[] = {"?", "PTE", "PDE", "PDPTE", "PML4E"};
  std::string text;
  for (unsigned i = 0; i < w.count; i++) {
    const WalkStep& step = w.step[i];
    const u64 e = step.entry;
    std::string bits;
    const auto flag = [&](unsigned n, const char* name) {
      if (e >> n & 1) bits += fmt::format(" {}", name);
    };
    flag(0, "present");
    flag(1, "writable");
    flag(2, "user");
    flag(3, "write-through");
    flag(4, "uncached");
    flag(5, "accessed");
    flag(6, "dirty");
    if (step.level > 1) flag(7, "large");
    flag(8, "global");
    if (w.entry_bytes == 8) flag(63, "no-execute");
    text += fmt::format("{:5} at {:#012x}: {:#018x}{}\n", kLevels[std::min<unsigned>(step.level, 4)], step.address, e, bits);
  }
  if (!w.ok) return text + fmt::format("{:#x} is not mapped: {}\n", linear, describe(w.fault));
  static constexpr std::pair<unsigned, const char*> kSizes[] = {{12, "4 KiB"}, {21, "2 MiB"}, {22, "4 MiB"}, {30, "1 GiB"}};
  const char* size = "?";
  for (const auto& [shift, name] : kSizes)
    if (shift == w.page_shift) size = name;
  const PhysicalPage page = c.memory.page(w.physical);
  return text + fmt::format("{:#x} is physical {:#x} ({}), in a {} page: {}, {}, {}\n", linear, w.physical,
                            page.frame != kNoFrame ? "RAM" : page.host != nullptr ? "ROM" : "no memory", size,
                            w.user ? "user" : "supervisor", w.writable ? "writable" : "read-only",
                            w.no_execute ? "not executable" : "executable");
}

u64 Debugger::cr8(unsigned cpu) const { return board_.processors.at(cpu)->apic.cr8(); }

u64 Debugger::apic_base(unsigned cpu) const {
  constexpr u32 kMsrApicBase = 0x1B;  // SDM 4, IA32_APIC_BASE
  u64 value = 0;
  return board_.processors.at(cpu)->apic.read_msr(kMsrApicBase, value) ? value : 0;
}

u64 Debugger::code_address(unsigned cpu) const {
  const Cpu& c = board_.processors.at(cpu)->cpu;
  return code_linear(c, c.s.rip);
}

std::pair<std::string, unsigned> Debugger::disassemble(unsigned cpu, u64 linear) const {
  u8 bytes[15];
  const std::size_t have = read_linear(cpu, linear, bytes);
  if (have == 0) return {"(no memory)", 0};
  const Disassembly d = callgate::disassemble({bytes, have}, linear, board_.processors.at(cpu)->cpu.code_size());
  return {d.text, d.length};
}

}  // namespace callgate
