#include "machine/replay.h"

#include <fmt/format.h>

#include <algorithm>

#include "machine/guest_cpu.h"
#include "machine/origin_files.h"
#include "machine/snapshot.h"

namespace callgate {

namespace {

const char* words(StopReason reason) {
  switch (reason) {
    case StopReason::CountReached: return "went on";
    case StopReason::Requested: return "was stopped";
    case StopReason::PowerOff: return "powered off";
    case StopReason::Reset: return "reset itself";
    case StopReason::DebugExit: return "wrote the debug-exit port";
    case StopReason::TripleFault: return "had a triple fault";
    case StopReason::Halted: return "halted for good";
    case StopReason::Idle: return "waited";
    case StopReason::Damaged: return "could not go on";
    default: return "stopped";
  }
}

}  // namespace

Result<> Replay::check_machine() const {
  const RecordingHeader& h = recording_.header;
  if (h.cpu_features != cpu_features_hash() && is_cpu_model(h.machine.cpu_model))
    return fail(ErrorKind::BadFile,
                fmt::format("{}: the CPU model \"{}\" that it was recorded with offers other features than this build's: replay "
                            "it with the build that made it (callgate {})",
                            recording_.name, h.machine.cpu_model, h.version));
  return {};
}

Result<boot::FileBytes> Replay::read_file(std::size_t index) const {
  const RecordedFile& f = recording_.header.files[index];
  std::string given;
  switch (f.role) {
    case RecordedFile::Role::Kernel: given = options_.kernel; break;
    case RecordedFile::Role::Initrd: given = options_.initrd; break;
    case RecordedFile::Role::Snapshot: given = options_.snapshot; break;
    case RecordedFile::Role::Module: {
      std::size_t module = 0;
      for (std::size_t i = 0; i < index; i++) module += recording_.header.files[i].role == RecordedFile::Role::Module;
      if (module < options_.modules.size()) given = options_.modules[module];
    }
  }
  if (!f.bundled || !given.empty()) return read_origin_file(f, recording_.name, given);
  return boot::FileBytes(recording_.contents[index].begin(), recording_.contents[index].end());
}

Result<RunStart> Replay::start(bool contents) {
  RunStart start{recording_.header, {}};
  if (!contents) return start;
  started_from_.clear();
  for (std::size_t i = 0; i < recording_.header.files.size(); i++) {
    auto bytes = read_file(i);
    if (!bytes) return tl::make_unexpected(bytes.error());
    started_from_.push_back(std::move(*bytes));
  }
  for (const boot::FileBytes& bytes : started_from_) start.contents.push_back(bytes);
  return start;
}

Result<> Replay::make_machine() {
  const RecordingHeader& h = recording_.header;
  const auto in_file = [&](const Error& e) { return fail(e.kind, fmt::format("{}: {}", recording_.name, e.message)); };
  const OriginReader reader = [this](std::size_t i) { return read_file(i); };
  if (const RecordedFile* snapshot = snapshot_of(h)) {
    auto bytes = read_file(static_cast<std::size_t>(snapshot - h.files.data()));
    if (!bytes) return tl::make_unexpected(bytes.error());
    // It is read where it is, lazily, unless it is in the recording.
    const bool bundled = snapshot->bundled && options_.snapshot.empty();
    auto loaded = load_snapshot(std::vector<u8>(bytes->begin(), bytes->end()), bundled ? recording_.name : snapshot->name, options_.engine,
                                options_.translator);
    if (!loaded) return tl::make_unexpected(loaded.error());
    const MachineConfig& there = loaded->header.origin.machine;
    if (there.ram_bytes != h.machine.ram_bytes || there.cpus != h.machine.cpus)
      return fail(ErrorKind::BadFile, fmt::format("{}: the recording is of another machine than its snapshot", recording_.name));
    machine_ = std::move(loaded->machine);
    machine_->on_reset([this, reader]() -> std::optional<boot::BootPlan> {
      auto plan = plan_origin(recording_.header, machine_->memory_map(), reader);
      if (plan) return std::move(*plan);
      machine_->set_damage(plan.error().message);
      return std::nullopt;
    });
    return {};
  }
  MachineConfig config = h.machine;
  config.engine = options_.engine;
  config.translator = options_.translator;
  auto machine = Machine::create(config);
  if (!machine) return in_file(machine.error());
  machine_ = std::move(*machine);
  auto inputs = read_origin(h, machine_->memory_map(), reader);
  if (!inputs) return tl::make_unexpected(inputs.error());
  return machine_->load(std::move(*inputs), {.linux_entry = h.linux_entry});
}

Result<std::unique_ptr<Replay>> Replay::create(Recording recording, const Options& options) {
  std::unique_ptr<Replay> r(new Replay(std::move(recording), options));
  if (auto good = r->check_machine(); !good) return tl::make_unexpected(good.error());
  if (auto made = r->make_machine(); !made) return tl::make_unexpected(made.error());
  r->machine_->journal().replay(r->recording_.inputs);
  r->machine_->journal().hold(true);
  return r;
}

bool Replay::conclude(ReplayOutcome outcome, std::string verdict) {
  outcome_ = outcome;
  verdict_ = std::move(verdict);
  return true;
}

std::string Replay::matched_so_far() const {
  return hashes_seen_ == 0 ? "no hash was compared before" : fmt::format("the same at count {}", last_good_);
}

bool Replay::different(const std::string& how) {
  return conclude(ReplayOutcome::Different, fmt::format("{}: the replay differs: {} ({})", recording_.name, how, matched_so_far()));
}

bool Replay::check_hash(const RecordedHash& expected) {
  const u64 hash = machine_->hash();
  if (hash != expected.hash || machine_->now() != expected.time) {
    different(hashes_seen_ == 0 && &expected == recording_.hashes.data()
                  ? "already at the start, so another build made it"
                  : fmt::format("at count {} the state's hash is {:016x} at {} ns, and the recording's {:016x} at {} ns", expected.count,
                                hash, machine_->now(), expected.hash, expected.time));
    return false;
  }
  hashes_seen_++;
  last_good_ = expected.count;
  return true;
}

/// The machine is at the first moment of the end's count, or stopped at it by itself.
bool Replay::check_end(Stop stop) {
  const RecordedEnd& end = *recording_.end;
  while (stop.reason == StopReason::CountReached && end.reason != StopReason::CountReached) {
    stop = machine_->run({end.state.count + 1, end.reason == StopReason::Idle});
    // Halted time may have been skipped several times before the end came.
    if (stop.reason == StopReason::Idle && machine_->count() == end.state.count && machine_->now() < end.state.time)
      stop = {StopReason::CountReached};
    else break;
  }
  if (machine_->journal().taken() < recording_.inputs.size())
    return different(fmt::format("input {} of {} was never taken", machine_->journal().taken() + 1, recording_.inputs.size()));
  if (stop.reason != end.reason || stop.code != end.code || machine_->count() != end.state.count)
    return different(fmt::format("at count {} the guest {}, and in the recording it {} at count {}", machine_->count(), words(stop.reason),
                                 words(end.reason), end.state.count));
  if (!check_hash(end.state)) return true;
  return conclude(ReplayOutcome::Matched,
                  fmt::format("{}: the replay matched: {} instructions, {} inputs, {} hashes, the last {:016x}", recording_.name,
                              end.state.count, recording_.inputs.size(), hashes_seen_, end.state.hash));
}

bool Replay::run(u64 slice) {
  const auto& hashes = recording_.hashes;
  const u64 last = recording_.last_count();
  const u64 slice_end = machine_->count() + std::min(slice, ~machine_->count());
  for (;;) {
    const u64 count = machine_->count();
    for (; hashes_seen_ < hashes.size() && hashes[hashes_seen_].count == count;)
      if (!check_hash(hashes[hashes_seen_])) return true;
    if (count >= options_.until && count < last)
      return conclude(ReplayOutcome::Stopped, fmt::format("{}: the same up to count {} ({} hashes)", recording_.name, count, hashes_seen_));
    if (count >= last) {
      if (recording_.end) return check_end({StopReason::CountReached});
      return conclude(ReplayOutcome::CutOff, fmt::format("{}: the recording has no end (it was {}): the same up to count {} ({} hashes)",
                                                         recording_.name, recording_.cut(), count, hashes_seen_));
    }
    if (count >= slice_end) return false;
    u64 until = std::min({slice_end, last, std::max(options_.until, count + 1)});
    if (hashes_seen_ < hashes.size()) until = std::min(until, hashes[hashes_seen_].count);
    const Stop stop = machine_->run({until});
    if (stop.reason == StopReason::Damaged)
      return conclude(ReplayOutcome::Damaged, fmt::format("{} (found at count {}; {})", machine_->damage(), machine_->count(), matched_so_far()));
    if (machine_->journal().missed()) {
      const InputRecord& next = recording_.inputs[machine_->journal().taken()];
      return different(fmt::format("input {} was taken at count {}, {} ns, and that moment never came", machine_->journal().taken() + 1,
                                   next.count, next.time));
    }
    // What stops a guest for good stops it in the recording, too, at its end.
    const bool by_itself = stop.reason != StopReason::CountReached && stop.reason != StopReason::Requested;
    if (by_itself && recording_.end && machine_->count() == recording_.end->state.count && stop.reason == recording_.end->reason &&
        stop.code == recording_.end->code)
      return check_end(stop);
    if (by_itself && machine_->count() == count)
      return different(fmt::format("at count {} the guest {}, and in the recording it went on", count, words(stop.reason)));
  }
}

void Replay::go_live() {
  machine_->journal().forget_future();
  machine_->journal().hold(false);
}

}  // namespace callgate
