#include "machine/replay.h"

#include <fmt/format.h>

#include <algorithm>

#include "machine/boot/files.h"
#include "machine/guest_cpu.h"

namespace callgate {

namespace {

const char* role_name(RecordedFile::Role role) {
  switch (role) {
    case RecordedFile::Role::Kernel: return "kernel";
    case RecordedFile::Role::Initrd: return "initrd";
    case RecordedFile::Role::Module: return "module";
  }
  return "file";
}

/// `name` in the folder of the recording, whatever folder it was in.
std::string beside(const std::string& recording, const std::string& name) {
  const auto slash = recording.rfind('/'), last = name.rfind('/');
  return (slash == std::string::npos ? "" : recording.substr(0, slash + 1)) + (last == std::string::npos ? name : name.substr(last + 1));
}

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
    default: return "stopped";
  }
}

}  // namespace

Result<> Replay::check_machine() const {
  const RecordingHeader& h = recording_.header;
  if (h.cpu_features != cpu_features_hash() && h.machine.cpu_model == guest_cpu().model)
    return fail(ErrorKind::BadFile,
                fmt::format("{}: the CPU model \"{}\" that it was recorded with offers other features than this build's: replay "
                            "it with the build that made it (callgate {})",
                            recording_.name, h.machine.cpu_model, h.version));
  return {};
}

Result<> Replay::find_files() {
  std::size_t module = 0;
  for (std::size_t i = 0; i < recording_.header.files.size(); i++) {
    const RecordedFile& f = recording_.header.files[i];
    std::string given = f.role == RecordedFile::Role::Kernel ? options_.kernel : f.role == RecordedFile::Role::Initrd ? options_.initrd : "";
    if (f.role == RecordedFile::Role::Module && module < options_.modules.size()) given = options_.modules[module++];
    boot::BootFile file{f.name, {}, f.arguments};
    if (f.bundled && given.empty()) {
      file.bytes.assign(recording_.contents[i].begin(), recording_.contents[i].end());
      std::vector<u8>().swap(recording_.contents[i]);
    } else {
      std::string path = given.empty() ? f.name : given;
      auto bytes = boot::read_file(path);
      if (!bytes && given.empty()) {
        path = beside(recording_.name, f.name);
        if (auto there = boot::read_file(path)) bytes = std::move(there);
      }
      if (!bytes)
        return fail(bytes.error().kind, fmt::format("{}: the recording's {} is not there: give its place with --{}", bytes.error().message,
                                                    role_name(f.role), role_name(f.role)));
      file.bytes = std::move(*bytes);  // its name stays: Multiboot kernels are told theirs
      if (identity_of(file.bytes) != f.identity)
        return fail(ErrorKind::BadFile, fmt::format("{}: not the {} of {}: its hash is {}, and the recording's {}", path, role_name(f.role),
                                                    recording_.name, identity_of(file.bytes).text(), f.identity.text()));
    }
    if (f.role == RecordedFile::Role::Kernel) inputs_.kernel = std::move(file);
    else if (f.role == RecordedFile::Role::Initrd) inputs_.initrd = std::move(file);
    else inputs_.modules.push_back(std::move(file));
  }
  inputs_.command_line = recording_.header.command_line;
  return {};
}

Result<std::unique_ptr<Replay>> Replay::create(Recording recording, const Options& options) {
  std::unique_ptr<Replay> r(new Replay(std::move(recording), options));
  if (auto good = r->check_machine(); !good) return tl::make_unexpected(good.error());
  if (auto found = r->find_files(); !found) return tl::make_unexpected(found.error());
  MachineConfig config = r->recording_.header.machine;
  config.engine = options.engine;
  config.translator = options.translator;
  auto machine = Machine::create(config);
  if (!machine) return fail(machine.error().kind, fmt::format("{}: {}", r->recording_.name, machine.error().message));
  r->machine_ = std::move(*machine);
  r->inputs_.memory = r->machine_->memory_map();
  if (auto loaded = r->machine_->load(r->inputs_, r->boot_options()); !loaded) return tl::make_unexpected(loaded.error());
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
    different(expected.count == 0
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
