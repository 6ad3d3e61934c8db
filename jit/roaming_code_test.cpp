// Code that lies at many addresses, as a library does that each process has elsewhere: it is translated where it is executed often
// enough, and does the same as the interpreter everywhere.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

constexpr u64 kPt = M::kTables + 0x8000, kPlaces = 0x100000;  // each of 64 pages from here on is the same frame
constexpr unsigned kInsnsOfRound = 28;

/// Calls the page at one of the addresses after the other; R15 is a mask of their numbers.
const std::vector<u8> kCaller = {
    0x48, 0x6B, 0xDB, 0x05,  // imul rbx, rbx, 5
    0x48, 0xFF, 0xC3,        // inc rbx
    0x4C, 0x21, 0xFB,        // and rbx, r15
    0x48, 0x89, 0xDA,        // mov rdx, rbx
    0x48, 0xC1, 0xE2, 0x0C,  // shl rdx, 12
    0x48, 0x01, 0xFA,        // add rdx, rdi
    0xFF, 0xD2,              // call rdx
    0xEB, 0xE8,              // jmp to the start
};
const std::vector<u8> kCalled = {
    0x48, 0x8D, 0x05, 0, 0, 0, 0,  // lea rax, [rip]
    0x49, 0x01, 0xC2,              // add r10, rax
    0xB9, 0x05, 0, 0, 0,           // mov ecx, 5
    0x49, 0x01, 0xCA,              // add r10, rcx
    0xFF, 0xC9,                    // dec ecx
    0x75, 0xF9,                    // jnz to the add
    0xC3,                          // ret
};

void begin(M& m) {
  for (u64 n = 0; n < 512; n++) m.write<u64>(kPt + 8 * n, n << 12 | 3);
  for (u64 n = 0; n < 64; n++) m.write<u64>(kPt + 8 * ((kPlaces >> 12) + n), kPlaces | 3);
  m.long64(0);
  m.write<u64>(M::kTables + 0x2000, kPt | 7);
  for (std::size_t n = 0; n < kCaller.size(); n++) m.write<u8>(M::kCode + n, kCaller[n]);
  for (std::size_t n = 0; n < kCalled.size(); n++) m.write<u8>(kPlaces + 0x120 + n, kCalled[n]);
  m.cpu.s.gpr[RDI] = kPlaces + 0x120;
  m.cpu.s.gpr[R15] = 63;
  m.cpu.s.gpr[RSP] = M::kStack0;
  m.cpu.s.rip = M::kCode;
  m.cpu.refresh();
}

}  // namespace

TEST_CASE("code that roams does the same on both engines, and is translated only where it is executed often") {
  if (!jit::translator_supported()) return;
  M reference, subject;
  reference.engine = nullptr;
  const jit::Translator& translator = jit::use_translator(subject, {.code_bytes = 1 << 20, .interpret_first = 2, .verify = true});
  for (M* m : {&reference, &subject}) begin(*m);
  const auto run = [&](u64 insns) {
    for (M* m : {&reference, &subject}) m->run(insns);
    return jit::registers_hash(reference) == jit::registers_hash(subject);
  };
  std::mt19937_64 random(1);
  for (unsigned part = 0; part < 300; part++) CHECK(run(1 + random() % 200));
  CHECK(run(64 * 16 * kInsnsOfRound));
  CHECK(jit::memory_hash(reference, 0x200000) == jit::memory_hash(subject, 0x200000));
  CHECK(translator.stats().blocks < 40);  // two or three for each of 64 addresses, if all of them were translated
  // At one address for good.
  for (M* m : {&reference, &subject}) {
    m->cpu.s.gpr[R15] = 0;
    m->cpu.refresh();
  }
  CHECK(run(1000 * kInsnsOfRound));
  const u64 interpreted = translator.stats().interpreted;
  CHECK(run(1000 * kInsnsOfRound));
  CHECK(translator.stats().interpreted < interpreted + 200);
}
