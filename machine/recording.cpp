#include "machine/recording.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "base/state_io.h"
#include "base/verify.h"
#include "machine/boot/files.h"
#include "machine/guest_cpu.h"

namespace callgate {

namespace {

constexpr u64 kMostText = 1 << 20;
constexpr u64 kMostFiles = 1024;
constexpr u64 kMostInput = 1 << 20;
constexpr u64 kMostState = kMostFramePayload - 64;
constexpr u64 kMostBundle = u64{2} << 30;  ///< of all files together

void text(StateIo& io, std::string& value, std::string_view name) {
  std::vector<u8> bytes(value.begin(), value.end());
  io.blob(bytes, kMostText, name);
  value.assign(bytes.begin(), bytes.end());
}

void sync(StateIo& io, RecordedFile& f) {
  io.field(f.role);
  io.limit(f.role, RecordedFile::Role::Snapshot, "a file has an unknown role");
  text(io, f.name, "the name of a file is too long");
  text(io, f.arguments, "the arguments of a module are too long");
  io.fields(f.identity.size, f.identity.hash[0], f.identity.hash[1], f.bundled);
  io.limit(f.identity.size, boot::kMaxFileSize, "a file is too large");
}

void sync(StateIo& io, RecordingHeader& h) {
  io.field(h.behaviour);
  text(io, h.version, "the version is too long");
  // What another build writes from here on may have other fields.
  if (io.loading() && h.behaviour != kBehaviour) return;
  io.fields(h.id, h.parent, h.parent_count);
  text(io, h.parent_name, "the parent's name is too long");
  io.fields(h.machine.ram_bytes, h.machine.cpus, h.machine.rtc_start, h.machine.paravirt, h.machine.reset_stops);
  text(io, h.machine.cpu_model, "the CPU model's name is too long");
  io.field(h.cpu_features);
  text(io, h.command_line, "the command line is too long");
  io.field(h.linux_entry);
  io.limit(h.linux_entry, boot::LinuxEntry::Bits64, "an unknown way to enter Linux");
  u64 files = h.files.size();
  io.field(files);
  io.limit(files, kMostFiles, "too many files");
  if (io.loading()) h.files.resize(files);
  for (RecordedFile& f : h.files) sync(io, f);
}

void sync(StateIo& io, InputRecord& r) {
  io.field(r.channel);
  io.limit(r.channel, InputChannel::State, "an unknown channel");
  io.fields(r.count, r.time);
  io.blob(r.bytes, r.channel == InputChannel::State ? kMostState : kMostInput, "an input is too long");
}

void sync(StateIo& io, RecordedBranch& b) { io.fields(b.count, b.time, b.inputs); }

void sync(StateIo& io, RecordedHash& h) { io.fields(h.count, h.time, h.hash); }

void sync(StateIo& io, RecordedEnd& e) {
  sync(io, e.state);
  // The numbers in the file are this list's, whatever StopReason becomes.
  static constexpr StopReason kReasons[] = {StopReason::CountReached, StopReason::PowerOff,    StopReason::Reset,
                                            StopReason::DebugExit,    StopReason::TripleFault, StopReason::Halted,
                                            StopReason::Idle};
  u8 reason = static_cast<u8>(std::find(std::begin(kReasons), std::end(kReasons), e.reason) - std::begin(kReasons));
  VERIFY(io.loading() || reason < std::size(kReasons), "a recording can't end like that");
  io.field(reason);
  io.limit(reason, static_cast<u8>(std::size(kReasons) - 1), "an unknown end");
  e.reason = kReasons[reason];
  io.field(e.code);
}

template <class T>
std::vector<u8> encoded(const T& value) {
  StateWriter writer;
  T copy = value;
  sync(writer, copy);
  return writer.take();
}

/// Builds a Recording from its records, one after the other.
class Assembler {
 public:
  Assembler(Recording& out, const FrameReader& reader) : out_(out), reader_(reader) {}

  Result<> take(const Frame& frame) {
    const auto kind = static_cast<RecordKind>(frame.kind);
    std::string error;
    if (out_.end) error = "it comes after the end";
    else if ((frame.sequence == 0) != (kind == RecordKind::Header)) error = "the first record, and only that, is the header";
    else if (kind == RecordKind::Header) return header(frame);
    else if (kind == RecordKind::Contents) error = contents(frame);
    else if (kind == RecordKind::Input) error = input(frame);
    else if (kind == RecordKind::Hash) error = hash(frame);
    else if (kind == RecordKind::End) error = end(frame);
    else if (kind == RecordKind::Branch) error = branch(frame);
    else error = fmt::format("it is of kind {}, which there is not", frame.kind);
    if (!error.empty()) return tl::make_unexpected(reader_.wrong(frame, error));
    return {};
  }

