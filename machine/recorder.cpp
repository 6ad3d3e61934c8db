#include "machine/recorder.h"

#include <algorithm>

namespace callgate {

namespace {
constexpr std::size_t kChunk = 1 << 20;

RecordingHeader header_of(const RecorderOptions& options, const Machine& machine, const boot::BootInputs& inputs,
                          const boot::BootOptions& boot) {
  RecordingHeader h = describe_origin(inputs, boot, options.version);
  h.id = options.id;
  h.machine = machine.config();
  h.cpu_features = cpu_features_hash();
  for (RecordedFile& f : h.files) f.bundled = options.bundle;
  return h;
}
}  // namespace

Result<std::unique_ptr<Recorder>> Recorder::create(const RecorderOptions& options, Machine& machine,
                                                   const boot::BootInputs& inputs, const boot::BootOptions& boot,
                                                   const Recording* parent) {
  auto writer = FrameWriter::create(options.path, kRecordingFormat);
  if (!writer) return tl::make_unexpected(writer.error());
  RecordingHeader header = header_of(options, machine, inputs, boot);
  if (parent != nullptr) {
    header.parent = parent->header.id;
    header.parent_count = machine.count();
    header.parent_name = parent->name;
  }
  std::unique_ptr<Recorder> r(new Recorder(options, machine, std::move(*writer)));
  r->append(RecordKind::Header, encode(header));
  if (options.bundle) {
    std::vector<std::span<const u8>> files{inputs.kernel.bytes};
    if (inputs.initrd) files.push_back(inputs.initrd->bytes);
    for (const boot::BootFile& module : inputs.modules) files.push_back(module.bytes);
    for (u32 i = 0; i < files.size(); i++)
      for (std::size_t at = 0; at < files[i].size() && !r->error_; at += kChunk)
        if (auto done = r->writer_->append(static_cast<u32>(RecordKind::Contents),
                                           encode_contents(i, at, files[i].subspan(at, std::min(kChunk, files[i].size() - at))), true);
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
  for (; written_ < journal.taken(); written_++) append(RecordKind::Input, encode(journal.records()[written_]));
}

RecordedHash Recorder::state_now() { return {machine_.count(), machine_.now(), machine_.hash()}; }

Result<> Recorder::begin(const Recording* parent) {
  hashed_ = machine_.count();
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

Stop Recorder::run(const RunLimits& limits) {
  for (;;) {
    const u64 next_hash = hashed_ + hash_every_;
    last_ = machine_.run({std::min(limits.until_count, next_hash), limits.stop_when_idle});
    append_inputs();
    const u64 count = machine_.count();
    if (last_.reason != StopReason::CountReached) return last_;
    if (count >= next_hash) {
      if (!error_) append(RecordKind::Hash, encode(state_now()));
      hashed_ = count;
    }
    if (count >= limits.until_count) return last_;
  }
}

Result<> Recorder::finish() {
  // Where somebody stopped the run is no moment that a replay could find: the next instruction's end is, or the wait
  // that comes before it.
  if (last_.reason == StopReason::Requested) run({machine_.count() + 1, true});
  append(RecordKind::End, encode(RecordedEnd{state_now(), last_.reason, last_.code}));
  if (error_) return tl::make_unexpected(*error_);
  return {};
}

}  // namespace callgate
