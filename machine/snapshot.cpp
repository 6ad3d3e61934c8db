#include "machine/snapshot.h"

#include <fmt/format.h>
#include <lz4.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/bits.h"
#include "base/state_io.h"
#include "base/verify.h"
#include "machine/guest_cpu.h"
#include "mmu/ram.h"

namespace callgate {

namespace {

/// Snapshots whose base has a base, and so on.
constexpr unsigned kMostBases = 100;
constexpr std::size_t kEntriesInTable = 65536;
constexpr std::size_t kGuestChunk = 4 << 20;  ///< of the guest's own snapshots in a record
constexpr u64 kMostText = 1 << 20;

void sync(StateIo& io, SnapshotHeader& h) {
  io.fields(h.count, h.time, h.hash);
  std::vector<u8> name(h.base.name.begin(), h.base.name.end());
  io.blob(name, kMostText, "the base's name is too long");
  h.base.name.assign(name.begin(), name.end());
  io.fields(h.base.count, h.base.hash, h.base.pages_sum);
}

std::vector<u8> encode(const SnapshotHeader& header) {
  StateWriter writer;
  SnapshotHeader copy = header;
  sync(writer, copy);
  std::vector<u8> out = writer.take();
  const std::vector<u8> origin = callgate::encode(header.origin);
  out.insert(out.end(), origin.begin(), origin.end());
  return out;
}

/// A snapshot's parts but its machine.
struct Parts {
  SnapshotHeader header;
  std::vector<u8> devices;
  std::vector<u8> guests_own;  ///< Machine::save_guest_snapshots()
  std::shared_ptr<SnapshotPages> pages;
};

Result<Parts> read_parts(std::shared_ptr<FileBytesAt> bytes, const std::string& name, unsigned depth);

/// The base of the snapshot in the file `of`.
Result<std::shared_ptr<SnapshotPages>> find_base(const SnapshotHeader& h, const std::string& of, unsigned depth) {
  const SnapshotBase& base = h.base;
  if (base.name.empty()) return nullptr;
  if (depth == kMostBases) return fail(ErrorKind::BadFile, fmt::format("{}: too many snapshots stand on each other", of));
  std::string path = base.name;
  auto bytes = FileBytesAt::open(path);
  if (!bytes) {
    const std::string there = beside(of, path);
    if (auto found = FileBytesAt::open(there)) {
      bytes = std::move(found);
      path = there;
    }
  }
  if (!bytes) return fail(ErrorKind::MissingFile, fmt::format("{}: the base of the snapshot {} is not there", base.name, of));
  auto parts = read_parts(std::move(*bytes), path, depth + 1);
  if (!parts) return tl::make_unexpected(parts.error());
  const SnapshotHeader& b = parts->header;
  if (b.hash != base.hash || b.count != base.count || parts->pages->tables_sum() != base.pages_sum ||
      b.origin.machine.ram_bytes != h.origin.machine.ram_bytes)
    return fail(ErrorKind::BadFile, fmt::format("{}: not the base of {}: its state is that of count {} with hash {:016x}, and the base's "
                                                "of count {} with hash {:016x}", path, of, b.count, b.hash, base.count, base.hash));
  return std::move(parts->pages);
}

Result<Parts> read_parts(std::shared_ptr<FileBytesAt> bytes, const std::string& name, unsigned depth) {
  auto file = FrameFile::open(std::move(bytes), name, kSnapshotFormat);
  if (!file) return tl::make_unexpected(file.error());
  Parts parts;
  auto frame = file->read(kFrameFileHeader, 0);
  if (!frame) return tl::make_unexpected(frame.error());
  StateReader in(frame->payload);
  sync(in, parts.header);
  if (!in.good()) return tl::make_unexpected(file->wrong(*frame, in.error()));
  const std::size_t head = 3 * 8 + 8 + parts.header.base.name.size() + 3 * 8;
  auto origin = decode_header(frame->payload.subspan(head), name, kSnapshotFormat.what);
  if (!origin) return tl::make_unexpected(origin.error());
  parts.header.origin = std::move(*origin);
  frame = file->read(file->after(*frame), 1);
  if (!frame) return tl::make_unexpected(frame.error());
  if (frame->kind != static_cast<u32>(SnapshotRecord::Devices)) return tl::make_unexpected(file->wrong(*frame, "it is not what should follow"));
  parts.devices.assign(frame->payload.begin(), frame->payload.end());
  u64 first = file->after(*frame), sequence = 2;
  for (;; sequence++) {
    frame = file->read(first, sequence);
    if (!frame || frame->kind != static_cast<u32>(SnapshotRecord::Guest)) break;
    parts.guests_own.insert(parts.guests_own.end(), frame->payload.begin(), frame->payload.end());
    first = file->after(*frame);
  }
  auto base = find_base(parts.header, name, depth);
  if (!base) return tl::make_unexpected(base.error());
  const u64 frames = parts.header.origin.machine.ram_bytes >> kPageShift;
  auto pages = SnapshotPages::open(std::move(*file), first, sequence, static_cast<u32>(std::min<u64>(frames, kNoFrame)), std::move(*base));
  if (!pages) return tl::make_unexpected(pages.error());
  parts.pages = std::move(*pages);
  return parts;
}

Result<LoadedSnapshot> load(std::shared_ptr<FileBytesAt> bytes, const std::string& name, Engine engine, const TranslatorTuning& tuning) {
  auto parts = read_parts(std::move(bytes), name, 0);
  if (!parts) return tl::make_unexpected(parts.error());
  LoadedSnapshot out{std::move(parts->header), std::move(parts->pages), nullptr};
  MachineConfig config = out.header.origin.machine;
  if (is_cpu_model(config.cpu_model) && out.header.origin.cpu_features != cpu_features_hash())
    return fail(ErrorKind::BadFile, fmt::format("{}: the CPU model \"{}\" of the snapshot offers other features than this build's: load it "
                                                "with the build that made it (callgate {})",
                                                name, config.cpu_model, out.header.origin.version));
  config.engine = engine;
  config.translator = tuning;
  auto machine = Machine::create(config);
  if (!machine) return fail(machine.error().kind, fmt::format("{}: {}", name, machine.error().message));
  out.machine = std::move(*machine);
  Machine& m = *out.machine;
  std::vector<FrameHash> contents;
  contents.reserve(out.pages->pages().size());
  for (const SnapshotPage& page : out.pages->pages()) contents.push_back({page.frame, page.hash});
  out.pages->on_damage([&m](const std::string& why) { m.set_damage(why); });
  m.begin_with(out.pages, contents);
  if (auto restored = m.restore_devices(parts->devices); !restored)
    return fail(ErrorKind::BadFile, fmt::format("{}: the snapshot is damaged: {}", name, restored.error().message));
  if (!parts->guests_own.empty())
    if (auto restored = m.restore_guest_snapshots(parts->guests_own); !restored)
      return fail(ErrorKind::BadFile, fmt::format("{}: the snapshot is damaged: {}", name, restored.error().message));
  if (!m.damage().empty()) return fail(ErrorKind::BadFile, m.damage());
  if (m.hash() != out.header.hash || m.count() != out.header.count)
    return fail(ErrorKind::BadFile, fmt::format("{}: the snapshot is not what it says: its state's hash is another one, so another build made it", name));
  return out;
}

/// Chooses what of RAM is written, and writes it.
class PageWriter {
 public:
  PageWriter(Ram& ram, FrameWriter& writer, const SnapshotPages* base) : ram_(ram), writer_(writer), base_(base) {}

