// A machine that was saved and loaded goes on as if nothing had happened, from any place; a damaged file is refused.
#include "machine/snapshot.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <random>

#include "machine/test_files.h"
#include "machine/test_guests.h"
#include "mmu/ram.h"

using namespace callgate;
using namespace callgate::test;

namespace {

RecordingHeader origin() {
  RecordingHeader h;
  h.version = "test";
  h.files.push_back({RecordedFile::Role::Kernel, "small kernel", "", {}, false});
  return h;
}

std::vector<u8> saved(Machine& m) {
  Folder folder;
  const auto done = save_snapshot(m, origin(), folder / "s");
  REQUIRE_MESSAGE(done.has_value(), (done ? "" : done.error().message));
  return read_bytes(folder / "s");
}

std::unique_ptr<Machine> loaded(const std::vector<u8>& bytes, Engine engine = default_engine()) {
  auto made = load_snapshot(bytes, "s", engine);
  REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
  return std::move(made->machine);
}

/// run(a + b) equals run(a), save, load, run(b); and what is saved again is the same to the byte.
void check_goes_on(const MachineConfig& config, const std::vector<u8>& code, u64 at, u64 end, Engine engine) {
  CAPTURE(at);
  auto m = machine_with(code, config);
  m->run({.until_count = at});
  const std::vector<u8> bytes = saved(*m);
  auto other = loaded(bytes, engine);
  REQUIRE(other->count() == m->count());
  REQUIRE(other->hash() == m->hash());
  require_same_at(*m, *other, end);
  REQUIRE(saved(*loaded(bytes)) == bytes);
}

}  // namespace

TEST_CASE("a saved machine goes on the same from random places, on either engine") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 6; i++) check_goes_on({.ram_bytes = 16 << 20}, kBusyGuest, 1 + random() % 100'000, 150'000, Engine::Interpreter);
  for (int i = 0; i < 3; i++) check_goes_on({.ram_bytes = 16 << 20, .cpus = 2}, kBusyGuest, 1 + random() % 100'000, 150'000, default_engine());
}

TEST_CASE("the same at every instruction, with interrupt shadows and REP steps in between") {
  // Segments of 4 GiB; then for ever: cli; sti; mov ss, eax; nop; rep movsb of 9,000 bytes across pages; add [0x200010], edi
  const std::vector<u8> code = {
      0x0F, 0x01, 0x15, 0x70, 0x00, 0x10, 0x00, 0xEA, 0x2E, 0x00, 0x10, 0x00, 0x08, 0x00, 0xB8, 0x10, 0x00, 0x00,
      0x00, 0x8E, 0xD8, 0x8E, 0xC0, 0xFA, 0xFB, 0x8E, 0xD0, 0x90, 0xB9, 0x28, 0x23, 0x00, 0x00, 0xBE, 0x07, 0x00,
      0x20, 0x00, 0xBF, 0x01, 0x01, 0x30, 0x00, 0xF3, 0xA4, 0x01, 0x3D, 0x10, 0x00, 0x20, 0x00, 0xEB, 0xE2, 0x8D,
      0x76, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x9B, 0xCF, 0x00,
      0xFF, 0xFF, 0x00, 0x00, 0x00, 0x93, 0xCF, 0x00, 0x17, 0x00, 0x58, 0x00, 0x10, 0x00,
  };
  for (u64 at = 1; at < 40; at++) check_goes_on({.ram_bytes = 16 << 20}, code, at, at + 60, default_engine());
}

