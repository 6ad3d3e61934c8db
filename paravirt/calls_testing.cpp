// For guests that are tests: how the run ends, and what is said about it on the way. None of it changes what the guest computes.
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

// GET_INPUT(where to, at most)
Answer get_input(PortCall& call) { return take_bytes(call, call.state.test, call.arg[0], call.arg[1]); }

}  // namespace callgate::paravirt::calls
