// For guests that are tests: how the run ends, and what is said about it on the way. But for
// RESTORE, none of it changes what the guest computes.
#include <algorithm>
#include <string>

#include "paravirt/port_call.h"

namespace callgate::paravirt::calls {

using namespace abi;

namespace {

constexpr u32 kAssertionFailed = 134;  ///< the exit status of a process that called abort()

/// A text of the caller's, printable.
Answer take_text(PortCall& call, u64 from, u64 size, std::string& text) {
  if (size > kMostText) return {kTooBig, kMostText};
  text.resize(size);
  const u64 done = call.memory().read(from, text.data(), size);
  if (done < size) return {kFault, done};
  for (char& c : text)
    if ((c < ' ' && c != '\t') || c == 0x7F) c = '?';
  return {};
}

void say(PortCall& call, std::string text) {
  text += '\n';
  call.host.debug_console().write({reinterpret_cast<const u8*>(text.data()), text.size()});
}

}  // namespace

// EXIT(code): the run ends behind this instruction.
Answer exit(PortCall& call) {
  call.host.power_control().request(PowerEvent::DebugExit, static_cast<u32>(call.arg[0]));
  return {};
}

// ASSERT(condition, text, bytes)
Answer assert_true(PortCall& call) {
  if (call.arg[0] != 0) return {};
  std::string text;
  if (const Answer answer = take_text(call, call.arg[1], call.arg[2], text); answer.status != kOk) return answer;
  say(call, "assertion failed: " + text);
  call.host.power_control().request(PowerEvent::DebugExit, kAssertionFailed);
  return {};
}

// LOG(text, bytes)
Answer log(PortCall& call) {
  std::string text;
  if (const Answer answer = take_text(call, call.arg[0], call.arg[1], text); answer.status != kOk) return answer;
  say(call, std::move(text));
  return {};
}

// MARK(number)
Answer mark(PortCall& call) {
  call.c.log.line(LogChannel::Devices, "cpu {}: mark {:#x} at count {}", call.c.index, call.arg[0], call.c.s.retired);
  return {kOk, call.arg[0]};
}

// BREAK(): the debugger gets control behind this instruction, if there is one.
Answer debug_break(PortCall& call) {
  call.host.debug_break(call.c);
  return {};
}

// SNAPSHOT(slot, flags): the machine behind this instruction is kept, or what was kept there is forgotten. 0 the first time; a RESTORE
// comes out here, too, with its own value.
Answer snapshot(PortCall& call) {
  if (call.arg[0] >= kMostSnapshots) return {kTooBig, kMostSnapshots};
  if (call.arg[1] & ~kSnapshotForget) return {kInvalid, 1};
  const auto slot = static_cast<unsigned>(call.arg[0]);
  if (call.arg[1] & kSnapshotForget) call.host.forget_snapshot(call.c, slot);
  else call.host.keep_snapshot(call.c, slot);
  return {};
}

// RESTORE(slot, value). The value tells the caller of SNAPSHOT which return it is, and fits every mode's register.
Answer restore(PortCall& call) {
  if (call.arg[0] >= kMostSnapshots || !call.host.has_snapshot(static_cast<unsigned>(call.arg[0]))) return {kInvalid, 0};
  if (call.arg[1] == 0 || call.arg[1] > ~u32{0}) return {kInvalid, 1};
  call.host.go_back(call.c, static_cast<unsigned>(call.arg[0]), static_cast<u32>(call.arg[1]));
  return {};
}

// GET_INPUT(where to, at most)
Answer get_input(PortCall& call) { return take_bytes(call, call.state.test, call.arg[0], call.arg[1]); }

}  // namespace callgate::paravirt::calls
