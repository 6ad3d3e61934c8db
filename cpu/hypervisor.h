// What a hypervisor adds to the processors of its guests: leaves of CPUID, model-specific registers, hypercalls, ports that
// are calls. A processor has one or, on bare metal, none. paravirt/ implements it; what the calls mean is not known here.
#pragma once

#include "cpu/model.h"

namespace callgate {

class Cpu;
class HookedCode;

/// CPUID's leaves that belong to hypervisors. SDM 2A, CPUID: "No existing or future CPU will return processor identification
/// or feature information" there.
constexpr u32 kHypervisorLeaves = 0x40000000, kLastHypervisorLeaf = 0x4000FFFF;
constexpr u32 kCpuid1EcxHypervisor = 1u << 31;

/// The port whose 32-bit reads by the immediate form are calls, when a hypervisor has made it one: what a translator looks for.
/// Any other port may be one, too; it is asked about as it is read.
constexpr u16 kCallPort = 0xE4;

enum class MsrAnswer : u8 {
  Unknown,  ///< the register is not the hypervisor's
  Done,
  Refused,  ///< it is read-only, or does not take the value: #GP(0)
};

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;
  /// A leaf from kHypervisorLeaves to kLastHypervisorLeaf.
  virtual CpuidLeaf cpuid(Cpu& c, u32 leaf, u32 subleaf) = 0;
  /// Registers that the processor itself does not have. RDMSR and WRMSR at CPL 0, or a debugger.
  virtual MsrAnswer read_msr(Cpu& c, u32 index, u64& value) = 0;
  virtual MsrAnswer write_msr(Cpu& c, u32 index, u64 value) = 0;
  /// VMCALL or VMMCALL, at any privilege and in any mode. False: nobody takes it, #UD.
  virtual bool hypercall(Cpu& c) = 0;
  /// IN from a port that the caller is allowed to read. True: it was a call, which has put its results in the registers.
  /// False: a port like any other.
  virtual bool port_call(Cpu& c, u16 port, unsigned size) = 0;
  /// HLT is about to halt `c`. True: it was woken already by one of the hypervisor's own ways, and goes on at once.
  virtual bool takes_wakeup(Cpu& c) = 0;
  /// `c` would wait for another processor: the others have their turns first.
  virtual void yield(Cpu& /*c*/) {}

  HookedCode* hooks = nullptr;  ///< functions that are executed as one instruction (cpu/hooked_code.h); nullptr: none ever
};

}  // namespace callgate
