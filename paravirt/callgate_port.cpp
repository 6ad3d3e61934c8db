#include "paravirt/callgate_port.h"

#include <utility>

#include "paravirt/port_call.h"

namespace callgate::paravirt {

CallgatePort::CallgatePort(Host& host) : host_(host), state_(host.cpu_at(0).memory) {
  for (unsigned n = 0; n < host.cpus(); n++) {
    auto p = std::make_unique<PortCpu>();
    PortCpu* const raw = p.get();
    p->timer.fire = [this, n, raw] { send_interrupt(host_, n, raw->timer_vector); };
    p->wake.fire = [this, n, raw] { wake(host_.cpu_at(n), *raw); };
    state_.cpu.push_back(std::move(p));
  }
}

CallgatePort::~CallgatePort() = default;

CpuidLeaf CallgatePort::cpuid(Cpu&, u32, u32) { return {abi::kVersion, abi::kPort, abi::kFeatures, 0}; }

// Arguments are whole registers in 64-bit mode, else their lower halves; four of them, then, as R8 and R9 are out of reach.
bool CallgatePort::port_call(Cpu& c, u16 port, unsigned size) {
  if (port != abi::kPort || size != 4) return false;
  calls_++;
  const bool wide = c.bits64();
  PortCall call{c, host_, state_, {}, wide};
  constexpr Gpr kArguments[] = {RBX, RCX, RSI, RDI, R8, R9};
  for (unsigned n = 0; n < (wide ? 6u : 4u); n++) call.arg[n] = wide ? c.s.gpr[kArguments[n]] : c.gpr<u32>(kArguments[n]);
  const Answer answer = execute(c.gpr<u32>(RAX), call, false);
  c.set_gpr<u32>(RAX, answer.status);
  if (wide) c.s.gpr[RBX] = answer.value;
  else c.set_gpr<u32>(RBX, static_cast<u32>(answer.value));
  return true;
}

void CallgatePort::order_timers(u32& next) {
  for (auto& p : state_.cpu) {
    p->timer.order = next++;
    p->wake.order = next++;
  }
}

bool CallgatePort::will_wake(const Cpu& c) const {
  const PortCpu& p = *state_.cpu[c.index];
  return asleep(c, p) && p.wake.deadline != kNever;
}

// A test's input is what the next try gets: what was read is read.
void CallgatePort::going_back() { std::swap(aside_, state_.test); }

void CallgatePort::went_back(std::span<const u64> moved) {
  std::swap(aside_, state_.test);
  aside_.clear();
  for (std::size_t n = 0; n < state_.cpu.size(); n++) state_.cpu[n]->slept_at += moved[n];
}

void CallgatePort::console_input(std::span<const u8> bytes) {
  state_.console.put(bytes);
  if (state_.input_vector != 0) send_interrupt(host_, state_.input_cpu, state_.input_vector);
}

}  // namespace callgate::paravirt