  /// `before`: records in the file already.
  Result<> write(SnapshotPages* base_contents, u64 before) {
    choose(base_contents);
    for (std::size_t at = 0; at < stored_.size(); at += kPagesInPiece)
      if (auto done = piece(at); !done) return done;
    SnapshotEnd end{pages_.size(), stored_.size(), writer_.position(), before + sizes_.size(), 0};
    std::vector<u8> payload;
    for (std::size_t at = 0; at < pages_.size(); at += kEntriesInTable) {
      payload.clear();
      for (std::size_t i = at; i < std::min(pages_.size(), at + kEntriesInTable); i++) {
        put(payload, pages_[i].frame);
        put(payload, pages_[i].slot);
        put(payload, pages_[i].hash);
      }
      if (auto done = table(SnapshotRecord::Table, payload, end); !done) return done;
    }
    for (std::size_t at = 0; at < sizes_.size(); at += kEntriesInTable) {
      payload.clear();
      for (std::size_t i = at; i < std::min(sizes_.size(), at + kEntriesInTable); i++) put(payload, sizes_[i]);
      if (auto done = table(SnapshotRecord::Sizes, payload, end); !done) return done;
    }
    payload.clear();
    for (const u64 value : {end.pages, end.slots, end.tables_at, end.tables_sequence, end.tables_sum}) put(payload, value);
    return writer_.append(static_cast<u32>(SnapshotRecord::End), payload, false);
  }

 private:
  template <class T>
  static void put(std::vector<u8>& out, T value) {
    out.resize(out.size() + sizeof value);
    store_as<T>(out.data() + out.size() - sizeof value, value);
  }

  bool same(u32 frame, const u8* contents) { return std::memcmp(ram_.frame(frame), contents, kPageSize) == 0; }

  void choose(SnapshotPages* base_contents) {
    std::unordered_map<u64, u32> seen;  // the slot of contents with that hash
    u8 other[kPageSize];
    for (u32 f = 0; f < ram_.frames(); f++) {
      const u64 hash = ram_.hash_of(f);
      if (hash == 0) continue;
      if (base_ != nullptr && base_->hash_of(f) == hash) {
        base_contents->read(f, other);
        if (same(f, other)) {
          pages_.push_back({f, kSlotOfBase, hash});
          continue;
        }
      }
      const auto [at, fresh] = seen.try_emplace(hash_bytes({ram_.frame(f), kPageSize}), static_cast<u32>(stored_.size()));
      if (!fresh && same(f, ram_.frame(stored_[at->second]))) {
        pages_.push_back({f, at->second, hash});
        continue;
      }
      pages_.push_back({f, static_cast<u32>(stored_.size()), hash});
      stored_.push_back(f);
    }
  }