 private:
  template <class T>
  std::string decode(const Frame& frame, T& value) {
    StateReader in(frame.payload);
    sync(in, value);
    if (in.good() && !in.at_end()) return "it is longer than it should be";
    return in.error();
  }

  Result<> header(const Frame& frame) {
    auto header = decode_header(frame.payload, out_.name, kRecordingFormat.what);
    if (!header) return tl::make_unexpected(header.error());
    out_.header = std::move(*header);
    out_.contents.resize(out_.header.files.size());
    return {};
  }

  std::string contents(const Frame& frame) {
    if (began_) return "a file's contents come after the run has begun";
    StateReader in(frame.payload);
    u32 file = 0;
    u64 offset = 0;
    in.fields(file, offset);
    if (!in.good() || file >= out_.header.files.size() || !out_.header.files[file].bundled) return "there is no such file";
    const std::span<const u8> bytes = frame.payload.subspan(12);
    std::vector<u8>& to = out_.contents[file];
    if (offset != to.size() || bytes.empty() || bytes.size() > out_.header.files[file].identity.size - to.size())
      return "the file's contents are not what should follow";
    bundle_ += bytes.size();
    if (bundle_ > kMostBundle) return "the files' contents are too large";
    to.insert(to.end(), bytes.begin(), bytes.end());
    return "";
  }

  /// The run's records: all bundled files are whole by now, and time never goes back, but by a guest's own RESTORE.
  std::string moment(u64 count, u64 time) {
    if (!began_)
      for (std::size_t i = 0; i < out_.contents.size(); i++) {
        const RecordedFile& f = out_.header.files[i];
        if (f.bundled && identity_of(out_.contents[i]) != f.identity)
          return fmt::format("the contents of {} before it are not whole", f.name);
      }
    began_ = true;
    const bool may_go_back = out_.header.machine.paravirt != 0 && count > count_;
    if (count < count_ || (time < time_ && !may_go_back)) return "it is earlier than the one before it";
    count_ = count;
    time_ = time;
    return "";
  }

  std::string input(const Frame& frame) {
    InputRecord r;
    std::string error = decode(frame, r);
    if (error.empty() && r.bytes.empty()) error = "an input without bytes";
    if (error.empty()) error = moment(r.count, r.time);
    if (error.empty()) out_.inputs.push_back(std::move(r));
    return error;
  }

  std::string hash(const Frame& frame) {
    RecordedHash h;
    std::string error = decode(frame, h);
    if (error.empty()) error = moment(h.count, h.time);
    if (error.empty()) out_.hashes.push_back(h);
    return error;
  }

  std::string branch(const Frame& frame) {
    RecordedBranch b;
    std::string error = decode(frame, b);
    if (!error.empty()) return error;
    if (!began_ || b.count > count_) return "it goes back to a place that was never reached";
    u64 inputs = 0;
    std::erase_if(out_.inputs, [&](const InputRecord& r) {
      return r.channel == InputChannel::State ? r.count > b.count : ++inputs > b.inputs;
    });
    std::erase_if(out_.hashes, [&](const RecordedHash& h) { return h.count > b.count; });
    if (!out_.inputs.empty() && out_.inputs.back().count > b.count) return "it keeps inputs of a later time";
    count_ = b.count;
    time_ = b.time;
    if (!out_.inputs.empty()) time_ = std::max(time_, out_.inputs.back().time);
    if (!out_.hashes.empty()) time_ = std::max(time_, out_.hashes.back().time);
    return "";
  }

  std::string end(const Frame& frame) {
    RecordedEnd e;
    std::string error = decode(frame, e);
    if (error.empty()) error = moment(e.state.count, e.state.time);
    if (error.empty()) out_.end = e;
    return error;
  }

