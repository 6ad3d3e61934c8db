#include "machine/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/verify.h"
#include "cpu/hooked_code.h"
#include "machine/boot/files.h"
#include "machine/fault_report.h"
#include "machine/guest_cpu.h"
#include "machine/machine_impl.h"
#include "machine/mapped_memory.h"
#include "machine/start_state.h"
#include "machine/teeth.h"

namespace callgate {

namespace {
/// Guest time that each processor runs before the next one's turn, when there are several.
constexpr u64 kQuantum = 20'000;
/// So often the interpreter executes code before the translator does.
constexpr unsigned kInterpretFirst = 2;

}  // namespace

void Machine::Impl::deliver_input() {
  if (!input.any()) return;
  const u64 count_is = count(), now = board.clock.now();
  for (;;) {
    paravirt::Interface* const console = board.paravirt ? board.paravirt->console() : nullptr;
    paravirt::Interface* const test = board.paravirt ? board.paravirt->test() : nullptr;
    const HostInput::Room room = {console != nullptr ? console->console_room() : board.com1.receive_room(),
                                  test != nullptr ? test->test_room() : 0};
    const InputRecord* record = input.take(room, count_is, now);
    if (record == nullptr) return;
    // A journal that is not this run's may have more than there is room for: what did not happen is not made up.
    if (record->channel == InputChannel::Test) {
      if (test != nullptr && record->bytes.size() <= room[1]) test->test_input(record->bytes);
    } else if (console != nullptr) {
      if (record->bytes.size() <= room[0]) console->console_input(record->bytes);
    } else {
      for (const u8 byte : record->bytes) board.com1.receive(byte);
    }
  }
}

// Lets the processor whose turn it is run to the round's end, or for `most` instructions. With one processor, a timer
// that is armed for an earlier moment meanwhile ends the round at that moment; several processors hear of it at the
// round's end, since some have been there already.
void Machine::Impl::run_slice(u64 most) {
  Cpu& cpu = board.processors[round.processor]->cpu;
  const u64 start_count = cpu.s.retired, start_time = round.reached;
  board.clock.set(start_time);
  slice_until = start_count + std::min(round.end - start_time, most);
  if (teeth::active == teeth::Tooth::LateByOne && translator && round.end - start_time <= most && start_count / 100 % 8 == 3) slice_until++;
  board.clock.attach(cpu.s.retired);
  if (board.processors.size() == 1)
    board.clock.on_earlier([&] {
      const u64 deadline = board.clock.next_deadline();
      const u64 until = start_count + (deadline > start_time ? deadline - start_time : 0);
      if (until < slice_until) {
        slice_until = until;
        cpu.request_attention();
      }
    });
  board.end_slice = false;
  debugger.note_running(cpu.index);
  const bool told = board.paravirt && board.processors.size() > 1;
  if (told) board.paravirt->slice_begins(cpu);
  if (translator) translator->run(cpu, slice_until, board.end_slice);
  else interpreter.run(cpu, slice_until, board.end_slice);
  if (told) board.paravirt->slice_ends(cpu);
  board.clock.on_earlier(nullptr);
  board.clock.detach();
  round.reached = board.turn_given_up ? round.end : board.clock.processor_now();
  board.turn_given_up = false;
}

// Runs the round on. Where something ends the run in the middle of it, the round stays active.
void Machine::Impl::run_round(u64 until_count) {
  const u32 processors = static_cast<u32>(board.processors.size());
  for (; round.processor < processors; round.processor++, round.reached = round.start) {
    Processor& p = *board.processors[round.processor];
    while (ready(p) && round.reached < round.end) {
      const u64 done = count();
      if (done >= until_count) return;
      const u64 before = p.cpu.s.retired;
      run_slice(until_count - done);
      if (processors == 1) return end_round(round.reached);
      if (board.guest_snapshots.wish != GuestSnapshots::Wish::None) return;
      if (board.power.any || p.was_shut_down || debugger.stop_pending() || !damage.empty()) return;
      if (p.cpu.s.retired == before) break;  // it halted at once
    }
  }
  end_round(round.end);
}

void Machine::Impl::end_round(u64 time) {
  board.clock.set(time);
  round = {};
}

std::optional<Stop> Machine::Impl::handle_power() {
  if (!board.power.any) return std::nullopt;
  const auto power = board.power;
  board.power = {};
  switch (power.event) {
    case PowerEvent::Off: return Stop{StopReason::PowerOff};
    case PowerEvent::DebugExit: return Stop{StopReason::DebugExit, power.code};
    case PowerEvent::Reset:
      if (!plan && late_plan && !config.reset_stops) plan = late_plan();
      if (!damage.empty()) return Stop{StopReason::Damaged};
      if (config.reset_stops || !plan) return Stop{StopReason::Reset};
      board.reset();
      round = {};
      apply_plan(board, *plan);
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<Stop> Machine::Impl::dead_end() {
  bool wakeable = false;
  for (const auto& p : board.processors) {
    if (p->was_shut_down) return Stop{StopReason::TripleFault};
    const CpuState& s = p->cpu.s;
    wakeable |= s.activity == Activity::Halted && board.paravirt && board.paravirt->will_wake(p->cpu);
    wakeable |= s.activity == Activity::Running || (s.activity == Activity::Halted && s.flags.test(kIF));
  }
  if (!wakeable) return Stop{StopReason::Halted};
  return std::nullopt;
}

// Between rounds: timers, inputs, halted time. A stop, or the next round.
std::optional<Stop> Machine::Impl::start_round(const RunLimits& limits) {
  for (;;) {
    if (board.clock.next_deadline() <= board.clock.now()) {
      timer_events++;
      board.clock.fire_due();
    }
    deliver_input();
    bool any_ready = false;
    for (auto& p : board.processors) any_ready |= ready(*p);
    const u64 next = board.clock.next_deadline(), now = board.clock.now();
    if (any_ready) {
      idle_reported = false;
      const u64 longest = board.processors.size() == 1 ? kLongestSlice : kQuantum;
      round = {true, 0, now, now + std::min(next - now, longest), now};
      return std::nullopt;
    }
    if (auto stop = dead_end()) return stop;
    if (next == kNever || (limits.stop_when_idle && !idle_reported)) {
      idle_reported = true;  // the next call goes on from here
      return Stop{StopReason::Idle, 0, next == kNever ? kNever : next - now};
    }
    // Timers that wake nobody may go on for ever.
    if (stop_requested.exchange(false)) return Stop{StopReason::Requested};
    idle_reported = false;
    idle_skips++;
    board.clock.set(next);
  }
}

Stop Machine::Impl::run(const RunLimits& limits) {
  for (;;) {
    if (!damage.empty()) return {StopReason::Damaged};
    if (auto stop = handle_power()) return *stop;
    if (stop_requested.exchange(false)) return {StopReason::Requested};
    if (count() < limits.until_count && take_state()) continue;
    if (round.active && board.guest_snapshots.restored_at == count() && count() < limits.until_count) deliver_input();
    if (!round.active) {
      if (count() >= limits.until_count) return {StopReason::CountReached};
      if (auto stop = start_round(limits)) return *stop;
    }
    // A record of the journal is delivered at the very count where it was taken.
    const u64 next_input = input.next_count();
    run_round(next_input > count() ? std::min(limits.until_count, next_input) : limits.until_count);
    if (board.guest_snapshots.wish != GuestSnapshots::Wish::None) grant_wish();
    if (board.power.any || !damage.empty()) continue;
    for (const auto& p : board.processors)
      if (p->was_shut_down) return {StopReason::TripleFault};
    if (debugger.take_stop()) return {StopReason::Debug};
    if (count() >= limits.until_count) return {StopReason::CountReached};
  }
}

// --- the public face ------------------------------------------------------------------------------------------

Machine::Machine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Machine::~Machine() = default;

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config) {
  if (config.ram_bytes % kPageSize != 0 || config.ram_bytes < (u64{1} << 20) || config.ram_bytes > (u64{64} << 30))
    return fail(ErrorKind::BadArgument,
                "the guest's RAM must be 1 MiB to 64 GiB and a multiple of 4 KiB: choose another size with -m");
  if (config.cpus < 1 || config.cpus > 64)
    return fail(ErrorKind::BadArgument, "the guest can have 1 to 64 processors: choose another number with --smp");
  if (!is_cpu_model(config.cpu_model))
    return fail(ErrorKind::BadArgument, fmt::format("there is no CPU model \"{}\": there are {}", config.cpu_model, cpu_models()));
  if (config.paravirt & ~paravirt::available())
    return fail(ErrorKind::BadArgument, "the machine has paravirtual interfaces that this build lacks");
  auto ram = Ram::create(config.ram_bytes);
  if (!ram) return tl::make_unexpected(ram.error());
  auto impl = std::make_unique<Impl>(config, std::move(*ram));
  if (config.engine == Engine::Translator) {
    const TranslatorTuning& t = config.translator;
    auto translator = jit::Translator::create(impl->board.memory, impl->interpreter,
                                              {.code_bytes = static_cast<std::size_t>(t.code_bytes),
                                               .chaining = t.chaining,
                                               .passes = t.passes,
                                               .most_insns = t.most_insns,
                                               .flush_every = t.flush_every,
                                               .split_seed = t.split_seed,
                                               .interpret_first = kInterpretFirst,
                                               .promote_after = t.promote_after,
                                               .verify = t.verify});
    if (!translator) return tl::make_unexpected(translator.error());
    impl->translator = std::move(*translator);
    impl->debugger.use(impl->translator.get());
  }
  return std::unique_ptr<Machine>(new Machine(std::move(impl)));
}

Result<u32> parse_paravirt(std::string_view text) { return paravirt::parse(text); }
std::string paravirt_text(u32 set) { return paravirt::text_of(set); }

Engine default_engine() { return jit::translator_supported() ? Engine::Translator : Engine::Interpreter; }

const MachineConfig& Machine::config() const { return impl_->config; }

Result<> Machine::load_kernel(const std::string& kernel, const std::optional<std::string>& initrd,
                              const std::string& command_line, const boot::BootOptions& options) {
  auto inputs = boot::read_boot_files(kernel, initrd, command_line, memory_map());
  if (!inputs) return tl::make_unexpected(inputs.error());
  return load(std::move(*inputs), options);
}

Result<> Machine::load(boot::BootInputs inputs, const boot::BootOptions& options) {
  auto plan = boot::plan_boot(std::move(inputs), options);
  if (!plan) return tl::make_unexpected(plan.error());
  impl_->description = plan->description;
  impl_->plan = std::move(*plan);
  apply_plan(impl_->board, *impl_->plan);
  return {};
}

boot::MemoryMap Machine::memory_map() const { return impl_->board.memory_map(); }
const std::string& Machine::boot_description() const { return impl_->description; }
Stop Machine::run(const RunLimits& limits) { return impl_->run(limits); }
Stop Machine::step() { return impl_->run({.until_count = impl_->count() + 1}); }
void Machine::request_stop() { impl_->stop_requested = true; }
void Machine::serial_input(std::span<const u8> bytes) { impl_->input.offer(InputChannel::Serial, bytes); }
void Machine::test_input(std::span<const u8> bytes) { impl_->input.offer(InputChannel::Test, bytes); }
HostInput& Machine::journal() { return impl_->input; }
void Machine::on_serial(ByteHandler handler) { impl_->board.serial_sink.handler = std::move(handler); }
void Machine::on_debug_console(ByteHandler handler) { impl_->board.debug_sink.handler = std::move(handler); }
void Machine::mute(bool muted) { impl_->board.serial_sink.muted = impl_->board.debug_sink.muted = muted; }
u64 Machine::count() const { return impl_->count(); }
u64 Machine::now() const { return impl_->board.clock.now(); }
unsigned Machine::cpus() const { return static_cast<unsigned>(impl_->board.processors.size()); }
const CpuState& Machine::cpu_state(unsigned cpu) const { return impl_->board.processors.at(cpu)->cpu.s; }

void Machine::set_cpu_state(unsigned cpu, const CpuState& state) {
  Cpu& c = impl_->board.processors.at(cpu)->cpu;
  c.s = state;
  c.s.gpr[kGprZero] = 0;
  c.refresh();
  impl_->edits++;
}

bool Machine::read_physical(u64 address, std::span<u8> out) {
  for (u64 at = 0; at < out.size(); at++)
    if (impl_->board.memory.page(address + at).host == nullptr) return false;
  impl_->board.memory.read(address, out);
  return true;
}

bool Machine::write_physical(u64 address, std::span<const u8> data) {
  for (u64 at = 0; at < data.size(); at++)
    if (impl_->board.memory.page(address + at).frame == kNoFrame) return false;
  impl_->board.memory.write(address, data);
  impl_->edits++;
  return true;
}

std::optional<u32> Machine::frame_at(u64 physical) const {
  const u32 frame = impl_->board.memory.page(physical).frame;
  return frame == kNoFrame ? std::nullopt : std::optional(frame);
}

bool Machine::read_linear(unsigned cpu, u64 address, std::span<u8> out) {
  const Cpu& c = impl_->board.processors.at(cpu)->cpu;
  for (u8& byte : out) {
    const u8* host = mapped_byte(c, address++);
    if (host == nullptr) return false;
    byte = *host;
  }
  return true;
}

void Machine::set_damage(const std::string& why) {
  if (!impl_->damage.empty()) return;
  impl_->damage = why;
  impl_->board.end_slice = true;
  impl_->board.attention();
}
const std::string& Machine::damage() const { return impl_->damage; }
u64 Machine::edits() const { return impl_->edits + impl_->debugger.edits(); }

void Machine::on_reset(std::function<std::optional<boot::BootPlan>()> plan) { impl_->late_plan = std::move(plan); }
u64 Machine::checkpoint_pages() const { return *impl_->page_account; }

MachineStats Machine::stats() const {
  MachineStats s;
  s.retired = count();
  s.guest_ns = now();
  for (const auto& p : impl_->board.processors) {
    s.faults += p->cpu.faults_delivered();
    s.interrupts += p->interrupts_taken;
    s.tlb_refills += p->cpu.tlb.stats().fills;
    s.tlb_flushes += p->cpu.tlb.stats().flushes;
    s.tlb_page_drops += p->cpu.tlb.stats().page_drops;
  }
  s.decoded = impl_->board.decoded.stats.decoded;
  s.code_invalidations = impl_->board.decoded.stats.invalidations;
  if (impl_->translator) {
    const jit::TranslatorStats& t = impl_->translator->stats();
    s.blocks = t.blocks;
    s.versions = t.versions;
    s.loops = t.loops;
    s.paths = t.paths;
    s.translated = t.instructions;
    s.code_bytes = t.code_bytes;
    s.blocks_invalidated = t.invalidated;
    s.code_flushes = t.flushes;
    s.entries = t.entries;
    s.exits_budget = t.exits_budget;
    s.exits_link = t.exits_link;
    s.exits_bail = t.exits_bail;
    s.exits_done = t.exits_done;
    s.tlb_misses = t.slow_accesses;
    s.jump_cache_misses = t.slow_resolves;
    s.translation_ns = t.translation_ns;
    s.handler_calls = t.handler_calls;
    s.interpreted = t.interpreted;
    for (jit::HandlerFigure& f : impl_->translator->handler_figures())
      s.handlers.push_back({std::move(f.name), std::move(f.encoding), f.handler_calls, f.interpreted});
  }
  s.timer_events = impl_->timer_events;
  s.idle_skips = impl_->idle_skips;
  const HookedCode* hooks = impl_->board.paravirt ? impl_->board.paravirt->hooks : nullptr;
  for (unsigned n = 1; hooks != nullptr && n < kIntrinsics; n++)
    s.hooks.push_back({name_of(static_cast<Intrinsic>(n)), hooks->stats.entered[n], hooks->stats.declined[n]});
  s.hooks_suspended = hooks != nullptr ? hooks->stats.suspended : 0;
  s.hooks_refused = hooks != nullptr ? hooks->stats.refused : 0;
  if (impl_->board.paravirt)
    for (const paravirt::Count& c : impl_->board.paravirt->counts()) s.paravirt.push_back({std::string(c.name), c.value});
  return s;
}

void Machine::on_code(CodeHandler handler) {
  if (!impl_->translator) return;
  impl_->translator->on_code([handler = std::move(handler)](const jit::EmittedCode& code) { handler(code.at, code.size, code.name); });
}
void Machine::set_host_clock(u64 (*nanoseconds)()) {
  if (impl_->translator) impl_->translator->measure_by(nanoseconds);
}

std::string Machine::fault_report(unsigned cpu) const {
  return callgate::fault_report(*impl_->board.processors.at(cpu));
}
Log& Machine::log() { return impl_->log; }
Debugger& Machine::debugger() { return impl_->debugger; }

}  // namespace callgate
