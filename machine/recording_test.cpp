// A recording replays on every engine, and says so; a damaged one is refused with its place, whatever the damage.
#include "machine/recording.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "machine/recorder.h"
#include "machine/replay.h"
#include "machine/test_files.h"
#include "machine/test_guests.h"

using namespace callgate;
using namespace callgate::test;

namespace {

struct Made {
  std::vector<u8> bytes;
  u64 count, hash;
};

/// Records the busy guest with some typing. The end is what the last run says.
Made record(const std::string& path, const MachineConfig& config, bool bundle, const std::vector<u8>& code = kBusyGuest, u64 until = 200'000) {
  auto m = Machine::create(config).value();
  boot::BootInputs inputs = small_kernel(*m, code);
  inputs.kernel.name = path + ".kernel";
  write_file(inputs.kernel.name, inputs.kernel.bytes);
  auto recorder = Recorder::create({.path = path, .version = "test", .id = 7, .bundle = bundle, .hash_every = 30'000}, *m, start_of(inputs, {}, "test")).value();
  REQUIRE(m->load(std::move(inputs)).has_value());
  REQUIRE(recorder->begin().has_value());
  recorder->run({.until_count = until / 3});
  m->serial_input(bytes_of("typed while it runs"));
  recorder->run({.until_count = until / 2});
  m->serial_input(bytes_of("and again"));
  while (recorder->run({.until_count = until, .stop_when_idle = true}).reason == StopReason::Idle)
    ;
  REQUIRE(recorder->finish().has_value());
  return {read_bytes(path), m->count(), m->hash()};
}

ReplayOutcome replay(Recording recording, Replay::Options options, std::string* verdict = nullptr, u64 slice = ~u64{0}) {
  auto r = Replay::create(std::move(recording), options);
  REQUIRE_MESSAGE(r.has_value(), (r ? "" : r.error().message));
  while (!(*r)->run(slice))
    ;
  if (verdict != nullptr) *verdict = (*r)->verdict();
  return (*r)->outcome();
}

const MachineConfig kConfig{.ram_bytes = 16 << 20};

}  // namespace

TEST_CASE("a recording replays on every engine, in pieces of any size, and says that it matched") {
  Folder folder;
  const Made made = record(folder / "r", kConfig, true);
  const Recording recording = read_recording(made.bytes, "r").value();
  CHECK(recording.end.has_value());
  CHECK(recording.inputs.size() > 3);
  CHECK(recording.hashes.size() == 7);
  std::string verdict;
  CHECK(replay(recording, {.engine = Engine::Interpreter}, &verdict) == ReplayOutcome::Matched);
  CHECK(verdict.find("matched: 200000 instructions") != std::string::npos);
  CHECK(replay(recording, {.engine = Engine::Interpreter}, nullptr, 777) == ReplayOutcome::Matched);
  if (default_engine() != Engine::Translator) return;
  CHECK(replay(recording, {.engine = Engine::Translator}) == ReplayOutcome::Matched);
  CHECK(replay(recording, {.engine = Engine::Translator, .translator = {.chaining = false, .most_insns = 1}}) == ReplayOutcome::Matched);
  const Made by_interpreter = record(folder / "i", {.ram_bytes = 16 << 20, .engine = Engine::Interpreter}, true);
  CHECK(replay(read_recording(by_interpreter.bytes, "i").value(), {.engine = Engine::Translator}) == ReplayOutcome::Matched);
}

TEST_CASE("several processors are recorded alike") {
  Folder folder;
  const Made made = record(folder / "r", {.ram_bytes = 16 << 20, .cpus = 3}, true);
  CHECK(replay(read_recording(made.bytes, "r").value(), {}, nullptr, 4'999) == ReplayOutcome::Matched);
}

TEST_CASE("every way that a run ends is found again") {
  Folder folder;
  const std::vector<std::pair<const char*, std::vector<u8>>> guests = {
      {"debug exit", {0xB9, 0x88, 0x13, 0, 0, 0xE2, 0xFE, 0xB0, 21, 0xE6, 0xF4, 0xEB, 0xFE}},
      {"power off", {0x66, 0xBA, 0x04, 0x06, 0x66, 0xB8, 0x00, 0x20, 0x66, 0xEF, 0xEB, 0xFE}},
      {"triple fault", {0x40, 0x40, 0x0F, 0x0B}},
      {"halted for good", {0x40, 0xFA, 0xF4}},
      {"halted with interrupts on", {0x40, 0xFB, 0xF4}},
      {"count", {0x40, 0xEB, 0xFD}},
  };
  for (const auto& [name, code] : guests) {
    CAPTURE(name);
    auto m = Machine::create(kConfig).value();
    boot::BootInputs inputs = small_kernel(*m, code);
    auto recorder = Recorder::create({.path = folder / name, .bundle = true}, *m, start_of(inputs, {}, "test")).value();
    REQUIRE(m->load(std::move(inputs)).has_value());
    REQUIRE(recorder->begin().has_value());
    recorder->run({.until_count = 10'000, .stop_when_idle = true});
    REQUIRE(recorder->finish().has_value());
    std::string verdict;
    CHECK(replay(load_recording(folder / name).value(), {}, &verdict) == ReplayOutcome::Matched);
    CAPTURE(verdict);
  }
}

TEST_CASE("an end in the middle of halted time is found again") {
  Folder folder;
  auto m = Machine::create(kConfig).value();
  boot::BootInputs inputs = small_kernel(*m, kBusyGuest);
  auto recorder = Recorder::create({.path = folder / "r", .bundle = true}, *m, start_of(inputs, {}, "test")).value();
  REQUIRE(m->load(std::move(inputs)).has_value());
  REQUIRE(recorder->begin().has_value());
  for (int idle = 0; idle < 3; idle += recorder->run({.stop_when_idle = true}).reason == StopReason::Idle)
    ;
  SUBCASE("as it is") {}
  SUBCASE("after a request") {
    m->request_stop();
    CHECK(recorder->run({.stop_when_idle = true}).reason == StopReason::Requested);
  }
  SUBCASE("with an input that came there") {
    m->serial_input(bytes_of("x"));
    recorder->run({.until_count = m->count() + 3});
    CHECK(m->journal().taken() == 1);
  }
  REQUIRE(recorder->finish().has_value());
  CHECK(replay(load_recording(folder / "r").value(), {}) == ReplayOutcome::Matched);
}

TEST_CASE("a replay stops where it is told to, and can go on live as a recording of its own") {
  Folder folder;
  record(folder / "r", kConfig, true);
  auto r = Replay::create(load_recording(folder / "r").value(), {.until = 123'456}).value();
  REQUIRE(r->run(~u64{0}));
  CHECK(r->outcome() == ReplayOutcome::Stopped);
  CHECK(r->machine().count() == 123'456);
  r->go_live();
  auto child = Recorder::create({.path = folder / "child", .id = 8, .bundle = true, .hash_every = 30'000}, r->machine(), r->start(true).value(),
                                &r->recording()).value();
  REQUIRE(child->begin(&r->recording()).has_value());
  r->machine().serial_input(bytes_of("something else"));
  child->run({.until_count = 180'000});
  REQUIRE(child->finish().has_value());
  const Recording recording = load_recording(folder / "child").value();
  CHECK(recording.header.parent == 7);
  CHECK(recording.header.parent_count == 123'456);
  CHECK(recording.header.parent_name == folder / "r");
  std::string verdict;
  CHECK(replay(recording, {}, &verdict) == ReplayOutcome::Matched);
  CAPTURE(verdict);
}

TEST_CASE("what is not bundled is read again, and must be the same") {
  Folder folder;
  const Made made = record(folder / "r", kConfig, false);
  CHECK(replay(load_recording(folder / "r").value(), {}) == ReplayOutcome::Matched);
  std::vector<u8> kernel = read_bytes(folder / "r.kernel");
  write_file(folder / "other", kernel);
  CHECK(std::rename((folder / "r.kernel").c_str(), (folder / "moved").c_str()) == 0);
  CHECK(Replay::create(load_recording(folder / "r").value(), {}).error().kind == ErrorKind::MissingFile);
  CHECK(replay(load_recording(folder / "r").value(), {.kernel = folder / "moved"}) == ReplayOutcome::Matched);
  kernel.back() ^= 1;
  write_file(folder / "changed", kernel);
  const auto refused = Replay::create(load_recording(folder / "r").value(), {.kernel = folder / "changed"});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("not the kernel of") != std::string::npos);
}

TEST_CASE("an existing file is not written over") {
  Folder folder;
  write_file(folder / "r", bytes_of("mine"));
  auto m = busy_machine();
  const auto refused = Recorder::create({.path = folder / "r"}, *m, start_of(small_kernel(*m, kBusyGuest), {}, "test"));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("exists already") != std::string::npos);
  CHECK(read_bytes(folder / "r").size() == 4);
}

TEST_CASE("a recording cut at any byte is read as far as it goes, and never taken for whole") {
  Folder folder;
  const Made made = record(folder / "r", kConfig, true);
  std::size_t usable = 0;
  for (std::size_t size = 0; size < made.bytes.size(); size++) {
    CAPTURE(size);
    const auto cut = read_recording(std::span(made.bytes).first(size), "r");
    if (!cut) {
      REQUIRE(cut.error().kind == ErrorKind::BadFile);
      REQUIRE(cut.error().message.find(size < 16 ? "r: " : fmt::format("cut off at byte {}", size)) != std::string::npos);
      continue;
    }
    usable++;
    REQUIRE_FALSE(cut->end.has_value());
    REQUIRE(cut->cut().find(fmt::format("cut off at byte {}", size)) != std::string::npos);
  }
  CHECK(usable > 500);
  // And such a prefix replays, with the verdict that it has no end.
  for (const std::size_t size : {made.bytes.size() - 1, made.bytes.size() - 150, made.bytes.size() - 500}) {
    std::string verdict;
    CHECK(replay(read_recording(std::span(made.bytes).first(size), "r").value(), {}, &verdict) == ReplayOutcome::CutOff);
    CHECK(verdict.find("no end") != std::string::npos);
  }
}

TEST_CASE("a flip of any bit is told with its place") {
  Folder folder;
  const Made made = record(folder / "r", kConfig, true);
  std::vector<u8> bytes = made.bytes;
  for (std::size_t at = 0; at < bytes.size(); at++)
    for (unsigned bit = 0; bit < 8; bit++) {
      CAPTURE(at);
      CAPTURE(bit);
      bytes[at] ^= static_cast<u8>(1u << bit);
      const auto read = read_recording(bytes, "r");
      REQUIRE_FALSE(read.has_value());
      REQUIRE(read.error().kind == ErrorKind::BadFile);
      REQUIRE(read.error().message.find('\n') == std::string::npos);
      if (at >= kFrameFileHeader) REQUIRE(read.error().message.find("at byte ") != std::string::npos);
      bytes[at] ^= static_cast<u8>(1u << bit);
    }
}

namespace {
/// Where each record begins and ends.
std::vector<std::pair<std::size_t, std::size_t>> frames_of(const std::vector<u8>& bytes) {
  std::vector<std::pair<std::size_t, std::size_t>> out;
  auto reader = FrameReader::open(bytes, "r", kRecordingFormat).value();
  for (;;) {
    const u64 from = reader.position();
    if (!reader.next().value()) return out;
    out.push_back({from, reader.position()});
  }
}
}  // namespace

TEST_CASE("records that are swapped, repeated, left out or another recording's are told") {
  Folder folder;
  const Made made = record(folder / "r", kConfig, true), other = record(folder / "o", kConfig, true, kBusyGuest, 150'000);
  const auto frames = frames_of(made.bytes);
  REQUIRE(frames.size() > 10);
  const auto piece = [&](const std::vector<u8>& from, std::size_t i) {
    return std::vector<u8>(from.begin() + static_cast<std::ptrdiff_t>(frames[i].first), from.begin() + static_cast<std::ptrdiff_t>(frames[i].second));
  };
  const auto build = [&](const std::vector<std::size_t>& order) {
    std::vector<u8> out(made.bytes.begin(), made.bytes.begin() + kFrameFileHeader);
    for (const std::size_t i : order) {
      const auto p = piece(made.bytes, i);
      out.insert(out.end(), p.begin(), p.end());
    }
    return out;
  };
  std::vector<std::size_t> all(frames.size());
  for (std::size_t i = 0; i < all.size(); i++) all[i] = i;
  REQUIRE(read_recording(build(all), "r").has_value());
  const auto refused = [&](const std::vector<u8>& bytes) {
    const auto read = read_recording(bytes, "r");
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().message.find("record ") != std::string::npos);
    CHECK(read.error().message.find("at byte ") != std::string::npos);
  };
  for (std::size_t i = 0; i + 1 < all.size(); i++) {
    auto order = all;
    std::swap(order[i], order[i + 1]);
    refused(build(order));
    order = all;
    order.erase(order.begin() + static_cast<std::ptrdiff_t>(i));
    refused(build(order));
    order = all;
    order.insert(order.begin() + static_cast<std::ptrdiff_t>(i), i);
    refused(build(order));
  }
  auto order = all;
  order.push_back(all.back());
  refused(build(order));
  // Without its last record it is a recording that was cut.
  order = all;
  order.pop_back();
  CHECK_FALSE(read_recording(build(order), "r")->end.has_value());
}

TEST_CASE("a replay that goes another way says where") {
  Folder folder;
  const Made made = record(folder / "r", kConfig, true);
  Recording recording = read_recording(made.bytes, "r").value();
  std::string verdict;
  SUBCASE("another byte was typed") {
    recording.inputs[2].bytes[0] ^= 1;
    CHECK(replay(recording, {}, &verdict) == ReplayOutcome::Different);
    CHECK(verdict.find("the same at count 60000") != std::string::npos);
  }
  SUBCASE("at another moment") {
    recording.inputs[2].count++;
    CHECK(replay(recording, {}, &verdict) == ReplayOutcome::Different);
  }
  SUBCASE("an input is missing") {
    recording.inputs.erase(recording.inputs.begin() + 2);
    CHECK(replay(recording, {}, &verdict) == ReplayOutcome::Different);
  }
  SUBCASE("another amount of RAM") {
    recording.header.machine.ram_bytes += kPageSize;
    CHECK(replay(recording, {}, &verdict) == ReplayOutcome::Different);
    CHECK(verdict.find("already at the start") != std::string::npos);
  }
  SUBCASE("another end") {
    recording.end->reason = StopReason::PowerOff;
    CHECK(replay(recording, {}, &verdict) == ReplayOutcome::Different);
    CHECK(verdict.find("powered off") != std::string::npos);
  }
  SUBCASE("another CPU model") {
    recording.header.cpu_features++;
    CHECK(Replay::create(recording, {}).error().message.find("CPU model") != std::string::npos);
    recording.header.machine.cpu_model = "486";
    CHECK(Replay::create(recording, {}).error().message.find("486") != std::string::npos);
  }
  CHECK(verdict.find('\n') == std::string::npos);
}

TEST_CASE("another build is refused by its number") {
  RecordingHeader header;
  header.behaviour = kBehaviour + 1;
  header.version = "9.9";
  header.files.push_back({RecordedFile::Role::Kernel, "k", "", {}, false});
  Folder folder;
  {
    auto writer = FrameWriter::create(folder / "r", kRecordingFormat).value();
    REQUIRE(writer->append(0, encode(header)).has_value());
  }
  const auto read = load_recording(folder / "r");
  REQUIRE_FALSE(read.has_value());
  CHECK(read.error().message.find("of another build (callgate 9.9") != std::string::npos);
}

TEST_CASE("a full disk ends the recording after a whole record, and the run goes on") {
  if (::access("/dev/full", W_OK) != 0) return;
  // A limit on the size of files is the disk that is full.
  Folder folder;
  const std::string path = folder / "r";
  const int child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1500, 1500};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto m = Machine::create(kConfig).value();
    boot::BootInputs inputs = small_kernel(*m, kBusyGuest);
    auto recorder = Recorder::create({.path = path, .bundle = true, .hash_every = 5'000}, *m, start_of(inputs, {}, "test")).value();
    if (!m->load(std::move(inputs)).has_value() || !recorder->begin().has_value()) ::_exit(1);
    const Stop stop = recorder->run({.until_count = 400'000});
    ::_exit(stop.reason == StopReason::CountReached && m->count() == 400'000 && recorder->error() && !recorder->finish() ? 0 : 2);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  const Recording recording = load_recording(path).value();
  CHECK(recording.readable == recording.bytes);
  CHECK(recording.hashes.size() > 5);
  CHECK(replay(recording, {}) == ReplayOutcome::CutOff);
}
