// Our engine on a case: a machine with one processor in 64-bit mode at CPL 3, with the pages of the case mapped where
// the child process has them. Exceptions go through the IDT to handlers that halt. Any host can run it.
#pragma once

#include <functional>
#include <memory>

#include "cpu/cpu.h"
#include "tests/hwfuzz/case.h"

namespace callgate::hwfuzz {

/// What executes: the interpreter, or the translator (each case as blocks, the IR of each verified).
enum class Subject { Interpreter, Translator };

class Engine {
 public:
  explicit Engine(Subject subject);
  ~Engine();

  void run(const Case& c, Outcome& out);

  /// Runs the case, and shows each instruction and the processor before it is executed (decoded afresh from the code).
  void step(const Case& c, const std::function<void(Cpu&, const Insn&)>& before);

 private:
  struct Machine;
  std::unique_ptr<Machine> m_;
};

}  // namespace callgate::hwfuzz
