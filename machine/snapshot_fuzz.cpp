// The reader of snapshots against libFuzzer. The first byte chooses: the rest is a whole file, or patches to the payloads
// of a good one's records (a record, an offset of two bytes, a length, the bytes), with checksums made right. What is
// loaded runs and is saved again.
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "base/bits.h"
#include "base/state_io.h"
#include "base/verify.h"
#include "machine/snapshot.h"
#include "machine/test_guests.h"

using namespace callgate;

namespace {

struct Good {
  Good() {
    auto m = test::machine_with(test::going_back_guest(), {.ram_bytes = u64{9} << 20, .paravirt = parse_paravirt("callgate").value()});
    m->run({.until_count = 40'000});
    RecordingHeader origin;
    origin.files.push_back({RecordedFile::Role::Kernel, "kernel", "", {}, false});
    const std::string path = "/tmp/callgate-snapshot-fuzz-" + std::to_string(::getpid());
    VERIFY(save_snapshot(*m, origin, path).has_value(), "a good machine could not be saved");
    std::ifstream in(path, std::ios::binary);
    file.assign(std::istreambuf_iterator<char>(in), {});
    std::remove(path.c_str());
    auto reader = FrameReader::open(file, "good", kSnapshotFormat).value();
    while (auto frame = reader.next().value()) records.push_back({frame->kind, {frame->payload.begin(), frame->payload.end()}});
  }
  std::vector<u8> file;
  std::vector<std::pair<u32, std::vector<u8>>> records;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static const Good good;
  if (size == 0) return 0;
  std::span<const u8> rest(data + 1, size - 1);
  std::vector<u8> file;
  if (data[0] & 1) {
    file.assign(rest.begin(), rest.end());
  } else {
    auto records = good.records;
    std::vector<std::pair<std::size_t, u8>> last;  // patches of the last record: they come behind its numbers
    while (rest.size() >= 4) {
      auto& payload = records[rest[0] % records.size()].second;
      const std::size_t at = (rest[1] | rest[2] << 8) % (payload.size() + 1);
      const std::size_t length = std::min<std::size_t>({rest[3] % 17u, rest.size() - 4, payload.size() - at});
      std::copy_n(rest.begin() + 4, length, payload.begin() + static_cast<std::ptrdiff_t>(at));
      if (&payload == &records.back().second)
        for (std::size_t i = 0; i < length; i++) last.push_back({at + i, rest[4 + i]});
      rest = rest.subspan(4 + length);
    }
    FrameEncoder encoder(kSnapshotFormat);
    const auto append = [&](const std::vector<u8>& bytes) { file.insert(file.end(), bytes.begin(), bytes.end()); };
    append(encoder.head());
    // Where the tables are and what their sum is are made right.
    u64 tables_at = 0, sum = 0;
    for (auto& [kind, payload] : records) {
      const bool table = kind == static_cast<u32>(SnapshotRecord::Table) || kind == static_cast<u32>(SnapshotRecord::Sizes);
      if (table && tables_at == 0) tables_at = file.size();
      if (table) sum = hash_bytes(payload, sum);
      if (kind == static_cast<u32>(SnapshotRecord::End)) {
        store_as<u64>(payload.data() + 16, tables_at);
        store_as<u64>(payload.data() + 32, sum);
        for (const auto& [at, byte] : last) payload[at] = byte;
      }
      append(encoder.record(kind, payload, kind < 2));
    }
  }
  // Large machines are allowed, and would only make this slow.
  if (const auto info = check_snapshot(FileBytesAt::of(file), "fuzz"); info && info->header.origin.machine.ram_bytes > u64{64} << 20) return 0;
  auto loaded = load_snapshot(std::move(file), "fuzz", Engine::Interpreter);
  if (!loaded) {
    VERIFY(loaded.error().message.find(": ") != std::string::npos, "an error names the file");
    return 0;
  }
  for (unsigned idle = 0; idle < 20; idle++)
    if (loaded->machine->run({.until_count = loaded->header.count + 5'000, .stop_when_idle = true}).reason != StopReason::Idle) break;
  loaded->machine->hash();
  return 0;
}