  Result<> piece(std::size_t at) {
    const std::size_t pages = std::min<std::size_t>(kPagesInPiece, stored_.size() - at);
    contents_.clear();
    for (std::size_t i = 0; i < pages; i++) contents_.insert(contents_.end(), ram_.frame(stored_[at + i]), ram_.frame(stored_[at + i]) + kPageSize);
    packed_.resize(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(contents_.size()))));
    const int size = LZ4_compress_default(reinterpret_cast<const char*>(contents_.data()), reinterpret_cast<char*>(packed_.data()),
                                          static_cast<int>(contents_.size()), static_cast<int>(packed_.size()));
    VERIFY(size > 0, "LZ4 could not pack pages");
    const u64 before = writer_.position();
    auto done = writer_.append(static_cast<u32>(SnapshotRecord::Pages), std::span(packed_).first(static_cast<std::size_t>(size)), false);
    sizes_.push_back(static_cast<u32>(writer_.position() - before));
    return done;
  }

  Result<> table(SnapshotRecord kind, const std::vector<u8>& payload, SnapshotEnd& end) {
    end.tables_sum = hash_bytes(payload, end.tables_sum);
    return writer_.append(static_cast<u32>(kind), payload, false);
  }

  Ram& ram_;
  FrameWriter& writer_;
  const SnapshotPages* base_;
  std::vector<SnapshotPage> pages_;
  std::vector<u32> stored_;  ///< the frame of each slot
  std::vector<u32> sizes_;   ///< of the records of pages
  std::vector<u8> contents_, packed_;
};

}  // namespace

Result<SnapshotHeader> save_snapshot(Machine& machine, const RecordingHeader& origin, const std::string& path, const std::string& base) {
  SnapshotHeader h{origin, machine.count(), machine.now(), machine.hash(), {}};
  h.origin.machine = machine.config();
  h.origin.cpu_features = cpu_features_hash();
  std::shared_ptr<SnapshotPages> base_pages;
  if (!base.empty()) {
    auto bytes = FileBytesAt::open(base);
    if (!bytes) return tl::make_unexpected(bytes.error());
    auto parts = read_parts(std::move(*bytes), base, 0);
    if (!parts) return tl::make_unexpected(parts.error());
    if (parts->header.origin.machine.ram_bytes != h.origin.machine.ram_bytes)
      return fail(ErrorKind::BadArgument, fmt::format("{}: no base for this machine: it has another amount of RAM", base));
    base_pages = std::move(parts->pages);
    h.base = {base, parts->header.count, parts->header.hash, base_pages->tables_sum()};
  }
  auto made = FrameWriter::create(path, kSnapshotFormat);
  if (!made) return tl::make_unexpected(made.error());
  FrameWriter& writer = **made;
  Result<> done = writer.append(static_cast<u32>(SnapshotRecord::Header), encode(h), true);
  if (done) done = writer.append(static_cast<u32>(SnapshotRecord::Devices), machine.save_devices(), true);
  const std::vector<u8> guests_own = machine.save_guest_snapshots();
  u64 records = 2;
  for (std::size_t at = 0; at < guests_own.size() && done; at += kGuestChunk, records++)
    done = writer.append(static_cast<u32>(SnapshotRecord::Guest), std::span(guests_own).subspan(at, std::min(kGuestChunk, guests_own.size() - at)), true);
  if (done) done = PageWriter(machine.ram(), writer, base_pages.get()).write(base_pages.get(), records);
  // Pages of the machine's own beginning may have turned out to be damaged only now.
  if (done && !machine.damage().empty()) done = fail(ErrorKind::BadFile, machine.damage());
  if (!done) {
    writer.remove();
    return tl::make_unexpected(done.error());
  }
  return h;
}

Result<LoadedSnapshot> load_snapshot(const std::string& path, Engine engine, const TranslatorTuning& tuning) {
  auto bytes = FileBytesAt::open(path);
  if (!bytes) return tl::make_unexpected(bytes.error());
  return load(std::move(*bytes), path, engine, tuning);
}

Result<LoadedSnapshot> load_snapshot(std::vector<u8> bytes, const std::string& name, Engine engine, const TranslatorTuning& tuning) {
  return load(FileBytesAt::of(std::move(bytes)), name, engine, tuning);
}

Result<SnapshotInfo> check_snapshot(std::shared_ptr<FileBytesAt> bytes, const std::string& name) {
  const u64 size = bytes->size();
  auto parts = read_parts(std::move(bytes), name, 0);
  if (!parts) return tl::make_unexpected(parts.error());
  if (auto good = parts->pages->check(); !good) return tl::make_unexpected(good.error());
  SnapshotInfo info{std::move(parts->header), size, parts->pages->pages().size(), parts->pages->slots(), 0};
  for (const SnapshotPage& page : parts->pages->pages()) info.of_base += page.slot == kSlotOfBase;
  return info;
}

}  // namespace callgate
