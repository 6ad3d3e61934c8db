// Ref: VMware, "Mechanisms to determine if software is running in a VMware virtual machine" (KB 1009458); Linux,
// arch/x86/include/asm/vmware.h; the VMware hypervisor CPUID interface proposal (leaf 0x40000010).
#include "paravirt/vmware.h"

namespace callgate::paravirt {

namespace {

constexpr u16 kPort = 0x5658;
constexpr u32 kMagic = 0x564D5868;
constexpr u32 kGetVersion = 10, kGetHz = 45;
constexpr u32 kVersion = 6, kProductEsx = 2;
constexpr u32 kNoSuchCommand = 0xFFFFFFFF;
constexpr u32 kTimingLeaf = 0x10;

}  // namespace

// ECX is 0: the backdoor is the port, not VMCALL or VMMCALL.
CpuidLeaf Vmware::cpuid(Cpu&, u32 offset, u32) {
  if (offset != kTimingLeaf) return {};
  return {static_cast<u32>(kTscHz / 1000), static_cast<u32>(kTscHz / 1000), 0, 0};
}

// Guests tell that there is nobody by EBX staying all ones, and that a command is unknown by EAX becoming so.
bool Vmware::port_call(Cpu& c, u16 port, unsigned size) {
  if (port != kPort || size != 4 || c.gpr<u32>(RAX) != kMagic) return false;
  commands_++;
  switch (c.gpr<u32>(RCX) & 0xFFFF) {
    case kGetVersion:
      c.set_gpr<u32>(RAX, kVersion);
      c.set_gpr<u32>(RBX, kMagic);
      c.set_gpr<u32>(RCX, kProductEsx);
      return true;
    case kGetHz:
      c.set_gpr<u32>(RAX, static_cast<u32>(kTscHz));
      c.set_gpr<u32>(RBX, static_cast<u32>(kTscHz >> 32));
      c.set_gpr<u32>(RCX, static_cast<u32>(kTscHz));  // the local APIC's timer, undivided
      return true;
    default:
      c.set_gpr<u32>(RAX, kNoSuchCommand);
      return true;
  }
}

}  // namespace callgate::paravirt
