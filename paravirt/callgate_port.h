// Callgate's own interface: one port that is a call (paravirt/ABI.md). Here is how a guest finds it, and how registers become
// arguments. What the calls do is in calls_*.cpp; the list of them in port_table.cpp.
#pragma once

#include "paravirt/host.h"
#include "paravirt/interface.h"
#include "paravirt/port_state.h"

namespace callgate::paravirt {

class CallgatePort final : public Interface {
 public:
  explicit CallgatePort(Host& host);
  ~CallgatePort() override;

  std::string_view signature() const override { return "CallgatePort"; }
  u32 leaves() const override { return 1; }
  CpuidLeaf cpuid(Cpu& c, u32 offset, u32 subleaf) override;
  bool port_call(Cpu& c, u16 port, unsigned size) override;
  HookedCode* hooked_code() override { return &state_.hooks; }
  void reset() override { state_.reset(host_.guest_clock()); }
  void sync(StateIo& io) override { state_.sync(io, host_.guest_clock()); }
  void counts(std::vector<Count>& all) const override { all.push_back({"callgate_calls", calls_}); }
  void order_timers(u32& next) override;
  bool will_wake(const Cpu& c) const override;
  std::size_t console_room() const override { return state_.attached ? state_.console.room() : 0; }
  bool console_attached() const override { return state_.attached; }
  void console_input(std::span<const u8> bytes) override;
  std::size_t test_room() const override { return state_.test.room(); }
  void test_input(std::span<const u8> bytes) override { state_.test.put(bytes); }

  void going_back() override;
  void went_back(std::span<const u64> moved) override;

 private:
  Host& host_;
  PortState state_;
  ByteQueue aside_{kTestQueue};  ///< the test's input, while the machine goes back
  u64 calls_ = 0;  ///< for counts(), not state
};

}  // namespace callgate::paravirt
