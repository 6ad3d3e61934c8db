#include "machine/snapshot.h"

#include <fmt/format.h>
#include <lz4.h>

#include <algorithm>
#include <cstring>

#include "base/bits.h"
#include "base/state_io.h"
#include "base/verify.h"
#include "machine/boot/files.h"
#include "machine/guest_cpu.h"
#include "mmu/ram.h"

namespace callgate {

namespace {

enum class Kind : u32 { Header, Devices, Pages, End };

/// Pages that are packed together.
constexpr u32 kPagesInPiece = 64;
/// Where firmware leaves something: below 1 MiB.
constexpr u32 kLowFrames = 256;

void sync(StateIo& io, SnapshotHeader& h) { io.fields(h.count, h.time, h.hash, h.pages); }

/// Unpacks a record of pages: how many (u32), their frames (u32 each, in order), and an LZ4 block of their contents. What
/// is wrong with it, or empty. `least`: the first frame that may come.
std::string unpack(std::span<const u8> payload, Machine& machine, u32& least, u64& count) {
  if (payload.size() < 4) return "it is too short";
  const u32 pages = load_as<u32>(payload.data());
  if (pages == 0 || pages > kPagesInPiece || payload.size() < 4 + 4 * pages) return "it has an impossible number of pages";
  alignas(16) static thread_local u8 contents[kPagesInPiece * kPageSize];
  const auto packed = payload.subspan(4 + 4 * pages);
  const int size = static_cast<int>(pages * kPageSize);
  if (LZ4_decompress_safe(reinterpret_cast<const char*>(packed.data()), reinterpret_cast<char*>(contents), static_cast<int>(packed.size()), size) != size)
    return "it can't be unpacked";
  for (u32 i = 0; i < pages; i++) {
    const u32 frame = load_as<u32>(payload.data() + 4 + 4 * i);
    if (frame < least || frame >= machine.ram().frames()) return "a page of it is out of range or order";
    least = frame + 1;
    machine.put_page(frame, contents + i * kPageSize);
  }
  count += pages;
  return "";
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

Result<SnapshotHeader> decode_first(const FrameReader& reader, const Frame& frame, const std::string& name) {
  SnapshotHeader h;
  StateReader in(frame.payload);
  sync(in, h);
  if (!in.good()) return tl::make_unexpected(reader.wrong(frame, in.error()));
  auto origin = callgate::decode_header(frame.payload.subspan(32), name, kSnapshotFormat.what);
  if (!origin) return tl::make_unexpected(origin.error());
  h.origin = std::move(*origin);
  return h;
}

Result<Frame> expect(FrameReader& reader, Kind kind, const std::string& name, std::size_t size) {
  auto frame = reader.next();
  if (!frame) return tl::make_unexpected(frame.error());
  if (!*frame) return fail(ErrorKind::BadFile, fmt::format("{}: the snapshot is cut off at byte {}", name, size));
  if ((*frame)->kind != static_cast<u32>(kind)) return tl::make_unexpected(reader.wrong(**frame, "it is not what should follow"));
  return **frame;
}

}  // namespace

Result<SnapshotHeader> save_snapshot(Machine& machine, const RecordingHeader& origin, const std::string& path) {
  auto made = FrameWriter::create(path, kSnapshotFormat);
  if (!made) return tl::make_unexpected(made.error());
  FrameWriter& writer = **made;
  SnapshotHeader h{origin, machine.count(), machine.now(), machine.hash(), 0};
  h.origin.machine = machine.config();
  h.origin.cpu_features = cpu_features_hash();
  Ram& ram = machine.ram();
  std::vector<u32> frames;
  for (u32 f = 0; f < ram.frames(); f++)
    if (!ram.is_zero(f)) frames.push_back(f);
  h.pages = frames.size();
  const auto append = [&](Kind kind, std::span<const u8> payload, bool compress) {
    return writer.append(static_cast<u32>(kind), payload, compress);
  };
  Result<> done = append(Kind::Header, encode(h), true);
  if (done) done = append(Kind::Devices, machine.save_devices(), true);
  std::vector<u8> contents, payload;
  for (std::size_t at = 0; at < frames.size() && done; at += kPagesInPiece) {
    const u32 pages = static_cast<u32>(std::min<std::size_t>(kPagesInPiece, frames.size() - at));
    contents.clear();
    const std::size_t head = 4 + 4 * pages;
    for (u32 i = 0; i < pages; i++) contents.insert(contents.end(), ram.frame(frames[at + i]), ram.frame(frames[at + i]) + kPageSize);
    payload.assign(head + static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(contents.size()))), 0);
    store_as<u32>(payload.data(), pages);
    for (u32 i = 0; i < pages; i++) store_as<u32>(payload.data() + 4 + 4 * i, frames[at + i]);
    const int packed = LZ4_compress_default(reinterpret_cast<const char*>(contents.data()), reinterpret_cast<char*>(payload.data() + head),
                                            static_cast<int>(contents.size()), static_cast<int>(payload.size() - head));
    VERIFY(packed > 0, "LZ4 could not pack pages");
    payload.resize(head + static_cast<std::size_t>(packed));
    done = append(Kind::Pages, payload, false);
  }
  std::vector<u8> end(8);
  store_as<u64>(end.data(), h.pages);
  if (done) done = append(Kind::End, end, false);
  if (!done) {
    writer.remove();
    return tl::make_unexpected(done.error());
  }
  return h;
}

