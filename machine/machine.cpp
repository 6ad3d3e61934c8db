#include "machine/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "base/verify.h"
#include "cpu/interpreter.h"
#include "jit/translator.h"
#include "machine/board.h"
#include "machine/debugger.h"
#include "machine/boot/files.h"
#include "machine/checkpoint.h"
#include "machine/fault_report.h"
#include "machine/journal.h"
#include "machine/mapped_memory.h"
#include "machine/start_state.h"
#include "machine/teeth.h"

namespace callgate {

namespace {
/// Guest time that each processor runs before the next one's turn, when there are several.
constexpr u64 kQuantum = 20'000;
/// So often the interpreter executes code before the translator does.
constexpr unsigned kInterpretFirst = 2;
/// How long a run may go without looking whether somebody outside asked it to stop.
constexpr u64 kLongestSlice = 4'000'000;

/// A stretch of guest time that the processors run one after the other. With several processors it is part of the
/// state: a run that stops in the middle of it goes on where it was.
struct Round {
  bool active = false;
  u32 processor = 0;  ///< whose turn it is
  u64 start = 0, end = 0;
  u64 reached = 0;  ///< how far that processor has come

  void sync(StateIo& io, u32 processors) {
    io.section("round");
    io.fields(active, processor, start, end, reached);
    if (!io.loading()) return;
    const bool sane = processor < processors && start <= reached && reached <= end &&
                      end <= kEndOfTime + kLongestSlice && end - start <= kLongestSlice;
    if (active && !sane) io.damaged("round: it makes no sense");
    if (!active || !sane) *this = {};
  }
};
}  // namespace

struct Machine::Impl {
  Impl(const MachineConfig& c, std::unique_ptr<Ram> ram)
      : config(c), board(c, std::move(ram), log), interpreter(board.decoded) {}

  const MachineConfig config;
  Log log;
  Board board;
  Interpreter interpreter;
  std::unique_ptr<jit::Translator> translator;  ///< nullptr: the interpreter runs
  Debugger debugger{board};
  HostInput input;
  std::optional<boot::BootPlan> plan;
  std::function<std::optional<boot::BootPlan>()> late_plan;
  std::string description = "nothing is loaded";
  std::atomic<bool> stop_requested{false};
  bool idle_reported = false;  ///< the caller of run() knows of the halted stretch that we stand before
  u64 slice_until = 0;         ///< count at which the running processor's slice ends
  Round round;
  u64 timer_events = 0, idle_skips = 0;
  PageAccount page_account = std::make_shared<u64>(0);
  PageTree ram_then{page_account};  ///< of the checkpoint that was made or restored last: RAM is this and what changed
  std::vector<u32> changed;         ///< frames written since then and hashed; what is dirty in RAM comes to it
  std::vector<bool> is_changed = std::vector<bool>(board.memory.ram().frames());

  u64 count() const {
    u64 sum = 0;
    for (const auto& p : board.processors) sum += p->cpu.s.retired;
    return sum;
  }
  /// True when the processor has something to do now.
  bool ready(Processor& p) { return p.cpu.s.activity == Activity::Running || p.cpu.event_ready(); }

  void deliver_input();
  void run_slice(u64 most);
  void run_round(u64 until_count);
  void end_round(u64 time);
  void sync(StateIo& io) {
    board.sync(io);
    round.sync(io, static_cast<u32>(board.processors.size()));
    if (io.loading()) debugger.note_running(round.processor);
  }
  /// The same without RAM's contents.
  void sync_devices(StateIo& io) {
    board.sync(io, false);
    round.sync(io, static_cast<u32>(board.processors.size()));
    if (io.loading()) debugger.note_running(round.processor);
  }
  void note_changes();
  void put_back(u32 frame, const u8* contents);
  std::vector<u8> save_devices();
  Result<> restore_devices(std::span<const u8> saved);
  std::optional<Stop> start_round(const RunLimits& limits);
  std::optional<Stop> handle_power();
  std::optional<Stop> dead_end();
  Stop run(const RunLimits& limits);
};

// The frames written since the last hash are about to be forgotten as such: checkpoints want to know them.
void Machine::Impl::note_changes() {
  for (const u32 frame : board.memory.ram().dirty()) {
    if (is_changed[frame]) continue;
    is_changed[frame] = true;
    changed.push_back(frame);
  }
}

// Only what differs is written: code and translations that stay right are kept.
void Machine::Impl::put_back(u32 frame, const u8* contents) {
  constexpr u32 kPiece = 64;
  static constexpr u8 kZeros[kPageSize] = {};
  if (contents == nullptr) contents = kZeros;
  const u8* now = board.memory.ram().frame(frame);
  const auto same = [&](u32 at) { return std::memcmp(now + at, contents + at, kPiece) == 0; };
  for (u32 at = 0; at < kPageSize; at += kPiece) {
    if (same(at)) continue;
    const u32 from = at;
    while (at < kPageSize && !same(at)) at += kPiece;
    board.memory.write(board.memory.physical_of(frame) + from, {contents + from, at - from});
  }
}

// Everything but RAM's contents.
std::vector<u8> Machine::Impl::save_devices() {
  StateWriter writer;
  sync_devices(writer);
  return writer.take();
}

namespace {
/// Tooth::LostField: leaves out the initial count of the local APIC's timer.
class ForgetfulReader final : public StateIo {
 public:
  explicit ForgetfulReader(StateReader& in) : in_(in) {}
  bool loading() const override { return true; }
  void bytes(void* data, std::size_t size) override {
    std::vector<u8> lost(size);
    in_.bytes(fields_left_-- == 0 ? lost.data() : data, size);
  }
  void section(std::string_view name) override {
    fields_left_ = name == "local_apic" ? 12 : ~u64{0};
    in_.section(name);
  }
  void damaged(std::string_view why) override { in_.damaged(why); }

