// The translator as the engine of a test's machine.
#pragma once

#include <memory>
#include <vector>

#include "cpu/test_engine.h"
#include "jit/translator.h"

namespace callgate::jit {

class TranslatorEngine final : public test::TestEngine {
 public:
  explicit TranslatorEngine(std::unique_ptr<Translator> t) : translator(std::move(t)) {}
  void run(Cpu& cpu, const u64& until, const bool& stop) override { translator->run(cpu, until, stop); }
  std::unique_ptr<Translator> translator;
};

/// The processor's state.
template <class Machine>
u64 registers_hash(Machine& machine) {
  StateHasher hasher;
  machine.cpu.s.sync(hasher);
  return hasher.digest();
}
/// The first `size` bytes of memory.
template <class Machine>
u64 memory_hash(Machine& machine, u64 size) {
  std::vector<u8> bytes(size);
  machine.ram_map.bus_read(0, bytes);
  StateHasher hasher;
  hasher.bytes(bytes.data(), bytes.size());
  return hasher.digest();
}

/// Makes `machine` run on a translator, which it keeps.
template <class Machine>
Translator& use_translator(Machine& machine, const TranslatorOptions& options) {
  auto engine =
      std::make_unique<TranslatorEngine>(std::move(Translator::create(machine.ram_map, machine.interpreter, options).value()));
  Translator& translator = *engine->translator;
  machine.engine = std::move(engine);
  return translator;
}

}  // namespace callgate::jit
