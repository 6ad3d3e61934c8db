// The trail of last instructions (Cpu::trail): emitted code notes none, but what is there must have been executed.
#include <doctest/doctest.h>

#include <algorithm>

#include "cpu/system/test_machine.h"
#include "jit/translator.h"

using namespace callgate;
using M = test::TestMachine;

namespace {

class Engine final : public test::TestEngine {
 public:
  Engine(M& m) : translator(std::move(jit::Translator::create(m.ram_map, m.interpreter, {.code_bytes = 1 << 20}).value())) {}
  void run(Cpu& cpu, const u64& until, const bool& stop) override { translator->run(cpu, until, stop); }
  std::unique_ptr<jit::Translator> translator;
};

constexpr u8 kUd2At = 6;

void prepare(M& m) {
  m.protected32();
  // #UD: add dword [esp], 2; inc edx; iret
  const std::initializer_list<u8> handler = {0x83, 0x04, 0x24, 0x02, 0x42, 0xCF};
  u64 at = M::handler(6);
  for (const u8 b : handler) m.write<u8>(at++, b);
  // again: inc eax; dec ebx; mov ecx, eax; lahf; nop; ud2; inc esi; xor edi, esi; bsf ebp, eax; jmp again
  m.code({0x40, 0x4B, 0x89, 0xC1, 0x9F, 0x90, 0x0F, 0x0B, 0x46, 0x31, 0xF7, 0x0F, 0xBC, 0xE8, 0xEB, 0xF0});
}

bool is_part_of(const std::vector<u64>& part, const std::vector<u64>& whole) {
  auto at = whole.begin();
  for (const u64 rip : part) {
    at = std::find(at, whole.end(), rip);
    if (at == whole.end()) return false;
    ++at;
  }
  return true;
}

}  // namespace

TEST_CASE("what the translator leaves on the trail is what the interpreter has there") {
  if (!jit::translator_supported()) return;
  for (u64 count = 1; count < 400; count++) {
    M reference, subject;
    subject.engine = std::make_unique<Engine>(subject);
    prepare(reference);
    prepare(subject);
    reference.run(count);
    subject.run(count);
    const std::vector<u64> expected = reference.cpu.trail(), found = subject.cpu.trail();
    REQUIRE(reference.cpu.s.rip == subject.cpu.s.rip);
    REQUIRE_MESSAGE(is_part_of(found, expected), count);
    // UD2 never retires: its place belongs to the handler's first instruction.
    REQUIRE(std::find(found.begin(), found.end(), M::kCode + kUd2At) == found.end());
  }
}

TEST_CASE("the instruction that shuts a processor down is the last one on the trail") {
  if (!jit::translator_supported()) return;
  M m;
  m.engine = std::make_unique<Engine>(m);
  prepare(m);
  m.run(300);
  m.cpu.s.idtr = {M::kIdt, 0};  // no gate at all
  m.run(300);
  CHECK(m.cpu.s.activity == Activity::Shutdown);
  REQUIRE(!m.cpu.trail().empty());
  CHECK(m.cpu.trail().back() == M::kCode + kUd2At);
}