TEST_CASE("every page of RAM is there") {
  auto m = busy_machine();
  m->run({.until_count = 100'000});
  auto other = loaded(saved(*m));
  std::vector<u8> a(m->config().ram_bytes), b(a.size());
  // A window into registers is no RAM: page by page.
  u64 differences = 0;
  for (u64 at = 0; at < a.size(); at += kPageSize) {
    const bool x = m->read_physical(at, std::span(a).first(kPageSize)), y = other->read_physical(at, std::span(b).first(kPageSize));
    differences += x != y || (x && !std::equal(a.begin(), a.begin() + kPageSize, b.begin()));
  }
  CHECK(differences == 0);
  CHECK(other->hash() == m->hash());
}

TEST_CASE("checkpoints and the timeline's rewinding work on a loaded machine") {
  auto m = busy_machine();
  m->run({.until_count = 50'000});
  auto other = loaded(saved(*m));
  const auto checkpoint = other->checkpoint();
  const u64 hash = other->hash();
  other->run({.until_count = 90'000});
  m->run({.until_count = 90'000});
  CHECK(other->hash() == m->hash());
  other->restore(*checkpoint);
  CHECK(other->hash() == hash);
  other->run({.until_count = 90'000});
  CHECK(other->hash() == m->hash());
}

TEST_CASE("a guest that resets itself after loading starts again when it is told with what") {
  // in al, 0x64 is not needed: mov al, 0xFE; out 0x64, al pulses the reset line
  const std::vector<u8> code = {0xB9, 0x88, 0x13, 0, 0, 0xE2, 0xFE, 0xB0, 0xFE, 0xE6, 0x64, 0xEB, 0xFE};
  auto m = machine_with(code, {.ram_bytes = 16 << 20});
  m->run({.until_count = 1'000});
  const auto bytes = saved(*m);
  auto other = loaded(bytes);
  CHECK(other->run({.until_count = 20'000}).reason == StopReason::Reset);
  auto third = loaded(bytes);
  third->on_reset([&]() -> std::optional<boot::BootPlan> { return boot::plan_boot(small_kernel(*third, code)).value(); });
  m->run({.until_count = 20'000});
  CHECK(third->run({.until_count = 20'000}).reason == StopReason::CountReached);
  CHECK(third->hash() == m->hash());
}

namespace {

/// What is said of a snapshot's bytes: when it is loaded, or when its pages are wanted. Empty: nothing.
std::string wrong_with(const std::vector<u8>& bytes) {
  auto made = load_snapshot(bytes, "s");
  if (!made) {
    REQUIRE(made.error().kind == ErrorKind::BadFile);
    return made.error().message;
  }
  const auto checked = check_snapshot(FileBytesAt::of(bytes), "s");
  // Whoever takes all pages finds it, too: the machine doesn't run then, and can't be saved.
  Machine& m = *made->machine;
  for (u32 f = 0; f < m.ram().frames(); f++) m.ram().frame(f);
  REQUIRE(m.damage().empty() == checked.has_value());
  if (checked) return "";
  REQUIRE(m.run({.until_count = m.count() + 10}).reason == StopReason::Damaged);
  Folder folder;
  const auto refused = save_snapshot(m, origin(), folder / "s");
  REQUIRE_FALSE(refused.has_value());
  REQUIRE(refused.error().message == m.damage());
  REQUIRE(m.damage() == checked.error().message);
  return m.damage();
}

}  // namespace

TEST_CASE("a snapshot cut at any byte is refused") {
  auto m = machine_with({0x40, 0xEB, 0xFD}, {.ram_bytes = 2 << 20});
  m->run({.until_count = 100});
  const std::vector<u8> bytes = saved(*m);
  for (std::size_t size = 0; size < bytes.size(); size += size < 3000 ? 1 : 97) {
    CAPTURE(size);
    const auto refused = load_snapshot(std::vector<u8>(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)), "s");
    REQUIRE_FALSE(refused.has_value());
    REQUIRE(refused.error().kind == ErrorKind::BadFile);
    if (size > kFrameFileHeader) REQUIRE(refused.error().message.find(fmt::format("cut off at byte {}", size)) != std::string::npos);
  }
}

TEST_CASE("a flip of any bit of a snapshot is told with its place") {
  auto m = machine_with({0x40, 0xEB, 0xFD}, {.ram_bytes = 2 << 20});
  m->run({.until_count = 100});
  std::vector<u8> bytes = saved(*m);
  REQUIRE(wrong_with(bytes).empty());
  std::mt19937_64 random(5);
  for (std::size_t at = 0; at < bytes.size(); at += 1 + random() % 5) {
    CAPTURE(at);
    const u8 bit = static_cast<u8>(1u << random() % 8);
    bytes[at] ^= bit;
    const std::string wrong = wrong_with(bytes);
    REQUIRE_FALSE(wrong.empty());
    if (at >= kFrameFileHeader) REQUIRE(wrong.find("at byte ") != std::string::npos);
    bytes[at] ^= bit;
  }
}

TEST_CASE("damage that is found in the middle of a run stops it, and nothing else happens") {
  auto m = busy_machine();
  m->run({.until_count = 150'000});
  Folder folder;
  REQUIRE(save_snapshot(*m, origin(), folder / "s").has_value());
  std::vector<u8> bytes = read_bytes(folder / "s");
  // Somewhere in the pages, far from what the next instruction needs.
  bytes[bytes.size() / 2] ^= 1;
  write_file(folder / "bad", bytes);
  for (const Engine engine : {Engine::Interpreter, default_engine()}) {
    auto made = load_snapshot(folder / "bad", engine);
    REQUIRE(made.has_value());
    Machine& bad = *made->machine;
    REQUIRE(bad.hash() == m->hash());
    const Stop stop = bad.run({.until_count = 3'000'000});
    CHECK(stop.reason == StopReason::Damaged);
    CHECK(bad.count() < 3'000'000);
    CHECK(bad.damage().starts_with((folder / "bad") + ": the snapshot is damaged: record "));
    CHECK(bad.run({.until_count = 4'000'000}).reason == StopReason::Damaged);
  }
  // A file that is cut off while the machine runs.
  auto made = load_snapshot(folder / "s");
  REQUIRE(made.has_value());
  REQUIRE(::truncate((folder / "s").c_str(), 2000) == 0);
  CHECK(made->machine->run({.until_count = 3'000'000}).reason == StopReason::Damaged);
  CHECK(made->machine->damage().find("it can't be read") != std::string::npos);
}

TEST_CASE("pages that are there already are left out: twice the same, and what a base has") {
  Folder folder;
  auto m = busy_machine();
  m->run({.until_count = 60'000});
  std::vector<u8> page(kPageSize);
  for (std::size_t i = 0; i < page.size(); i++) page[i] = static_cast<u8>(i * i >> 3);
  for (const u64 at : {0x80'0000, 0x90'1000, 0xA0'0000}) REQUIRE(m->write_physical(at, page));
  REQUIRE(save_snapshot(*m, origin(), folder / "base").has_value());
  const SnapshotInfo whole = check_snapshot(FileBytesAt::open(folder / "base").value(), "base").value();
  CHECK(whole.pages >= whole.slots + 2);
  CHECK(whole.of_base == 0);

  m->run({.until_count = 70'000});
  REQUIRE(m->write_physical(0x90'1000, std::vector<u8>(kPageSize)));  // zero now, and not so in the base
  const auto done = save_snapshot(*m, origin(), folder / "delta", folder / "base");
  REQUIRE_MESSAGE(done.has_value(), (done ? "" : done.error().message));
  const SnapshotInfo delta = check_snapshot(FileBytesAt::open(folder / "delta").value(), folder / "delta").value();
  CHECK(delta.of_base > 100);
  CHECK(delta.slots < whole.slots);
  CHECK(delta.bytes < whole.bytes);
  m->run({.until_count = 80'000});
  REQUIRE(save_snapshot(*m, origin(), folder / "third", folder / "delta").has_value());

  // Saved again with the same base, without having run: the same bytes.
  auto again = load_snapshot(folder / "delta");
  REQUIRE_MESSAGE(again.has_value(), (again ? "" : again.error().message));
  REQUIRE(save_snapshot(*again->machine, origin(), folder / "delta2", folder / "base").has_value());
  CHECK(read_bytes(folder / "delta2") == read_bytes(folder / "delta"));
  // A base of a base.
  auto third = load_snapshot(folder / "third");
  REQUIRE(third.has_value());
  CHECK(third->machine->hash() == m->hash());
  require_same_at(*third->machine, *m, 120'000);
  require_same_at(*again->machine, *m, 120'000);

  // Another one under the base's name; none; one of another machine.
  auto other = busy_machine();
  other->run({.until_count = 1'000});
  REQUIRE(std::rename((folder / "base").c_str(), (folder / "moved").c_str()) == 0);
  CHECK(load_snapshot(folder / "delta").error().kind == ErrorKind::MissingFile);
  REQUIRE(save_snapshot(*other, origin(), folder / "base").has_value());
  const auto refused = load_snapshot(folder / "delta");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("not the base of") != std::string::npos);
  auto small = machine_with(kBusyGuest, {.ram_bytes = 15 << 20});
  CHECK(save_snapshot(*small, origin(), folder / "no", folder / "moved").error().kind == ErrorKind::BadArgument);
}

TEST_CASE("a checkpoint of a machine whose pages are not there yet can be gone back to") {
  auto m = busy_machine();
  m->run({.until_count = 50'000});
  auto other = loaded(saved(*m));
  const auto first = other->checkpoint();
  const u64 hash = other->hash();
  other->run({.until_count = 70'000});
  const auto second = other->checkpoint();
  const u64 then = other->hash();
  other->run({.until_count = 200'000});
  const u64 late = other->hash();
  other->restore(*first);
  REQUIRE(other->hash() == hash);
  other->restore(*second);
  REQUIRE(other->hash() == then);
  other->restore(*first);
  other->run({.until_count = 200'000});
  CHECK(other->hash() == late);
  m->run({.until_count = 200'000});
  CHECK(m->hash() == late);
}

TEST_CASE("a file that exists is not written over, and a machine of 512 MiB is loaded at once") {
  Folder folder;
  auto m = busy_machine({.ram_bytes = u64{512} << 20});
  m->run({.until_count = 200'000});
  REQUIRE(save_snapshot(*m, origin(), folder / "s").has_value());
  const auto refused = save_snapshot(*m, origin(), folder / "s");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("exists already") != std::string::npos);
  const auto before = std::chrono::steady_clock::now();
  auto other = load_snapshot(folder / "s");
  REQUIRE(other.has_value());
  other->machine->run({.until_count = 200'010});
  const auto took = std::chrono::steady_clock::now() - before;
  WARN(std::chrono::duration_cast<std::chrono::milliseconds>(took).count() < 50);
}
