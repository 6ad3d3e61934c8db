// An instruction that lies in two pages belongs to the interpreter, which emitted code asks without being left.
#include <doctest/doctest.h>

#include <vector>

#include "cpu/system/test_machine.h"
#include "jit/test_engine.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

constexpr u64 kStart = 0xCFF6;  ///< its MOV begins at 0xCFFD

std::vector<u8> loop(bool rewrites) {
  std::vector<u8> code = {0xFF, 0xC1, 0x01, 0xC2, 0x90, 0x90, 0x90, 0xB8, 0x11, 0x22, 0x33, 0x04};  // mov eax, 0x04332211
  if (rewrites) code.insert(code.end(), {0x30, 0x0C, 0x25, 0x01, 0xD0, 0x00, 0x00});               // xor [0xD001], cl
  code.insert(code.end(), {0xE9, static_cast<u8>(-static_cast<int>(code.size()) - 5), 0xFF, 0xFF, 0xFF});
  return code;
}

void begin(M& m, bool wide, bool rewrites) {
  u64 at = kStart;
  for (const u8 byte : loop(rewrites)) m.write<u8>(at++, byte);
  if (wide) m.long64(3);
  else m.protected32(3);
  m.cpu.s.rip = kStart;
  m.cpu.refresh();
}

}  // namespace

TEST_CASE("an instruction in two pages does the same on both engines, also when it is rewritten, and doesn't leave emitted code") {
  if (!jit::translator_supported()) return;
  for (const bool wide : {false, true}) {
    for (const bool rewrites : {false, true}) {
      M reference, subject;
      reference.engine = nullptr;
      const jit::Translator& translator = jit::use_translator(subject, {.code_bytes = 1 << 20});
      for (M* m : {&reference, &subject}) {
        m->platform.counter = &m->cpu.s.retired;
        begin(*m, wide, rewrites);
      }
      for (unsigned step = 0; step < 200; step++) {
        for (M* m : {&reference, &subject}) m->run(1 + step % 37);
        CHECK(jit::registers_hash(reference) == jit::registers_hash(subject));
      }
      const u64 before = translator.stats().entries;
      for (M* m : {&reference, &subject}) m->run(100000);
      CHECK(jit::registers_hash(reference) == jit::registers_hash(subject));
      CHECK(jit::memory_hash(reference, 0x10000) == jit::memory_hash(subject, 0x10000));
      CHECK(subject.handling() == -1);
      if (!rewrites) CHECK(translator.stats().entries < before + 10);
    }
  }
}
