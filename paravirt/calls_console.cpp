// Whole buffers to and from the machine's console, the one that COM1 has.
#include <algorithm>

#include "paravirt/port_call.h"

namespace callgate::paravirt {

using namespace abi;

Answer take_bytes(PortCall& call, ByteQueue& from, u64 to, u64 capacity) {
  const u64 n = std::min<u64>({capacity, from.size(), kMostBytes});
  std::vector<u8> bytes(n);
  for (u64 i = 0; i < n; i++) bytes[i] = from.at(i);
  const u64 done = call.memory().write(to, bytes.data(), n);
  from.drop(done);
  return {done == n ? kOk : kFault, done};
}

namespace calls {

// WRITE(bytes, count)
Answer write(PortCall& call) {
  const u64 from = call.arg[0], count = call.arg[1];
  if (count > kMostRange) return {kTooBig, kMostRange};
  std::vector<u8> bytes(std::min<u64>(count, kMostBytes));
  const u64 done = call.memory().read(from, bytes.data(), bytes.size());
  if (done != 0) call.host.console().write(std::span<const u8>(bytes).first(done));
  if (done < bytes.size()) return {kFault, done};
  return {done < count ? kAgain : kOk, done};
}

// READ(where to, at most)
Answer read(PortCall& call) { return take_bytes(call, call.state.console, call.arg[0], call.arg[1]); }

// ATTACH(whether input comes here, vector of the interrupt that says so or 0). What is in the queue stays there.
Answer attach(PortCall& call) {
  if (call.arg[0] > 1) return {kInvalid, 0};
  if (call.arg[1] > 255 || (call.arg[1] != 0 && call.arg[1] < 16)) return {kInvalid, 1};
  call.state.attached = call.arg[0] == 1;
  call.state.input_vector = static_cast<u8>(call.arg[1]);
  call.state.input_cpu = call.c.index;
  return {};
}

}  // namespace calls
}  // namespace callgate::paravirt
