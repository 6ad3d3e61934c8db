#include "machine/debugger.h"

#include <algorithm>

#include "cpu/interpreter.h"
#include "jit/translator.h"
#include "machine/board.h"

namespace callgate {

// A guest that wants its debugger's attention: OUT of 8AE0h to port 8A00h (Bochs's "return to debugger prompt", without its
// other commands). Nothing happens while nobody listens, and reading tells nothing of it.
class BreakPort final : public BusTarget {
 public:
  static constexpr u16 kPort = 0x8A00;
  static constexpr u64 kBreak = 0x8AE0;
  explicit BreakPort(Debugger& debugger) : debugger_(debugger) {}
  u64 read(u64, unsigned) override { return 0; }
  void write(u64 offset, unsigned size, u64 value) override {
    if (offset == 0 && size == 2 && value == kBreak) debugger_.guest_break();
  }

 private:
  Debugger& debugger_;
};

namespace {
constexpr u64 kRootMask = ~u64{0xFFF};  // CR3 without flags and PCID

bool in_space(const std::optional<u64>& cr3, const Cpu& c) { return !cr3 || ((*cr3 ^ c.s.cr3) & kRootMask) == 0; }
}  // namespace

Debugger::Debugger(Board& board) : board_(board), break_port_(std::make_unique<BreakPort>(*this)) {
  board_.ports.map(BreakPort::kPort, 2, *break_port_);
  board_.on_guest_break = [this](Cpu&) { guest_break(); };
}

Debugger::~Debugger() {
  clear();
  enable(false);
  board_.on_guest_break = nullptr;
  board_.ports.unmap(BreakPort::kPort, 2, *break_port_);
}

// --- stops ------------------------------------------------------------------------------------------------------

void Debugger::add_breakpoint(Breakpoint breakpoint) {
  const DebugAddress at = breakpoint.at;
  breakpoints_.insert_or_assign(at, std::move(breakpoint));
  stop_changed(at);
}

bool Debugger::remove_breakpoint(DebugAddress at) {
  if (breakpoints_.erase(at) == 0) return false;
  stop_changed(at);
  return true;
}

void Debugger::stop_changed(DebugAddress at) {
  arm();
  if (translator_ != nullptr) translator_->stop_changed(at.address, at.physical);
}

void Debugger::add_watchpoint(const Watchpoint& watchpoint) {
  if (watchpoint.size == 0 || std::find(watchpoints_.begin(), watchpoints_.end(), watchpoint) != watchpoints_.end()) return;
  watchpoints_.push_back(watchpoint);
  watch_memory();
}

bool Debugger::remove_watchpoint(const Watchpoint& watchpoint) {
  if (std::erase(watchpoints_, watchpoint) == 0) return false;
  watch_memory();
  return true;
}

void Debugger::clear() {
  while (!breakpoints_.empty()) remove_breakpoint(breakpoints_.begin()->first);
  watchpoints_.clear();
  watch_memory();
  stop_on_interrupt(std::nullopt);
  end_step();
  passed_.reset();
  pending_ = hit_ = {};
}

void Debugger::use(jit::Translator* translator) {
  translator_ = translator;
  translator_->ask_about_watched([this](u64 linear, u64 physical, u64 size) { return touches(linear, physical, size); });
}

void Debugger::enable(bool on) {
  if (on == enabled_) return;
  enabled_ = on;
  if (!on) end_step();
  watch_memory();
}

// Who is asked, and before which instructions. A processor that nobody watches pays for nothing.
void Debugger::arm() {
  const bool wanted = enabled_ && (!breakpoints_.empty() || !watchpoints_.empty() || stepping_ != Stepping::No);
  // Blocks of code end at breakpoints that are only switched off, too.
  const bool asked = wanted || (!enabled_ && !breakpoints_.empty());
  for (auto& p : board_.processors) {
    p->cpu.watch = asked ? this : nullptr;
    p->cpu.watch_each = enabled_ && stepping_ == Stepping::Armed && p->cpu.index == step_cpu_;
    p->cpu.request_attention();
  }
}

void Debugger::watch_memory() {
  arm();
  const bool watching = enabled_ && !watchpoints_.empty();
  if (!watching && !watching_memory_) return;
  watching_memory_ = watching;
  for (auto& p : board_.processors) p->cpu.tlb.set_watch(watching ? this : nullptr);
}

void Debugger::stop_on_interrupt(std::optional<InterruptedAt> place) {
  board_.on_interrupt = nullptr;
  if (!place) return;
  board_.on_interrupt = [this, place](Cpu& c) {
    if (enabled_ && *place == InterruptedAt{code_linear(c, c.s.rip), c.s.gpr[RSP]})
      stop_for({DebugHit::Interrupt, c.index, {place->linear, false}, WatchOn::Write});
  };
}

// --- going on ---------------------------------------------------------------------------------------------------

void Debugger::resume() {
  const Cpu& c = board_.processors[current_cpu_]->cpu;
  passed_ = Place{c.index, c.s.retired, code_linear(c, c.s.rip)};
  pending_ = hit_ = {};
  end_step();
}

void Debugger::step(unsigned cpu, bool into_interrupts) {
  resume();
  const Processor& p = *board_.processors.at(cpu);
  passed_ = Place{cpu, p.cpu.s.retired, code_linear(p.cpu, p.cpu.s.rip)};
  step_cpu_ = cpu;
  into_interrupts_ = into_interrupts;
  interrupts_before_ = p.interrupts_taken;
  step_from_ = passed_->linear;
  step_stack_ = p.cpu.s.gpr[RSP];
  stepping_ = Stepping::Armed;
  arm();
}

void Debugger::end_step() {
  if (stepping_ == Stepping::No) return;
  const bool interrupted = stepping_ == Stepping::InInterrupt;
  stepping_ = Stepping::No;
  arm();
  if (interrupted && translator_ != nullptr) translator_->stop_changed(step_from_, false);
}

void Debugger::stop_for(const DebugHit& hit) {
  pending_ = hit;
  pending_read_ = false;
  board_.end_slice = true;
  board_.processors[hit.cpu]->cpu.request_attention();
}

void Debugger::guest_break() {
  // A run has a debugger when something was resumed.
  if (enabled_ && passed_) stop_for({DebugHit::GuestBreak, current_cpu_, {}, WatchOn::Write});
}

bool Debugger::take_stop() {
  if (pending_.kind == DebugHit::None) return false;
  const DebugHit hit = pending_;
  pending_ = {};
  // An instruction that read a watched byte and then faulted did nothing.
  if (pending_read_ && board_.processors[hit.cpu]->cpu.s.retired == pending_retired_) return false;
  hit_ = hit;
  current_cpu_ = hit.cpu;
  end_step();
  return true;
}

// --- ExecutionWatch -----------------------------------------------------------------------------------------------

const Breakpoint* Debugger::breakpoint_at(Cpu& c, u64 linear) const {
  const auto found = [&](DebugAddress at) -> const Breakpoint* {
    const auto it = breakpoints_.find(at);
    if (it == breakpoints_.end() || !in_space(it->second.cr3, c)) return nullptr;
    if (it->second.condition && !it->second.condition(c.index)) return nullptr;
    return &it->second;
  };
  if (const Breakpoint* b = found({linear, false})) return b;
  // Physical ones sort behind linear ones only at equal addresses, so there is no telling whether there are any.
  const auto physical = translate(c.index, linear);
  return physical ? found({*physical, true}) : nullptr;
}

bool Debugger::stops_before(Cpu& c) {
  if (!enabled_) return false;
  const u64 linear = code_linear(c, c.s.rip);
  if (c.index == step_cpu_ && stepping_ != Stepping::No) {
    const bool interrupted = board_.processors[c.index]->interrupts_taken != interrupts_before_;
    if (stepping_ == Stepping::InInterrupt) {
      if (linear == step_from_ && c.s.gpr[RSP] == step_stack_) {
        // Back from the handler: now for the step.
        stepping_ = Stepping::Armed;
        interrupts_before_ = board_.processors[c.index]->interrupts_taken;
        arm();
        stop_for({DebugHit::Step, c.index, {linear, false}, WatchOn::Write});
        return false;
      }
    } else if (interrupted && into_interrupts_) {
      stop_for({DebugHit::Step, c.index, {linear, false}, WatchOn::Write});
      return true;
    } else if (interrupted) {
      stepping_ = Stepping::InInterrupt;
      arm();
      if (translator_ != nullptr) translator_->stop_changed(step_from_, false);
    } else {
      // The run ends behind this instruction, or where its fault leads.
      stop_for({DebugHit::Step, c.index, {linear, false}, WatchOn::Write});
      return false;
    }
  }
  if (breakpoints_.empty()) return false;
  if (passed_ && passed_->cpu == c.index && passed_->retired == c.s.retired && passed_->linear == linear) return false;
  const Breakpoint* b = breakpoint_at(c, linear);
  if (b == nullptr) return false;
  stop_for({DebugHit::Breakpoint, c.index, b->at, WatchOn::Write});
  return true;
}

// Bytes of one page.
bool Debugger::touches(u64 linear, u64 physical, u64 size) const {
  return std::any_of(watchpoints_.begin(), watchpoints_.end(), [&](const Watchpoint& w) {
    const u64 address = w.at.physical ? physical : linear;
    return w.at.address - address < size || address - w.at.address < w.size;
  });
}

unsigned Debugger::next_stop(u64 linear_page, u64 physical_page, unsigned offset) const {
  u64 first = kPageSize;
  const auto look = [&](u64 page, bool physical) {
    for (auto it = breakpoints_.lower_bound({page + offset, false}); it != breakpoints_.end(); ++it) {
      const u64 at = it->first.address - page;
      if (at >= first) break;
      if (it->first.physical == physical) first = at;
    }
  };
  look(linear_page, false);
  look(physical_page, true);
  if (stepping_ == Stepping::InInterrupt && step_from_ - linear_page >= offset)
    first = std::min(first, step_from_ - linear_page);
  return static_cast<unsigned>(first);
}

bool Debugger::watches(u64 linear_page, u64 physical_page, AccessKind kind) const {
  if (kind == AccessKind::Execute) return false;
  // Who may write may read, too: an instruction that does both asks for the right to write only.
  const unsigned wanted = static_cast<unsigned>(kind == AccessKind::Write ? WatchOn::Access : WatchOn::Read);
  for (const Watchpoint& w : watchpoints_) {
    if (!(static_cast<unsigned>(w.on) & wanted)) continue;
    const u64 page = w.at.physical ? physical_page : linear_page;
    if (w.at.address - page < kPageSize || page - w.at.address < w.size) return true;
  }
  return false;
}

bool Debugger::hits(const Watchpoint& w, Cpu& c, u64 address, u64 size, AccessKind kind, bool physical) {
  const unsigned wanted = static_cast<unsigned>(kind == AccessKind::Write ? WatchOn::Write : WatchOn::Read);
  if (w.at.physical != physical || !(static_cast<unsigned>(w.on) & wanted)) return false;
  const bool overlaps = w.at.address - address < size || address - w.at.address < w.size;
  if (!overlaps || !in_space(w.cr3, c)) return false;
  // The first hit of an instruction is told; one of a write is certain.
  if (pending_.kind == DebugHit::Watchpoint && !pending_read_) return true;
  const u64 first = w.at.address - address < size ? w.at.address : address;
  stop_for({DebugHit::Watchpoint, c.index, {first, physical}, w.on});
  pending_read_ = kind == AccessKind::Read;
  pending_retired_ = c.s.retired;
  return true;
}

void Debugger::accessed(Cpu& c, u64 linear, unsigned size, AccessKind kind) {
  if (!enabled_ || watchpoints_.empty()) return;
  bool any_physical = false;
  for (const Watchpoint& w : watchpoints_) {
    any_physical |= w.at.physical;
    if (hits(w, c, linear, size, kind, false)) return;
  }
  if (!any_physical) return;
  for (u64 at = linear, left = size; left != 0;) {
    const u64 here = std::min<u64>(left, kPageSize - (at & kPageMask));
    if (const auto physical = translate(c.index, at))
      for (const Watchpoint& w : watchpoints_)
        if (hits(w, c, *physical, here, kind, true)) return;
    at = c.bits64() ? at + here : (at + here) & 0xFFFFFFFF;
    left -= here;
  }
}

}  // namespace callgate
