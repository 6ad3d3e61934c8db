#include "machine/port_map.h"

#include "base/verify.h"

namespace callgate {

void PortMap::map(u16 first, unsigned count, BusTarget& target) {
  VERIFY(first + count <= 0x10000, "a device's ports run over the end of the port space");
  for (unsigned i = 0; i < count; i++) slots_[first + i] = {&target, static_cast<u16>(i), static_cast<u16>(count - i)};
}

void PortMap::unmap(u16 first, unsigned count, BusTarget& target) {
  VERIFY(first + count <= 0x10000, "a device's ports run over the end of the port space");
  for (unsigned i = 0; i < count; i++)
    if (slots_[first + i].target == &target) slots_[first + i] = {};
}

u32 PortMap::read(u16 port, unsigned size) {
  const Slot& slot = slots_[port];
  u32 value = 0;
  if (slot.target != nullptr && slot.left >= size) {
    value = static_cast<u32>(slot.target->read(slot.offset, size));
  } else if (slot.target == nullptr && size == 1) {
    value = 0xFF;
  } else if (size == 1) {
    value = static_cast<u32>(slot.target->read(slot.offset, 1)) & 0xFF;
  } else {
    for (unsigned i = 0; i < size; i++) value |= (read(static_cast<u16>(port + i), 1) & 0xFF) << 8 * i;
  }
  log_.line(LogChannel::Io, "in{} {:#06x} -> {:#x}{}", size * 8, port, value,
            slot.target == nullptr ? " (no device)" : "");
  return value;
}

void PortMap::write(u16 port, unsigned size, u32 value) {
  const Slot& slot = slots_[port];
  log_.line(LogChannel::Io, "out{} {:#06x} <- {:#x}{}", size * 8, port, value,
            slot.target == nullptr ? " (no device)" : "");
  if (slot.target != nullptr && slot.left >= size) {
    slot.target->write(slot.offset, size, value);
  } else if (size > 1) {
    for (unsigned i = 0; i < size; i++) write(static_cast<u16>(port + i), 1, value >> 8 * i & 0xFF);
  }
}

}  // namespace callgate
