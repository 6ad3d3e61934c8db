// VMware's interface, as far as kernels ask it for frequencies: a signature, one leaf, and the port that is a call (the
// "backdoor"). Has no state. Knows nothing of what a VMware machine has beyond that.
#pragma once

#include "paravirt/host.h"
#include "paravirt/interface.h"

namespace callgate::paravirt {

class Vmware final : public Interface {
 public:
  explicit Vmware(Host&) {}
  std::string_view signature() const override { return "VMwareVMware"; }
  u32 leaves() const override { return 0x10; }
  CpuidLeaf cpuid(Cpu& c, u32 offset, u32 subleaf) override;
  bool port_call(Cpu& c, u16 port, unsigned size) override;
  void counts(std::vector<Count>& all) const override { all.push_back({"vmware_commands", commands_}); }

 private:
  u64 commands_ = 0;  ///< for counts(), not state
};

}  // namespace callgate::paravirt
