#include "cpu/system/io.h"

#include "cpu/system/debug.h"
#include "cpu/system/helpers.h"
#include "cpu/system/segments.h"

namespace callgate {

namespace {
constexpr u64 kIoMapBase = 0x66;  // SDM 3A, 32-Bit Task-State Segment: the offset of the I/O map; the 64-bit TSS too
constexpr u32 kSmallestTssLimit = 0x67;
}  // namespace

void check_io_permission(Cpu& c, u16 port, unsigned size) {
  if (!c.protected_mode() || (!c.v86() && c.cpl() <= c.s.flags.iopl())) return;
  const Segment& tss = c.s.tr;
  const unsigned type = tss.type();
  if (tss.unusable() || (type != kTssAvailable && type != kTssBusy) || tss.limit < kSmallestTssLimit)
    raise(Vector::GP, 0, "port {0:#x} at CPL {1}: the TSS has no I/O permission bitmap", port, c.cpl());
  const u32 map = c.load_linear<u16>(system_linear(c, tss.base, kIoMapBase), true);
  // Two bytes are always read, so that an access over a byte's end needs no second look: the bitmap ends in a byte of
  // ones.
  const u32 byte = map + port / 8u;
  if (byte + 1 > tss.limit)
    raise(Vector::GP, 0, "port {0:#x} at CPL {1}: beyond the I/O permission bitmap", port, c.cpl());
  const u32 denied = c.load_linear<u16>(system_linear(c, tss.base, byte), true) >> (port & 7) & low_mask(size);
  if (denied) raise(Vector::GP, 0, "port {0:#x} at CPL {1}: denied by the I/O permission bitmap", port, c.cpl());
}

u32 read_port(Cpu& c, u16 port, unsigned size) {
  check_io_breakpoints(c, port, size);
  const u32 value = c.platform.io_read(port, size) & static_cast<u32>(low_mask(8 * size));
  c.log.line(LogChannel::Io, "in{} {:#06x} -> {:#x}", size, port, value);
  return value;
}

void write_port(Cpu& c, u16 port, unsigned size, u32 value) {
  check_io_breakpoints(c, port, size);
  value &= static_cast<u32>(low_mask(8 * size));
  c.log.line(LogChannel::Io, "out{} {:#06x} <- {:#x}", size, port, value);
  c.platform.io_write(port, size, value);
}

namespace helpers {

namespace {
// E4 to E7 have the port as an immediate, EC to EF in DX; an even opcode moves a byte.
u16 port_of(const Cpu& c, const Insn& i) { return i.opcode & 8 ? c.gpr<u16>(RDX) : static_cast<u8>(i.imm); }
unsigned size_of(const Insn& i) { return !(i.opcode & 1) ? 1 : i.width == 2 ? 2 : 4; }
}  // namespace

void in(Cpu& c, const Insn& i) {
  const u16 port = port_of(c, i);
  const unsigned size = size_of(i);
  check_io_permission(c, port, size);
  if (c.hypervisor != nullptr && c.hypervisor->port_call(c, port, size)) return check_io_breakpoints(c, port, size);
  const u32 value = read_port(c, port, size);
  if (size == 1)
    c.set_gpr<u8>(RAX, static_cast<u8>(value));
  else if (size == 2)
    c.set_gpr<u16>(RAX, static_cast<u16>(value));
  else
    c.set_gpr<u32>(RAX, value);
}

void out(Cpu& c, const Insn& i) {
  const u16 port = port_of(c, i);
  const unsigned size = size_of(i);
  check_io_permission(c, port, size);
  write_port(c, port, size, c.gpr<u32>(RAX));
}

}  // namespace helpers
}  // namespace callgate
