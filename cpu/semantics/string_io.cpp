// INS and OUTS. A step is one iteration: each reaches a device.
#include "cpu/semantics/string.h"
#include "cpu/semantics/string_work.h"
#include "cpu/system/io.h"

namespace callgate::helpers {

namespace {

/// The destination is checked before the port is read: a read has effects that a restart would repeat.
void ins_of(Cpu& c, const Insn& i, unsigned size) {
  StringWork w(c, i, size);
  const u16 port = c.gpr<u16>(RDX);
  check_io_permission(c, port, size);  // also when nothing is to be moved, as processors do
  if (w.left() == 0) return;
  c.probe_write(ES, w.di(), size);
  const u32 value = read_port(c, port, size);
  switch (size) {
    case 4: c.store<u32>(ES, w.di(), value); break;
    case 2: c.store<u16>(ES, w.di(), static_cast<u16>(value)); break;
    default: c.store<u8>(ES, w.di(), static_cast<u8>(value));
  }
  w.advance_di(1);
  w.count(1);
  w.finish();
}

void outs_of(Cpu& c, const Insn& i, unsigned size) {
  StringWork w(c, i, size);
  const u16 port = c.gpr<u16>(RDX);
  check_io_permission(c, port, size);  // also when nothing is to be moved, as processors do
  if (w.left() == 0) return;
  u32 value;
  switch (size) {
    case 4: value = c.load<u32>(w.source_segment, w.si()); break;
    case 2: value = c.load<u16>(w.source_segment, w.si()); break;
    default: value = c.load<u8>(w.source_segment, w.si());
  }
  write_port(c, port, size, value);
  w.advance_si(1);
  w.count(1);
  w.finish();
}

/// There is no 8-byte port access: REX.W means 4 bytes.
unsigned port_size(const Insn& i) { return i.width == 2 ? 2 : 4; }

}  // namespace

void insb(Cpu& c, const Insn& i) { ins_of(c, i, 1); }
void ins(Cpu& c, const Insn& i) { ins_of(c, i, port_size(i)); }
void outsb(Cpu& c, const Insn& i) { outs_of(c, i, 1); }
void outs(Cpu& c, const Insn& i) { outs_of(c, i, port_size(i)); }

}  // namespace callgate::helpers