Result<SnapshotHeader> read_snapshot_header(std::span<const u8> file, const std::string& name) {
  auto reader = FrameReader::open(file, name, kSnapshotFormat);
  if (!reader) return tl::make_unexpected(reader.error());
  auto frame = expect(*reader, Kind::Header, name, file.size());
  if (!frame) return tl::make_unexpected(frame.error());
  return decode_first(*reader, *frame, name);
}

Result<LoadedSnapshot> load_snapshot(const std::string& path, Engine engine, const TranslatorTuning& tuning) {
  auto bytes = boot::read_file(path);
  if (!bytes) return tl::make_unexpected(bytes.error());
  return load_snapshot(std::move(*bytes), path, engine, tuning);
}

Result<LoadedSnapshot> load_snapshot(boot::FileBytes bytes, const std::string& name, Engine engine, const TranslatorTuning& tuning) {
  const std::size_t size = bytes.size();
  LoadedSnapshot out;
  auto header = read_snapshot_header(bytes, name);
  if (!header) return tl::make_unexpected(header.error());
  out.header = std::move(*header);
  MachineConfig config = out.header.origin.machine;
  if (config.cpu_model == guest_cpu().model && out.header.origin.cpu_features != cpu_features_hash())
    return fail(ErrorKind::BadFile, fmt::format("{}: the CPU model \"{}\" of the snapshot offers other features than this build's: load it "
                                                "with the build that made it (callgate {})",
                                                name, config.cpu_model, out.header.origin.version));
  config.engine = engine;
  config.translator = tuning;
  auto machine = Machine::create(config);
  if (!machine) return fail(machine.error().kind, fmt::format("{}: {}", name, machine.error().message));
  out.machine = std::move(*machine);

  // A fresh machine has the firmware's leavings in its RAM: pages that are not in the file are zero.
  Machine& m = *out.machine;
  for (u32 f = 0; f < std::min(m.ram().frames(), kLowFrames); f++)
    if (!m.ram().is_zero(f)) m.put_page(f, nullptr);
  auto reader = FrameReader::open(bytes, name, kSnapshotFormat);
  if (!reader) return tl::make_unexpected(reader.error());
  if (auto frame = expect(*reader, Kind::Header, name, size); !frame) return tl::make_unexpected(frame.error());
  std::vector<u8> devices;
  {
    auto frame = expect(*reader, Kind::Devices, name, size);
    if (!frame) return tl::make_unexpected(frame.error());
    devices.assign(frame->payload.begin(), frame->payload.end());
  }
  u64 count = 0;
  u32 least = 0;
  for (;;) {
    auto frame = reader->next();
    if (!frame) return tl::make_unexpected(frame.error());
    if (!*frame) return fail(ErrorKind::BadFile, fmt::format("{}: the snapshot is cut off at byte {}", name, size));
    const Frame& f = **frame;
    const auto wrong = [&](const std::string& why) { return tl::make_unexpected(reader->wrong(f, why)); };
    if (f.kind == static_cast<u32>(Kind::End)) {
      if (f.payload.size() != 8 || load_as<u64>(f.payload.data()) != count || count != out.header.pages) return wrong("pages are missing");
      if (reader->position() != size) return wrong("there is more after the end");
      break;
    }
    if (f.kind != static_cast<u32>(Kind::Pages)) return wrong("it is not what should follow");
    if (const std::string error = unpack(f.payload, m, least, count); !error.empty()) return wrong(error);
  }
  if (auto restored = out.machine->restore_devices(devices); !restored)
    return fail(ErrorKind::BadFile, fmt::format("{}: the snapshot is damaged: {}", name, restored.error().message));
  if (out.machine->hash() != out.header.hash || out.machine->count() != out.header.count)
    return fail(ErrorKind::BadFile, fmt::format("{}: the snapshot is not what it says: its state's hash is another one, so another build made it", name));
  return out;
}

}  // namespace callgate
