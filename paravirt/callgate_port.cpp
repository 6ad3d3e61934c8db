#include "paravirt/callgate_port.h"

#include "paravirt/abi.h"

namespace callgate::paravirt {

CpuidLeaf CallgatePort::cpuid(Cpu&, u32, u32) { return {abi::kVersion, abi::kPort, 0, 0}; }

bool CallgatePort::port_call(Cpu& c, u16 port, unsigned size) {
  if (port != abi::kPort || size != 4) return false;
  const u32 number = c.gpr<u32>(RAX);
  abi::Status status = abi::kNoSys;
  if (number == abi::kProbe) {
    status = abi::kOk;
    c.set_gpr<u32>(RBX, abi::kVersion);
  }
  c.set_gpr<u32>(RAX, status);
  return true;
}

}  // namespace callgate::paravirt
