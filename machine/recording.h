// A recording: everything that a run was a function of, and hashes of its states on the way, in one file that describes
// itself. docs/time-travel.md has the format. Here: its contents as plain data, and reading it. The bytes are hostile.
// Who writes is machine/recorder.h; who runs it again is machine/replay.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/frames.h"
#include "machine/journal.h"
#include "machine/machine.h"

namespace callgate {

/// Raised whenever a guest could notice a difference between this build and earlier ones, or the state has other fields:
/// a recording or a snapshot belongs to one of these numbers.
constexpr u32 kBehaviour = 3;

constexpr FrameFormat kRecordingFormat{"CGRECORD", 2, "recording", FrameSum::Crc32};

/// XXH3-128 and length of a file that the run began with.
struct FileIdentity {
  u64 size = 0;
  u64 hash[2] = {};
  bool operator==(const FileIdentity&) const = default;
  std::string text() const;
};
FileIdentity identity_of(std::span<const u8> contents);

/// A file that the guest was started from.
struct RecordedFile {
  enum class Role : u8 { Kernel, Initrd, Module, Snapshot } role = Role::Kernel;
  std::string name;       ///< as it was given
  std::string arguments;  ///< of a Multiboot module
  FileIdentity identity;
  bool bundled = false;  ///< its contents are in the recording
};

/// What the run began with.
struct RecordingHeader {
  u32 behaviour = kBehaviour;
  std::string version;       ///< of the program that recorded
  u64 id = 0;                ///< a number that no other recording has
  u64 parent = 0;            ///< the recording that this one went on from, or 0
  u64 parent_count = 0;      ///< and where
  std::string parent_name;   ///< and what its file was called
  MachineConfig machine;     ///< but the engine, which makes no difference
  u64 cpu_features = 0;      ///< hash of what the CPU model offers
  std::string command_line;
  boot::LinuxEntry linux_entry = boot::LinuxEntry::Auto;
  std::vector<RecordedFile> files;
};
/// The snapshot among them, which the run went on from (the others are for a guest that resets itself); nullptr: it began at
/// power-on.
const RecordedFile* snapshot_of(const RecordingHeader& header);
/// What a person calls it: "kernel".
const char* name_of(RecordedFile::Role role);
/// Of this build's CPU model, for RecordingHeader::cpu_features.
u64 cpu_features_hash();

/// What a guest is started from, for RecordingHeader: everything but the machine and the numbers.
RecordingHeader describe_origin(const boot::BootInputs& inputs, const boot::BootOptions& boot, const std::string& version);

/// The state at a place of the run.
struct RecordedHash {
  u64 count = 0, time = 0, hash = 0;
};

/// How the run ended.
struct RecordedEnd {
  RecordedHash state;
  StopReason reason = StopReason::CountReached;
  u32 code = 0;
};

/// A recording as read.
struct Recording {
  std::string name;
  RecordingHeader header;
  std::vector<std::vector<u8>> contents;  ///< of bundled files, by the index in header.files
  std::vector<InputRecord> inputs;
  std::vector<RecordedHash> hashes;
  std::optional<RecordedEnd> end;  ///< none: the recording was cut off
  u64 bytes = 0, records = 0;
  u64 readable = 0;  ///< bytes of whole records: less than `bytes` when it was cut inside of one

  /// The furthest place that it tells of.
  u64 last_count() const;
  /// How it is incomplete, or empty: "cut off at byte 812, after record 9".
  std::string cut() const;
};

/// The kinds of records.
enum class RecordKind : u32 { Header, Contents, Input, Hash, End, Branch };

/// Under a debugger a run may go back and on another way: what was recorded behind this place didn't happen.
struct RecordedBranch {
  u64 count = 0, time = 0;
  u64 inputs = 0;  ///< so many inputs stay, not counting changes of the state; of these, those up to this count
};

/// The payloads, as bytes. Reading is read_recording's.
std::vector<u8> encode(const RecordingHeader& header);
std::vector<u8> encode_contents(u32 file, u64 offset, std::span<const u8> bytes);
std::vector<u8> encode(const InputRecord& input);
std::vector<u8> encode(const RecordedHash& hash);
std::vector<u8> encode(const RecordedEnd& end);
std::vector<u8> encode(const RecordedBranch& branch);

/// `name` in the folder of `file`, whatever folder it was in.
std::string beside(const std::string& file, const std::string& name);

/// Reads a header's payload. `name` and `what` (a recording, a snapshot) are for messages. Error: BadFile.
Result<RecordingHeader> decode_header(std::span<const u8> payload, const std::string& name, const char* what);

/// Reads a recording from its bytes. A cut one is read as far as it goes. Errors: BadFile, with the number and the place
/// of the record that is wrong.
Result<Recording> read_recording(std::span<const u8> file, const std::string& name);
/// The same from a file.
Result<Recording> load_recording(const std::string& path);

}  // namespace callgate
