#include "machine/recorder.h"

#include <algorithm>

#include "machine/debugger.h"

namespace callgate {

namespace {
constexpr std::size_t kChunk = 1 << 20;

/// The guest ended its run, and can't go on.
bool final(StopReason reason) {
  switch (reason) {
    case StopReason::PowerOff:
    case StopReason::Reset:
    case StopReason::DebugExit:
    case StopReason::TripleFault:
    case StopReason::Halted: return true;
    default: return false;
  }
}
}  // namespace

RunStart start_of(const boot::BootInputs& inputs, const boot::BootOptions& boot, const std::string& version) {
  RunStart start{describe_origin(inputs, boot, version), {inputs.kernel.bytes}};
  if (inputs.initrd) start.contents.push_back(inputs.initrd->bytes);
  for (const boot::BootFile& module : inputs.modules) start.contents.push_back(module.bytes);
  return start;
}

Result<std::unique_ptr<Recorder>> Recorder::create(const RecorderOptions& options, Machine& machine, const RunStart& start,
                                                   const Recording* parent) {
  auto writer = FrameWriter::create(options.path, kRecordingFormat);
  if (!writer) return tl::make_unexpected(writer.error());
  RecordingHeader header = start.origin;
  header.version = options.version;
  header.id = options.id;
  header.machine = machine.config();
  header.cpu_features = cpu_features_hash();
  header.parent = parent != nullptr ? parent->header.id : 0;
  header.parent_count = parent != nullptr ? machine.count() : 0;
  header.parent_name = parent != nullptr ? parent->name : "";
  for (RecordedFile& f : header.files) f.bundled = options.bundle;
  std::unique_ptr<Recorder> r(new Recorder(options, machine, std::move(*writer)));
  r->append(RecordKind::Header, encode(header));
  if (options.bundle)
    for (u32 i = 0; i < start.contents.size(); i++) {
      const std::span<const u8> file = start.contents[i];
      for (std::size_t at = 0; at < file.size() && !r->error_; at += kChunk)
        if (auto done = r->writer_->append(static_cast<u32>(RecordKind::Contents),
                                           encode_contents(i, at, file.subspan(at, std::min(kChunk, file.size() - at))), true);
            !done)
          r->error_ = done.error();
    }
  if (r->error_) {
    r->abandon();
    return tl::make_unexpected(*r->error_);
  }
  return r;
}

void Recorder::append(RecordKind kind, std::span<const u8> payload) {
  if (error_) return;
  if (auto done = writer_->append(static_cast<u32>(kind), payload, kind == RecordKind::Header || kind == RecordKind::Input); !done)
    error_ = done.error();
}

void Recorder::append_inputs() {
  const HostInput& journal = machine_.journal();
  for (; written_ < journal.taken(); written_++) {
    append(RecordKind::Input, encode(journal.records()[written_]));
    written_to_ = std::max(written_to_, journal.records()[written_].count);
  }
}

RecordedHash Recorder::state_now() { return {machine_.count(), machine_.now(), machine_.hash()}; }

Result<> Recorder::begin(const Recording* parent) {
  hashed_ = reached_ = written_to_ = machine_.count();
  edits_ = machine_.edits();
  if (debugged_) machine_.note_place();
  if (parent != nullptr) {
    // A hash is of the first moment of its count: inputs of that moment come after it.
    const HostInput& journal = machine_.journal();
    for (const RecordedHash& h : parent->hashes) {
      if (h.count > machine_.count()) break;
      for (; written_ < journal.taken() && journal.records()[written_].count < h.count; written_++)
        append(RecordKind::Input, encode(journal.records()[written_]));
      append(RecordKind::Hash, encode(h));
    }
    append_inputs();
  } else {
    append(RecordKind::Hash, encode(state_now()));
  }
  if (error_) return tl::make_unexpected(*error_);
  return {};
}

// What a debugger did since the last run.
void Recorder::follow_debugger() {
  const HostInput& journal = machine_.journal();
  if (machine_.count() < written_to_ || journal.records().size() < written_) {
    written_ = std::min(written_, journal.taken());
    append(RecordKind::Branch, encode(RecordedBranch{machine_.count(), machine_.now(), written_}));
    written_to_ = machine_.count();
  }
  hashed_ = std::min(hashed_, machine_.count());
  if (!edited()) return;
  append_inputs();
  for (const InputRecord& change : machine_.state_since_place()) append(RecordKind::Input, encode(change));
  written_to_ = machine_.count();
  edits_ = machine_.edits();
}

Stop Recorder::run(const RunLimits& limits) {
  if (machine_.journal().held()) return machine_.run(limits);  // in the past: that is recorded
  if (debugged_) follow_debugger();
  end_.reset();
  // Places that went by in the middle of something have no hash.
  const u64 from = machine_.count();
  if (from >= hashed_ + hash_every_) hashed_ = from - (from - hashed_) % hash_every_;
  for (;;) {
    const u64 next_hash = hashed_ + hash_every_;
    last_ = machine_.run({std::min(limits.until_count, next_hash), limits.stop_when_idle});
    append_inputs();
    const u64 count = reached_ = machine_.count();
    if (final(last_.reason)) end_ = RecordedEnd{state_now(), last_.reason, last_.code};
    if (last_.reason != StopReason::CountReached) return last_;
    if (count >= next_hash) {
      if (!error_) append(RecordKind::Hash, encode(state_now()));
      hashed_ = written_to_ = count;
    }
    if (debugged_) machine_.note_place();
    if (count >= limits.until_count) return last_;
  }
}

Result<> Recorder::finish() {
  // What can't go on has no end that a replay could find.
  if (last_.reason != StopReason::Damaged) {
    // Where somebody stopped the run is no moment that a replay could find: the next instruction's end is, or the wait
    // that comes before it.
    const bool stopped = last_.reason == StopReason::Requested || last_.reason == StopReason::Debug;
    if (!end_ && (stopped || edited() || machine_.count() != reached_)) {
      machine_.debugger().enable(false);
      run({machine_.count() + 1, true});
      machine_.debugger().enable(true);
    }
    append(RecordKind::End, encode(end_ ? *end_ : RecordedEnd{state_now(), last_.reason, last_.code}));
  }
  if (error_) return tl::make_unexpected(*error_);
  return {};
}

}  // namespace callgate
