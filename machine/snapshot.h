// A snapshot: the whole machine in one file that describes itself (docs/time-travel.md has the format). Pages that are zero
// are left out; the others are packed with LZ4, which unpacks faster than a disk reads, so that a large machine runs
// again at once. The bytes are hostile: everything is checked before anything runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "machine/recording.h"

namespace callgate {

constexpr FrameFormat kSnapshotFormat{"CGSNAPSH", 1, "snapshot", FrameSum::Xxh3};

/// What a snapshot says about itself beside the state.
struct SnapshotHeader {
  RecordingHeader origin;  ///< the machine, and what it was started from (needed again when the guest resets itself)
  u64 count = 0, time = 0;
  u64 hash = 0;   ///< Machine::hash()
  u64 pages = 0;  ///< in the file
};

/// Saves the machine, which may go on afterwards. `origin`: as of a recording; machine and CPU model are filled in here.
/// Errors: BadArgument (the file exists), MissingFile, Host (the file is removed again).
Result<SnapshotHeader> save_snapshot(Machine& machine, const RecordingHeader& origin, const std::string& path);

struct LoadedSnapshot {
  SnapshotHeader header;
  std::unique_ptr<Machine> machine;
};
/// Makes a machine that goes on from there. It needs the file no longer. Errors: MissingFile, BadFile (with the place),
/// Host.
Result<LoadedSnapshot> load_snapshot(const std::string& path, Engine engine = default_engine(), const TranslatorTuning& tuning = {});
/// The same from bytes.
Result<LoadedSnapshot> load_snapshot(boot::FileBytes bytes, const std::string& name, Engine engine = default_engine(),
                                     const TranslatorTuning& tuning = {});
/// Only what it says about itself: the first record is checked, no other.
Result<SnapshotHeader> read_snapshot_header(std::span<const u8> file, const std::string& name);

}  // namespace callgate
