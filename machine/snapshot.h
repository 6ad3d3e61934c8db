// A snapshot: the whole machine in one file that describes itself (docs/time-travel.md has the format). Pages that are zero,
// that are in the file already, or that a base has are left out; the others are packed with LZ4. A machine that is loaded
// reads its pages when they are first touched, so that a large one runs again at once. The bytes are hostile.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "machine/recording.h"
#include "machine/snapshot_pages.h"

namespace callgate {

constexpr FrameFormat kSnapshotFormat{"CGSNAPSH", 2, "snapshot", FrameSum::Xxh3};

/// Another snapshot that one needs to be loaded.
struct SnapshotBase {
  std::string name;  ///< empty: none
  u64 count = 0;
  u64 hash = 0;       ///< of its state
  u64 pages_sum = 0;  ///< SnapshotPages::tables_sum()
};

/// What a snapshot says about itself beside the state.
struct SnapshotHeader {
  RecordingHeader origin;  ///< the machine, and what it was started from (needed again when the guest resets itself)
  u64 count = 0, time = 0;
  u64 hash = 0;  ///< Machine::hash()
  SnapshotBase base;
};

/// Saves the machine, which may go on afterwards. `origin`: as of a recording; machine and CPU model are filled in here.
/// `base`: the file of a snapshot whose pages are left out where they are the same; empty: none.
/// Errors: BadArgument (the file exists; the base is of another machine), MissingFile, BadFile, Host (the file is removed
/// again).
Result<SnapshotHeader> save_snapshot(Machine& machine, const RecordingHeader& origin, const std::string& path, const std::string& base = "");

struct LoadedSnapshot {
  SnapshotHeader header;
  std::shared_ptr<SnapshotPages> pages;
  std::unique_ptr<Machine> machine;
};
/// Makes a machine that goes on from there. It keeps the file open (and its base's, which is looked for where it was and
/// beside the file). Errors: MissingFile, BadFile (with the place), Host. Pages are looked at later: see
/// StopReason::Damaged.
Result<LoadedSnapshot> load_snapshot(const std::string& path, Engine engine = default_engine(), const TranslatorTuning& tuning = {});
/// The same from bytes.
Result<LoadedSnapshot> load_snapshot(std::vector<u8> bytes, const std::string& name, Engine engine = default_engine(),
                                     const TranslatorTuning& tuning = {});

/// What `callgate info` tells. Everything is looked at. Errors as of load_snapshot.
struct SnapshotInfo {
  SnapshotHeader header;
  u64 bytes = 0, pages = 0, slots = 0, of_base = 0;
};
Result<SnapshotInfo> check_snapshot(std::shared_ptr<FileBytesAt> bytes, const std::string& name);

}  // namespace callgate
