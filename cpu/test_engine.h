// What executes instructions in the tests of cpu/: the interpreter, unless the program that the tests are linked into names
// another engine (tests/jit/cpu_tests_main.cpp). So the same tests prove every engine.
#pragma once

#include <memory>

#include "cpu/interpreter.h"

namespace callgate::test {

class TestEngine {
 public:
  virtual ~TestEngine() = default;
  /// As Interpreter::run.
  virtual void run(Cpu& cpu, const u64& until, const bool& stop) = 0;
};

/// Makes the engine that is tested; set before the first test. nullptr: the interpreter is.
inline std::unique_ptr<TestEngine> (*make_test_engine)(PhysicalMap& memory, Interpreter& interpreter) = nullptr;

}  // namespace callgate::test