 private:
  StateReader& in_;
  u64 fields_left_ = ~u64{0};
};
}  // namespace

Result<> Machine::Impl::restore_devices(std::span<const u8> saved) {
  StateReader reader(saved);
  if (ForgetfulReader forgetful(reader); teeth::active == teeth::Tooth::LostField) sync_devices(forgetful);
  else sync_devices(reader);
  if (reader.good() && !reader.at_end()) reader.damaged("the saved state is longer than it should be");
  if (!reader.good()) return fail(ErrorKind::BadFile, "the saved state is damaged: " + reader.error());
  idle_reported = false;
  return {};
}

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
  round.reached = board.clock.processor_now();
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
      if (board.power.any || p.was_shut_down || debugger.stop_pending()) return;
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
    if (auto stop = handle_power()) return *stop;
    if (stop_requested.exchange(false)) return {StopReason::Requested};
    if (!round.active) {
      if (count() >= limits.until_count) return {StopReason::CountReached};
      if (auto stop = start_round(limits)) return *stop;
    }
    // A record of the journal is delivered at the very count where it was taken.
    const u64 next_input = input.next_count();
    run_round(next_input > count() ? std::min(limits.until_count, next_input) : limits.until_count);
    if (board.power.any) continue;
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
  if (config.cpu_model != "callgate")
    return fail(ErrorKind::BadArgument,
                fmt::format("there is no CPU model \"{}\": the only one is \"callgate\"", config.cpu_model));
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

u64 Machine::hash() {
  impl_->note_changes();
  StateHasher hasher;
  impl_->sync(hasher);
  return hasher.digest();
}

std::vector<u8> Machine::save() {
  StateWriter writer;
  impl_->sync(writer);
  return writer.take();
}

Result<> Machine::restore(std::span<const u8> saved) {
  // What was not zero may be so afterwards; what is not zero then is written.
  for (u32 frame = 0; frame < ram().frames(); frame++)
    if (!impl_->is_changed[frame] && !ram().is_zero(frame)) {
      impl_->is_changed[frame] = true;
      impl_->changed.push_back(frame);
    }
  StateReader reader(saved);
  impl_->sync(reader);
  if (reader.good() && !reader.at_end()) reader.damaged("the saved state is longer than it should be");
  if (!reader.good()) return fail(ErrorKind::BadFile, "the saved state is damaged: " + reader.error());
  impl_->idle_reported = false;
  return {};
}

std::shared_ptr<const Checkpoint> Machine::checkpoint() {
  impl_->note_changes();
  impl_->board.memory.hash();  // watches for what is written from now on
  Ram& ram = impl_->board.memory.ram();
  std::vector<u32> written = std::exchange(impl_->changed, {});
  std::sort(written.begin(), written.end());
  std::vector<PageTree::Change> changes;
  for (const u32 frame : written) {
    impl_->is_changed[frame] = false;
    const PageCopy* before = impl_->ram_then.page(frame);
    const bool zero = ram.is_zero(frame);
    if (before == nullptr ? zero : std::memcmp(before->bytes, ram.frame(frame), kPageSize) == 0) continue;
    changes.push_back({frame, zero ? nullptr : std::make_shared<PageCopy>(ram.frame(frame), impl_->page_account.get())});
  }
  if (!changes.empty()) impl_->ram_then = impl_->ram_then.with(changes);
  return std::make_shared<Checkpoint>(count(), impl_->input.taken(), impl_->save_devices(), impl_->page_account, impl_->ram_then,
                                      std::move(written));
}

void Machine::restore(const Checkpoint& checkpoint) {
  impl_->note_changes();
  std::vector<u32> frames = PageTree::difference(impl_->ram_then, checkpoint.ram);
  frames.insert(frames.end(), impl_->changed.begin(), impl_->changed.end());
  for (const u32 frame : impl_->changed) impl_->is_changed[frame] = false;
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  for (const u32 frame : frames) {
    const PageCopy* page = checkpoint.ram.page(frame);
    impl_->put_back(frame, page != nullptr ? page->bytes : nullptr);
  }
  impl_->ram_then = checkpoint.ram;
  // What was put back is as it was in that checkpoint: it did not change since, though it is to be hashed again.
  impl_->board.memory.hash();
  impl_->changed.clear();
  const auto restored = impl_->restore_devices(checkpoint.devices);
  VERIFY(restored.has_value(), "a checkpoint in memory could not be read");
  impl_->input.rewind(checkpoint.taken);
}

Ram& Machine::ram() { return impl_->board.memory.ram(); }
void Machine::put_page(u32 frame, const u8* contents) {
  PhysicalMap& memory = impl_->board.memory;
  u8* to = memory.page_for_writing(memory.physical_of(frame));
  if (to == nullptr) impl_->put_back(frame, contents);  // it has code or page tables: somebody must hear of it
  else if (contents == nullptr) std::memset(to, 0, kPageSize);
  else std::memcpy(to, contents, kPageSize);
}
std::vector<u8> Machine::save_devices() { return impl_->save_devices(); }
Result<> Machine::restore_devices(std::span<const u8> saved) { return impl_->restore_devices(saved); }
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
