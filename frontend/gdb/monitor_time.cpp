// Going back: bs and bc, and the monitor's commands about time. The timeline does the work; the scans say what to stop at.
#include <fmt/format.h>

#include <charconv>

#include "frontend/gdb/stub.h"

namespace callgate::gdb {

namespace {
constexpr const char* kNoHistory = "the machine keeps no history: run it with --history SIZE\n";
}

// Goes to the first moment of a count. Breakpoints don't hold the machine on the way.
bool Stub::seek(u64 count, std::string& text) {
  debugger_.enable(false);
  const Searching searching(*this);
  const auto arrival = timeline_->seek(count, true);
  debugger_.enable(true);
  debugger_.resume();
  inside_ = false;
  ended_.reset();
  switch (arrival) {
    case Timeline::Arrival::There: return true;
    case Timeline::Arrival::Begin: text = "that is before the beginning of history, where the machine stands now\n"; break;
    case Timeline::Arrival::Stopped: text = "the guest ended its run before that; the machine stands there\n"; break;
    case Timeline::Arrival::Interrupted: text = "interrupted\n"; break;
  }
  return false;
}

Stop Stub::run_back() {
  const Going how = going_;
  const unsigned cpu = resume_cpu_;
  const u64 here = machine_.count();
  const u64 pc = debugger_.code_address(debugger_.current_cpu());
  std::string text;
  const auto finish = [&](std::string reply) {
    stop_with(std::move(reply));
    return Stop{StopReason::Debug};
  };
  const auto arrived = [&](Timeline::Arrival arrival) {
    if (arrival == Timeline::Arrival::Interrupted) return finish(stop_reply(2, debugger_.current_cpu()));
    seek(timeline_->begin(), text);
    return finish(stop_reply(5, debugger_.current_cpu(), "replaylog:begin;"));
  };
  ended_.reset();

  if (how == Going::StepBack) {
    // Behind an interrupt or a fault of this count the step is back to where it hit.
    if (inside_ && seek(here, text) && debugger_.code_address(debugger_.current_cpu()) != pc)
      return finish(stop_reply(5, debugger_.current_cpu()));
    if (here <= timeline_->begin()) return arrived(Timeline::Arrival::Begin);
    if (!seek(here - 1, text) || ((sstep_ & kStepNoInterrupts) && !leave_handlers(cpu, text))) return arrived(text == "interrupted\n" ? Timeline::Arrival::Interrupted : Timeline::Arrival::Begin);
    return finish(stop_reply(5, debugger_.current_cpu()));
  }

  // Stops in (begin, here), the last of which counts. A breakpoint at the place where we stand is behind us.
  debugger_.resume();
  const auto scan = [&](u64 until) {
    const u64 from = machine_.count();
    debugger_.resume();
    for (;;) {
      const Stop stop = machine_.run({.until_count = until});
      if (stop.reason == StopReason::Debug && machine_.count() == from) {
        debugger_.resume();  // the place where the scan began is reported already
        continue;
      }
      return stop.reason == StopReason::Debug;
    }
  };
  debugger_.enable(true);
  const Searching searching(*this);
  const auto found = timeline_->find_last(here, scan);
  if (found.arrival != Timeline::Arrival::There) return arrived(found.arrival);
  // The scan ran up to the stop, and so do we: from just before its count, for it may lie behind an interrupt.
  if (found.count > timeline_->begin()) seek(found.count - 1, text);
  else seek(found.count, text);
  for (unsigned n = 0; n < 1000; n++) {
    const Stop stop = timeline_->run({.until_count = found.count + 1});
    if (stop.reason != StopReason::Debug) break;
    if (machine_.count() == found.count) {
      inside_ = debugger_.hit().kind == DebugHit::Breakpoint;
      return finish(hit_reply());
    }
    debugger_.resume();
  }
  seek(found.count, text);
  return finish(stop_reply(5, debugger_.current_cpu()));
}

// A step back that came to the end of an interrupt's handler goes on to before the instruction that came before the interrupt.
bool Stub::leave_handlers(unsigned cpu, std::string& text) {
  constexpr u64 kLongestHandler = 2'000'000;  // beyond that, it is no handler any more but another task
  constexpr unsigned kMostInARow = 100;
  for (unsigned n = 0; n < kMostInARow; n++) {
    if (!debugger_.disassemble(cpu, debugger_.code_address(cpu)).first.starts_with("iret")) return true;
    // Where does it return to, and was that place interrupted?
    const u64 last = machine_.count();
    debugger_.enable(false);
    timeline_->run({.until_count = last + 1});
    const Debugger::InterruptedAt place{debugger_.code_address(cpu), machine_.cpu_state(cpu).gpr[RSP]};
    if (!seek(last - std::min(last - timeline_->begin(), kLongestHandler), text)) return false;
    std::optional<u64> interrupted;
    const auto breakpoints = debugger_.breakpoints();
    const auto watchpoints = debugger_.watchpoints();
    debugger_.clear();
    debugger_.stop_on_interrupt(place);
    while (timeline_->run({.until_count = last}).reason == StopReason::Debug) {
      interrupted = machine_.count();
      debugger_.resume();
    }
    debugger_.clear();
    for (const auto& [where, b] : breakpoints) debugger_.add_breakpoint(b);
    for (const Watchpoint& w : watchpoints) debugger_.add_watchpoint(w);
    if (!interrupted || *interrupted <= timeline_->begin()) return seek(last, text);  // the handler of a fault
    if (!seek(*interrupted - 1, text)) return false;
  }
  return true;
}

std::string Stub::monitor_time(const std::string& word, const std::vector<std::string>& arguments) {
  if (timeline_ == nullptr) return kNoHistory;
  if (word == "mark") {
    if (arguments.empty()) {
      std::string text;
      for (const auto& [name, count] : timeline_->marks()) text += fmt::format("{} {}\n", name, count);
      return text.empty() ? "there are no marks\n" : text;
    }
    timeline_->mark(arguments[0]);
    return fmt::format("{} is count {}\n", arguments[0], machine_.count());
  }
  if (arguments.empty()) return "which one?\n";
  if (word == "unmark") return timeline_->unmark(arguments[0]) ? "forgotten\n" : "there is no such mark\n";
  if (word == "last-write") {
    const auto address = address_of(arguments[0]);
    const auto size = arguments.size() > 1 ? address_of(arguments[1]) : std::optional<u64>(1);
    if (!address || !size || *size == 0 || *size > 4096) return "write last-write ADDR, and perhaps how many bytes\n";
    return last_write(*address, *size, physical_memory_);
  }
  // goto
  const std::string& to = arguments[0];
  u64 count = 0;
  const auto mark = timeline_->marks().find(to);
  if (mark != timeline_->marks().end()) {
    count = mark->second;
  } else if (to == "begin") {
    count = timeline_->begin();
  } else if (to == "end") {
    count = timeline_->end();
  } else {
    const bool back = to[0] == '-', on = to[0] == '+';
    const auto number = address_of(to.substr(back || on ? 1 : 0));
    if (!number) return "there is no mark \"" + to + "\", and it is no number\n";
    const u64 here = machine_.count();
    count = back ? here - std::min(here, *number) : on ? here + std::min(*number, ~here) : *number;
  }
  std::string text;
  seek(count, text);
  general_cpu_ = resume_cpu_ = reported_cpu_ = debugger_.current_cpu();
  why_ = stop_reply(5, reported_cpu_);
  return text + where() + "(GDB still shows the old registers: type \"maintenance flush register-cache\", or step)\n";
}

std::string Stub::last_write(u64 linear, u64 size, bool physical) {
  const auto at = physical ? std::optional(linear) : debugger_.translate(general_cpu_, linear);
  if (!at) return fmt::format("{:#x} is not mapped\n", linear);
  if ((*at & 0xFFF) + size > 0x1000) return "the bytes must lie in one page\n";
  // Only this watch: what the user set must not stop the search.
  const auto breakpoints = debugger_.breakpoints();
  const auto watchpoints = debugger_.watchpoints();
  debugger_.clear();
  debugger_.add_watchpoint({{*at, true}, size, WatchOn::Write, std::nullopt});
  const auto scan = [&](u64 until) {
    for (;;) {
      const u64 from = machine_.count();
      debugger_.resume();
      const Stop stop = machine_.run({.until_count = until});
      if (stop.reason != StopReason::Debug) return false;
      if (machine_.count() != from) return true;
    }
  };
  const Searching searching(*this);
  const auto found = timeline_->find_last(machine_.count() + 1, scan, PhysicalRange{*at, size});
  std::string text;
  debugger_.clear();
  if (found.arrival == Timeline::Arrival::Interrupted) {
    text = "interrupted\n";
  } else if (found.arrival != Timeline::Arrival::There) {
    text = fmt::format("nobody wrote {:#x} (physical {:#x}) since count {}\n", linear, *at, timeline_->begin());
  } else {
    const u64 here = machine_.count();
    debugger_.enable(false);
    timeline_->seek(found.count - 1, true);
    const unsigned cpu = debugger_.current_cpu();
    const auto [instruction, length] = debugger_.disassemble(cpu, debugger_.code_address(cpu));
    text = fmt::format("{:#x} was last written by the instruction that ends at count {} (CPU#{}):\n  {:#x}: {}\n", linear,
                       found.count, cpu, machine_.cpu_state(cpu).rip, instruction);
    std::vector<u8> bytes(size);
    debugger_.read_physical(*at, bytes);
    const std::string before = fmt::format("{:02x}", fmt::join(bytes, " "));
    timeline_->seek(found.count, true);
    debugger_.read_physical(*at, bytes);
    if (size <= 16) text += fmt::format("  {} became {:02x}\n", before, fmt::join(bytes, " "));
    text += fmt::format("(monitor goto {} goes to where it is about to happen)\n", found.count - 1);
    timeline_->seek(here);
    debugger_.enable(true);
  }
  for (const auto& [where, b] : breakpoints) debugger_.add_breakpoint(b);
  for (const Watchpoint& w : watchpoints) debugger_.add_watchpoint(w);
  debugger_.resume();
  return text;
}

}  // namespace callgate::gdb
