#include "frontend/gdb/stub.h"

#include <fmt/format.h>

#include "frontend/gdb/hex.h"

namespace callgate::gdb {

namespace {

constexpr unsigned kSigInt = 2, kSigTrap = 5, kSigAbort = 6;

// Error numbers mean nothing to GDB; these are Linux's.
constexpr unsigned kInvalid = 22;

std::string thread_id(unsigned cpu) { return fmt::format("{:x}", cpu + 1); }

}  // namespace

Stub::Stub(Machine& machine, Timeline* timeline, View view)
    : machine_(machine), debugger_(machine.debugger()), timeline_(timeline), registers_(view) {
  if (timeline_ != nullptr)
    timeline_->on_progress([this](const Timeline::Progress& progress) {
      tell_progress(progress);
      return !(poll_ && poll_());
    });
}

Stub::~Stub() {
  if (timeline_ != nullptr) timeline_->on_progress({});
  debugger_.clear();
}

// --- the wire -----------------------------------------------------------------------------------------------------

void Stub::connected() {
  reader_ = {};
  if (next_view_) registers_ = RegisterFile(*std::exchange(next_view_, std::nullopt));
  output_.clear();
  last_packet_.clear();
  acks_ = true;
  ack_mode_ends_ = false;
  general_cpu_ = resume_cpu_ = reported_cpu_ = debugger_.current_cpu();
  physical_memory_ = false;
  has_swbreak_ = has_hwbreak_ = false;
  debugger_.resume();
  going_ = Going::Not;
  why_ = stop_reply(kSigTrap, reported_cpu_);
}

void Stub::disconnected() {
  forget_stops();
  output_.clear();
}

void Stub::receive(std::span<const u8> bytes) {
  reader_.feed(bytes);
  while (reader_.any()) {
    const PacketReader::Event event = reader_.next();
    switch (event.kind) {
      case PacketReader::Event::Ack: break;
      case PacketReader::Event::Nack:
        if (acks_) output_ += last_packet_;
        break;
      case PacketReader::Event::Damaged:
        if (acks_) output_ += '-';
        break;
      case PacketReader::Event::Interrupt:
        if (searching_) interrupt_asked_ = true;
        else if (!stopped()) interrupted();
        break;
      case PacketReader::Event::Packet:
        if (acks_) output_ += '+';
        if (searching_) {
          if (event.payload == "vCtrlC") {
            ok();
            interrupt_asked_ = true;
          }
        } else if (stopped()) {
          handle(event.payload);
          if (ack_mode_ends_) acks_ = ack_mode_ends_ = false;
        } else if (event.payload == "vCtrlC") {
          ok();
          interrupted();
        }
    }
  }
}

void Stub::reply(std::string_view payload) {
  last_packet_ = frame(payload);
  output_ += last_packet_;
}

void Stub::error(unsigned number) { reply(fmt::format("E{:02x}", number)); }

// --- stopping -----------------------------------------------------------------------------------------------------

std::string Stub::stop_reply(unsigned signal, unsigned cpu, const std::string& reason) const {
  return fmt::format("T{:02x}{}thread:{};", signal, reason, thread_id(cpu));
}

void Stub::stop_with(std::string text) {
  going_ = Going::Not;
  general_cpu_ = resume_cpu_ = reported_cpu_ = debugger_.current_cpu();
  why_ = std::move(text);
  reply(why_);
}

void Stub::interrupted() {
  debugger_.resume();  // a step that is on is given up
  inside_ = false;
  stop_with(stop_reply(kSigInt, debugger_.current_cpu()));
}

std::string Stub::hit_reply() const {
  const DebugHit& hit = debugger_.hit();
  std::string reason;
  if (hit.kind == DebugHit::Watchpoint && !hit.at.physical) {
    const char* kind = hit.on == WatchOn::Write ? "watch" : hit.on == WatchOn::Read ? "rwatch" : "awatch";
    reason = fmt::format("{}:{:x};", kind, hit.at.address);
  } else if (hit.kind == DebugHit::Breakpoint && !hit.at.physical) {
    // Where CS has a base, the PC that GDB sees is no linear address: it would take the stop for one that it has no
    // breakpoint for any more, and go on. So it is told of a trap, and nothing else.
    const bool seen = pc(hit.cpu) == hit.at.address;
    const auto it = seen ? breaks_.find(hit.at.address) : breaks_.end();
    if (it != breaks_.end() && it->second.software && has_swbreak_) reason = "swbreak:;";
    else if (it != breaks_.end() && it->second.hardware && has_hwbreak_) reason = "hwbreak:;";
  }
  return stop_reply(kSigTrap, hit.cpu, reason);
}

void Stub::tell_progress(const Timeline::Progress& progress) {
  constexpr u64 kBetween = 1'000'000'000;
  if (clock_ == nullptr || !searching_ || clock_() - told_at_ < kBetween) return;
  told_at_ = clock_();
  show(fmt::format("callgate: at count {}, on the way from {} to {}\n", progress.at, progress.from, progress.to));
}

// The PC as GDB sees it.
u64 Stub::pc(unsigned cpu) const {
  u64 value = 0;
  const std::size_t number = registers_.find(registers_.view() == View::X86_64 ? "rip" : "eip");
  const std::vector<u8> bytes = registers_.read(values(cpu), number);
  for (std::size_t i = 0; i < bytes.size(); i++) value |= u64{bytes[i]} << (8 * i);
  return value;
}

// The guest is at its end. It can be looked at, and gone back from; going on ends the run.
void Stub::ended(const Stop& stop) {
  ended_ = stop;
  const char* what = "";
  unsigned signal = kSigTrap;
  switch (stop.reason) {
    case StopReason::PowerOff: what = "the guest powered off"; break;
    case StopReason::Reset: what = "the guest reset itself"; break;
    case StopReason::DebugExit: what = "the guest wrote the debug-exit port"; break;
    case StopReason::Halted: what = "every processor is halted and nothing can wake it"; break;
    case StopReason::Damaged: what = machine_.damage().c_str(); break;
    case StopReason::TripleFault:
      what = "triple fault";
      signal = kSigAbort;
      break;
    default: what = "the recording is over";
  }
  show(fmt::format("callgate: {} (count {})\n", what, machine_.count()));
  stop_with(stop_reply(signal, debugger_.current_cpu(), timeline_ != nullptr ? "replaylog:end;" : ""));
}

// What ends the run when somebody goes on from the guest's end. A recording that is over has no reason of its own.
Stop Stub::whole_end() const {
  return ended_->reason == StopReason::CountReached ? Stop{StopReason::Requested} : *ended_;
}

// --- going on -----------------------------------------------------------------------------------------------------

void Stub::resume(Going how, unsigned cpu) {
  if (ended_ && how != Going::Back && how != Going::StepBack) {
    over_ = whole_end();
    reply(ended_->reason == StopReason::DebugExit ? fmt::format("W{:02x}", ended_->code & 0xFF)
          : ended_->reason == StopReason::TripleFault ? fmt::format("X{:02x}", kSigAbort) : std::string("W00"));
    return;
  }
  if ((how == Going::Back || how == Going::StepBack) && timeline_ == nullptr) return error(kInvalid);
  going_ = how;
  resume_cpu_ = cpu;
  if (how == Going::Stepping) debugger_.step(cpu, !(sstep_ & kStepNoInterrupts));
  else debugger_.resume();
}

bool Stub::range_goes_on() const {
  const u64 at = pc(resume_cpu_);
  return debugger_.hit().kind == DebugHit::Step && at >= range_start_ && at < range_end_;
}

Stop Stub::run(const RunLimits& wanted) {
  const RunLimits limits{std::min(wanted.until_count, end_), wanted.stop_when_idle};
  if (going_ == Going::Back || going_ == Going::StepBack) return run_back();
  for (;;) {
    const u64 before = machine_.count();
    const Stop stop = timeline_ != nullptr ? timeline_->run(limits) : machine_.run(limits);
    if (going_ == Going::Freely) return stop;  // nobody is connected
    switch (stop.reason) {
      case StopReason::Debug:
        if (going_ == Going::Stepping && range_goes_on() && machine_.count() < limits.until_count) {
          debugger_.step(resume_cpu_, !(sstep_ & kStepNoInterrupts));
          continue;
        }
        // A stop in front of an instruction may be behind an interrupt or a fault of the same count.
        inside_ = debugger_.hit().kind == DebugHit::Breakpoint || machine_.count() == before;
        stop_with(hit_reply());
        return stop;
      case StopReason::CountReached:
        if (machine_.count() < end_) return stop;
        ended(stop);
        return {StopReason::Debug};
      case StopReason::Requested:
      case StopReason::Idle: return stop;
      default: ended(stop); return {StopReason::Debug};
    }
  }
}

// --- packets ------------------------------------------------------------------------------------------------------

// "1", "p1.1" and "-1" or "0" (any): the processor's index.
std::optional<unsigned> Stub::thread(Reader& r) const {
  if (r.take("p")) {
    if (r.take("-1")) return reported_cpu_;
    if (!r.number()) return std::nullopt;
    if (!r.take(".")) return reported_cpu_;
  }
  if (r.take("-1")) return reported_cpu_;
  const auto id = r.number();
  if (!id || *id > machine_.cpus()) return std::nullopt;
  return *id == 0 ? reported_cpu_ : static_cast<unsigned>(*id - 1);
}

void Stub::vcont(Reader r) {
  // The first action that fits a processor counts. A step of one and "continue" for the rest is a step: the others run
  // in their turn anyway.
  std::optional<Going> others;
  while (!r.at_end()) {
    std::string_view word = r.until(';');
    Reader action(word);
    Going how = Going::On;
    range_start_ = range_end_ = 0;
    if (action.take("s")) how = Going::Stepping;
    else if (action.take("S") && action.number()) how = Going::Stepping;
    else if (action.take("C") && action.number()) how = Going::On;
    else if (action.take("r")) {
      const auto start = action.number_then(",");
      const auto end = start ? action.number() : std::nullopt;
      if (!end) return error(kInvalid);
      how = Going::Stepping;
      range_start_ = *start;
      range_end_ = *end;
    } else if (!action.take("c")) {
      return error(kInvalid);
    }
    std::optional<unsigned> cpu = general_cpu_;
    const bool named = action.take(":");
    if (named) cpu = thread(action);
    if (!cpu) return error(kInvalid);
    if (how == Going::Stepping) return resume(how, *cpu);
    if (!others) others = how;
  }
  if (!others) return error(kInvalid);
  resume(*others, general_cpu_);
}

RegisterValues Stub::values(unsigned cpu) const {
  return {machine_.cpu_state(cpu), debugger_.cr8(cpu), debugger_.apic_base(cpu)};
}

// Everything that the debugger changes comes by here or by changed() alone.
bool Stub::set_values(unsigned cpu, const RegisterValues& before, const RegisterValues& now) {
  if (registers_.read_all(before) == registers_.read_all(now)) return true;
  CpuState s = now.s;
  s.gpr[kGprRip] = s.rip;
  machine_.set_cpu_state(cpu, s);
  changed();
  return true;
}

void Stub::changed() {
  if (timeline_ != nullptr) timeline_->branch();
  inside_ = false;
}

void Stub::registers_packet(char kind, Reader r) {
  const RegisterValues before = values(general_cpu_);
  if (kind == 'g') return reply(to_hex(registers_.read_all(before)));
  RegisterValues now = before;
  if (kind == 'G') {
    const auto bytes = from_hex(r.rest());
    if (!bytes || !registers_.write_all(now, *bytes)) return error(kInvalid);
    set_values(general_cpu_, before, now);
    return ok();
  }
  const auto number = r.number();
  if (!number || *number >= registers_.count()) return error(kInvalid);
  if (kind == 'p') return reply(to_hex(registers_.read(before, *number)));
  const auto bytes = r.take("=") ? from_hex(r.rest()) : std::nullopt;
  if (!bytes || !registers_.write(now, *number, *bytes)) return error(kInvalid);
  set_values(general_cpu_, before, now);
  ok();
}

void Stub::handle(const std::string& packet) {
  if (packet.empty()) return reply("");
  Reader r(std::string_view(packet).substr(1));
  const char kind = packet[0];
  switch (kind) {
    case '?': return reply(why_);
    case 'g': case 'G': case 'p': case 'P': return registers_packet(kind, r);
    case 'm': case 'x': return read_packet(r, kind == 'x');
    case 'M': case 'X': return write_packet(r, kind == 'X');
    case 'Z': case 'z': return insert_or_remove(kind == 'Z', r);
    case 'q': return query(r, packet);
    case 'Q': return set_query(r);
    case 'v': return verbose(r);
    case 'H': {
      const bool general = r.take("g");
      if (!general && !r.take("c")) return error(kInvalid);
      const auto cpu = thread(r);
      if (!cpu) return error(kInvalid);
      (general ? general_cpu_ : resume_cpu_) = *cpu;
      return ok();
    }
    case 'T': return thread(r) ? ok() : error(kInvalid);
    case 'c': case 's': case 'C': case 'S': {
      if (kind == 'C' || kind == 'S') {
        if (!r.number()) return error(kInvalid);
        r.take(";");
      }
      if (!r.at_end()) {  // from another address
        const auto address = r.number();
        if (!address) return error(kInvalid);
        const RegisterValues before = values(resume_cpu_);
        RegisterValues now = before;
        now.s.rip = *address;
        set_values(resume_cpu_, before, now);
      }
      range_start_ = range_end_ = 0;
      return resume(kind == 's' || kind == 'S' ? Going::Stepping : Going::On, resume_cpu_);
    }
    case 'b':
      if (packet == "bc") return resume(Going::Back, general_cpu_);
      if (packet == "bs") return resume(Going::StepBack, general_cpu_);
      return reply("");
    case 'D':
      ok();
      forget_stops();
      going_ = Going::Freely;
      if (ended_) over_ = whole_end();
      return;
    case 'k':
      over_ = Stop{StopReason::Requested};
      return reply("X09");  // GDB doesn't wait for it, LLDB does
    default: return reply("");
  }
}

}  // namespace callgate::gdb
