// A machine that was saved and loaded goes on as if nothing had happened, from any place; a damaged file is refused.
#include "machine/snapshot.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>

#include "machine/test_guests.h"
#include "mmu/ram.h"

using namespace callgate;
using namespace callgate::test;

namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/callgate-snapshot-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { (void)!std::system(("rm -rf " + path).c_str()); }
  std::string path;
  std::string operator/(const std::string& name) const { return path + "/" + name; }
};

boot::FileBytes read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  return {bytes.begin(), bytes.end()};
}

RecordingHeader origin() {
  RecordingHeader h;
  h.version = "test";
  h.files.push_back({RecordedFile::Role::Kernel, "small kernel", "", {}, false});
  return h;
}

boot::FileBytes saved(Machine& m) {
  Folder folder;
  const auto done = save_snapshot(m, origin(), folder / "s");
  REQUIRE_MESSAGE(done.has_value(), (done ? "" : done.error().message));
  return read_bytes(folder / "s");
}

std::unique_ptr<Machine> loaded(const boot::FileBytes& bytes, Engine engine = default_engine()) {
  auto made = load_snapshot(bytes, "s", engine);
  REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
  return std::move(made->machine);
}

/// run(a + b) equals run(a), save, load, run(b); and what is saved again is the same to the byte.
void check_goes_on(const MachineConfig& config, const std::vector<u8>& code, u64 at, u64 end, Engine engine) {
  CAPTURE(at);
  auto m = machine_with(code, config);
  m->run({.until_count = at});
  const boot::FileBytes bytes = saved(*m);
  auto other = loaded(bytes, engine);
  REQUIRE(other->count() == m->count());
  REQUIRE(other->hash() == m->hash());
  m->run({.until_count = end});
  other->run({.until_count = end});
  REQUIRE(other->count() == m->count());
  REQUIRE(other->hash() == m->hash());
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

TEST_CASE("a snapshot cut at any byte is refused") {
  auto m = machine_with({0x40, 0xEB, 0xFD}, {.ram_bytes = 2 << 20});
  m->run({.until_count = 100});
  const boot::FileBytes bytes = saved(*m);
  for (std::size_t size = 0; size < bytes.size(); size += size < 3000 ? 1 : 97) {
    CAPTURE(size);
    const auto refused = load_snapshot(boot::FileBytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)), "s");
    REQUIRE_FALSE(refused.has_value());
    REQUIRE(refused.error().kind == ErrorKind::BadFile);
  }
}

TEST_CASE("a flip of any bit of a snapshot is told with its place") {
  auto m = machine_with({0x40, 0xEB, 0xFD}, {.ram_bytes = 2 << 20});
  m->run({.until_count = 100});
  boot::FileBytes bytes = saved(*m);
  std::mt19937_64 random(5);
  for (std::size_t at = 0; at < bytes.size(); at += 1 + random() % 5) {
    CAPTURE(at);
    const u8 bit = static_cast<u8>(1u << random() % 8);
    bytes[at] ^= bit;
    const auto refused = load_snapshot(bytes, "s");
    REQUIRE_FALSE(refused.has_value());
    REQUIRE(refused.error().kind == ErrorKind::BadFile);
    if (at >= kFrameFileHeader) REQUIRE(refused.error().message.find("at byte ") != std::string::npos);
    bytes[at] ^= bit;
  }
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
