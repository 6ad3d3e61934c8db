// Z and z: breakpoints with their conditions, and watchpoints. GDB sets and removes them around every stop.
#include <algorithm>

#include "frontend/gdb/agent_expression.h"
#include "frontend/gdb/hex.h"
#include "frontend/gdb/stub.h"

namespace callgate::gdb {

namespace {
constexpr unsigned kInvalid = 22;
}

void Stub::insert_or_remove(bool insert, Reader r) {
  const auto type = r.number_then(",");
  const auto address = type ? r.number_then(",") : std::nullopt;
  const auto size = address ? r.number() : std::nullopt;
  if (!size) return error(kInvalid);
  if (*type > 4) return reply("");
  if (*type >= 2) {
    const WatchOn on = *type == 2 ? WatchOn::Write : *type == 3 ? WatchOn::Read : WatchOn::Access;
    const Watchpoint w{{*address, physical_memory_}, *size, on, std::nullopt};
    if (*size == 0 || *address + (*size - 1) < *address) return error(kInvalid);
    if (insert) debugger_.add_watchpoint(w);
    else if (!debugger_.remove_watchpoint(w)) return error(kInvalid);
    return ok();
  }
  if (!insert) {
    const auto it = breaks_.find(*address);
    bool& set = it != breaks_.end() && *type == 0 ? it->second.software : it->second.hardware;
    if (it == breaks_.end() || !set) return error(kInvalid);
    set = false;
    apply(*address);
    return ok();
  }
  std::vector<std::vector<u8>> conditions;
  while (r.take(";")) {
    while (r.take("X")) {
      const auto length = r.number_then(",");
      if (!length || *length > r.rest().size() / 2) return error(kInvalid);
      const auto code = from_hex(r.rest().substr(0, 2 * *length));
      if (!code) return error(kInvalid);
      r = Reader(r.rest().substr(2 * *length));
      conditions.push_back(*code);
    }
    if (r.take("cmds:")) break;  // commands that would run here: GDB runs them itself when it isn't answered "cmds+"
  }
  GdbBreak& b = breaks_[*address];
  (*type == 0 ? b.software : b.hardware) = true;
  b.conditions = std::move(conditions);
  apply(*address);
  ok();
}

// Makes the machine's breakpoint what the packets say.
void Stub::apply(u64 address) {
  const auto it = breaks_.find(address);
  if (it == breaks_.end()) return;
  if (!it->second.software && !it->second.hardware) {
    breaks_.erase(it);
    debugger_.remove_breakpoint({address, false});
    return;
  }
  Breakpoint b;
  b.at = {address, false};
  const auto space = spaces_.find(address);
  b.cr3 = space != spaces_.end() ? space->second : every_space_;
  if (!it->second.conditions.empty())
    b.condition = [this, conditions = it->second.conditions](unsigned cpu) { return condition_holds(conditions, cpu); };
  debugger_.add_breakpoint(std::move(b));
}

bool Stub::condition_holds(const std::vector<std::vector<u8>>& conditions, unsigned cpu) const {
  std::optional<RegisterValues> state;
  const AgentContext context{
      [&](unsigned number) -> std::optional<u64> {
        if (number >= registers_.count()) return std::nullopt;
        if (!state) state = values(cpu);
        u64 value = 0;
        const std::vector<u8> bytes = registers_.read(*state, number);
        for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); i++) value |= u64{bytes[i]} << (8 * i);
        return value;
      },
      [&](u64 address, unsigned size) -> std::optional<u64> {
        u8 bytes[8] = {};
        if (debugger_.read_linear(cpu, address, {bytes, size}) != size) return std::nullopt;
        u64 value = 0;
        for (unsigned i = 0; i < size; i++) value |= u64{bytes[i]} << (8 * i);
        return value;
      }};
  return std::any_of(conditions.begin(), conditions.end(),
                     [&](const std::vector<u8>& code) { return evaluate(code, context).value_or(1) != 0; });
}

void Stub::forget_stops() {
  breaks_.clear();
  spaces_.clear();
  every_space_.reset();
  debugger_.clear();
  debugger_.resume();
}

}  // namespace callgate::gdb
