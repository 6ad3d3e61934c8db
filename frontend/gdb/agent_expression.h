// Conditions of breakpoints, as GDB compiles them: a byte code for a small stack machine, evaluated where the guest runs, so
// that a condition that fails a million times costs no packet. Hostile input: bounded in steps and stack, and never throws.
// Ref: Debugging with GDB, appendix "The GDB Agent Expression Mechanism".
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "base/types.h"

namespace callgate::gdb {

/// What an expression may look at.
struct AgentContext {
  /// A register by its number in the target description, zero-extended.
  std::function<std::optional<u64>(unsigned number)> reg;
  /// `size` bytes of memory as a little-endian number.
  std::function<std::optional<u64>(u64 address, unsigned size)> memory;
};

/// The value at the top of the stack at the end. Nothing when the code is broken, asks for what it can't have (tracing, floating
/// point), or reads what isn't there: then a debugger should better stop.
std::optional<u64> evaluate(std::span<const u8> code, const AgentContext& context);

}  // namespace callgate::gdb
