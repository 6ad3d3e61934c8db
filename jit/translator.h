// The translator: an engine that executes blocks of guest code as emitted host code, and by the interpreter what can't be
// translated. It retires the same instructions with the same results at the same counts as the interpreter does; the guest
// can't tell them apart. One serves all processors of a machine.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cpu/interpreter.h"

namespace callgate::ir {
struct Block;
}
namespace callgate::jit::x64 {
struct Host;
}

namespace callgate::jit {

/// For tests: ways to run that a guest must not notice.
struct TranslatorOptions {
  std::size_t code_bytes = 0;  ///< size of the code arena, 288 KiB or more; 0: the usual one
  bool chaining = true;        ///< blocks jump to each other directly
  bool passes = true;          ///< unneeded flags are not computed
  unsigned most_insns = 0;     ///< instructions in a block; 0: the usual number
  u64 flush_every = 0;         ///< forgets everything after so many entries into emitted code; 0: never
  u64 split_seed = 0;          ///< blocks end at places that this number makes up; 0: only where they must
  unsigned interpret_first = 0;  ///< so often the interpreter executes code before it is translated
  bool interpret_rewritten = true;  ///< code that is rewritten again and again is left to the interpreter
  u32 promote_after = 0;       ///< jumps until their target gets a version of its own; 0: the usual number
  bool verify = false;         ///< checks the IR of each block (ir::verify) before code is emitted for it
  const x64::Host* host = nullptr;  ///< what to emit for, if not the host that is here; then nothing should be run
};

struct TranslatorStats {
  u64 blocks = 0;          ///< translated
  u64 versions = 0;        ///< of them, made for one kind of jump only
  u64 loops = 0;           ///< of them, with rounds that ask for all they need in front
  u64 paths = 0;           ///< versions that go on where their jumps usually go
  u64 instructions = 0;    ///< of the guest, translated
  u64 code_bytes = 0;      ///< emitted
  u64 invalidated = 0;     ///< blocks that were written to
  u64 flushes = 0;         ///< of the whole cache
  u64 entries = 0;         ///< into emitted code
  u64 exits_budget = 0, exits_link = 0, exits_bail = 0, exits_done = 0;
  u64 slow_accesses = 0;   ///< of memory, that missed the inline probe
  u64 slow_resolves = 0;   ///< jumps that missed the jump cache
  u64 handler_calls = 0;   ///< instructions executed by their handlers from emitted code
  u64 interpreted = 0;     ///< instructions that the interpreter executed instead
  u64 translation_ns = 0;  ///< spent translating, by the clock of measure_by(); 0 without one
};

/// How often instructions of one row were not emitted code's.
struct HandlerFigure {
  std::string name, encoding;
  u64 handler_calls = 0;  ///< by emitted code
  u64 interpreted = 0;    ///< emitted code was left for the interpreter to execute it
};

/// A piece of emitted code, for profilers and tests.
struct EmittedCode {
  const u8* at;
  std::size_t size;
  std::string_view name;           ///< guest address and mode, or that of a routine that blocks share
  const ir::Block* block;          ///< nullptr: a shared routine
  std::span<const u32> starts;     ///< of a block: where each instruction's code begins; then, what is out of line
};

class Translator {
 public:
  /// Fails where the host gives no memory for emitted code, or isn't one that this is built for.
  static Result<std::unique_ptr<Translator>> create(PhysicalMap& memory, Interpreter& interpreter,
                                                    const TranslatorOptions& options = {});
  ~Translator();
  Translator(const Translator&) = delete;
  Translator& operator=(const Translator&) = delete;

  /// As Interpreter::run.
  void run(Cpu& cpu, const u64& until, const bool& stop);

  /// The watch of a processor wants to stop at this address, or no longer does: forgets the code that has it.
  void stop_changed(u64 address, bool physical);

  const TranslatorStats& stats() const;
  /// Which rows' instructions went to their handlers or to the interpreter, most first.
  std::vector<HandlerFigure> handler_figures() const;
  /// Calls `handler` with each piece of emitted code as it is made, and with what is there already that all blocks use.
  using CodeHandler = std::function<void(const EmittedCode&)>;
  void on_code(CodeHandler handler);
  /// Translates the block at `cpu`'s RIP, if it isn't there and can be, and executes nothing. A loop also gets the version
  /// that it has when it is hot.
  void translate(Cpu& cpu);
  /// The host's time in nanoseconds, for translation_ns and nothing else. Who reads a host's clock is the caller.
  /// In pages that a debugger watches: whether these bytes are among what it watches. Accesses to others stay in emitted code.
  void ask_about_watched(std::function<bool(u64 linear, u64 physical, u64 size)> touches);
  void measure_by(u64 (*clock)());

  struct Impl;

 private:
  explicit Translator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// True on hosts that emitted code can be made for.
bool translator_supported();

}  // namespace callgate::jit