  Recording& out_;
  const FrameReader& reader_;
  bool began_ = false;
  u64 bundle_ = 0;
  u64 count_ = 0, time_ = 0;
};

}  // namespace

std::string FileIdentity::text() const { return fmt::format("{:016x}{:016x}, {} bytes", hash[0], hash[1], size); }

FileIdentity identity_of(std::span<const u8> contents) {
  const XXH128_hash_t h = XXH3_128bits(contents.data(), contents.size());
  return {contents.size(), {h.high64, h.low64}};
}

u64 cpu_features_hash() {
  std::string all;
  for (const std::string& name : guest_cpu().features) all += name + " ";
  return hash_bytes({reinterpret_cast<const u8*>(all.data()), all.size()});
}

RecordingHeader describe_origin(const boot::BootInputs& inputs, const boot::BootOptions& boot, const std::string& version) {
  RecordingHeader h;
  h.version = version;
  h.command_line = inputs.command_line;
  h.linux_entry = boot.linux_entry;
  const auto add = [&](RecordedFile::Role role, const boot::BootFile& f) {
    h.files.push_back({role, f.name, f.arguments, identity_of(f.bytes), false});
  };
  add(RecordedFile::Role::Kernel, inputs.kernel);
  if (inputs.initrd) add(RecordedFile::Role::Initrd, *inputs.initrd);
  for (const boot::BootFile& module : inputs.modules) add(RecordedFile::Role::Module, module);
  return h;
}

std::vector<u8> encode(const RecordingHeader& header) { return encoded(header); }
std::vector<u8> encode(const InputRecord& input) { return encoded(input); }
std::vector<u8> encode(const RecordedHash& hash) { return encoded(hash); }
std::vector<u8> encode(const RecordedEnd& end) { return encoded(end); }
std::vector<u8> encode(const RecordedBranch& branch) { return encoded(branch); }

const RecordedFile* snapshot_of(const RecordingHeader& header) {
  for (const RecordedFile& f : header.files)
    if (f.role == RecordedFile::Role::Snapshot) return &f;
  return nullptr;
}

const char* name_of(RecordedFile::Role role) {
  switch (role) {
    case RecordedFile::Role::Kernel: return "kernel";
    case RecordedFile::Role::Initrd: return "initrd";
    case RecordedFile::Role::Module: return "module";
    case RecordedFile::Role::Snapshot: return "snapshot";
  }
  return "file";
}

std::vector<u8> encode_contents(u32 file, u64 offset, std::span<const u8> bytes) {
  StateWriter writer;
  writer.fields(file, offset);
  std::vector<u8> out = writer.take();
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

std::string beside(const std::string& file, const std::string& name) {
  const auto slash = file.rfind('/'), last = name.rfind('/');
  return (slash == std::string::npos ? "" : file.substr(0, slash + 1)) + (last == std::string::npos ? name : name.substr(last + 1));
}

Result<RecordingHeader> decode_header(std::span<const u8> payload, const std::string& name, const char* what) {
  RecordingHeader h;
  StateReader in(payload);
  sync(in, h);
  if (in.good() && h.behaviour != kBehaviour)
    return fail(ErrorKind::BadFile,
                fmt::format("{}: a {} of another build (callgate {}, behaviour {}; this is behaviour {}): guests run "
                            "differently there. Use the build that made it",
                            name, what, h.version, h.behaviour, kBehaviour));
  std::string error = in.good() && !in.at_end() ? "it is longer than it should be" : in.error();
  std::size_t kernels = 0, initrds = 0, snapshots = 0;
  for (const RecordedFile& f : h.files) {
    kernels += f.role == RecordedFile::Role::Kernel;
    initrds += f.role == RecordedFile::Role::Initrd;
    snapshots += f.role == RecordedFile::Role::Snapshot;
  }
  if (error.empty() && (kernels != 1 || initrds > 1 || snapshots > 1))
    error = "there must be one kernel, and at most one initrd and one snapshot";
  if (!error.empty())
    return fail(ErrorKind::BadFile, fmt::format("{}: the {} is damaged: record 0 at byte {}: {}", name, what, kFrameFileHeader, error));
  return h;
}

u64 Recording::last_count() const {
  if (end) return end->state.count;
  return std::max(inputs.empty() ? 0 : inputs.back().count, hashes.empty() ? 0 : hashes.back().count);
}

std::string Recording::cut() const {
  if (end) return "";
  if (readable < bytes) return fmt::format("cut off at byte {}, in record {}", bytes, records);
  return fmt::format("cut off at byte {}, after record {}", bytes, records == 0 ? 0 : records - 1);
}

Result<Recording> read_recording(std::span<const u8> file, const std::string& name) {
  auto reader = FrameReader::open(file, name, kRecordingFormat);
  if (!reader) return tl::make_unexpected(reader.error());
  Recording out;
  out.name = name;
  out.bytes = file.size();
  Assembler assembler(out, *reader);
  for (;;) {
    auto frame = reader->next();
    if (!frame) return tl::make_unexpected(frame.error());
    if (!*frame) break;
    if (auto taken = assembler.take(**frame); !taken) return tl::make_unexpected(taken.error());
    out.records++;
  }
  if (out.records == 0)
    return fail(ErrorKind::BadFile, fmt::format("{}: the recording is cut off at byte {}, before its header was whole", name, file.size()));
  out.readable = reader->position();
  // A recording that was cut before its bundle was whole can't be begun.
  if (out.hashes.empty() && out.inputs.empty() && !out.end)
    for (std::size_t i = 0; i < out.contents.size(); i++)
      if (out.header.files[i].bundled && out.contents[i].size() < out.header.files[i].identity.size)
        return fail(ErrorKind::BadFile, fmt::format("{}: the recording is cut off at byte {}, in the contents of {}", name,
                                                    file.size(), out.header.files[i].name));
  return out;
}

Result<Recording> load_recording(const std::string& path) {
  auto bytes = boot::read_file(path);
  if (!bytes) return tl::make_unexpected(bytes.error());
  return read_recording(*bytes, path);
}

}  // namespace callgate
