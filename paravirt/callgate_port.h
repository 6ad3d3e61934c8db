// Callgate's own interface: one port that is a call (paravirt/ABI.md). Here is how a guest finds it, and which call is whose.
#pragma once

#include "paravirt/host.h"
#include "paravirt/interface.h"

namespace callgate::paravirt {

class CallgatePort final : public Interface {
 public:
  explicit CallgatePort(Host& host) : host_(host) {}

  std::string_view signature() const override { return "CallgatePort"; }
  u32 leaves() const override { return 1; }
  CpuidLeaf cpuid(Cpu& c, u32 offset, u32 subleaf) override;
  bool port_call(Cpu& c, u16 port, unsigned size) override;

 private:
  [[maybe_unused]] Host& host_;
};

}  // namespace callgate::paravirt
