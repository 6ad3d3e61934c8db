// A guest fault as a value, with the reason in words. Nothing here knows how it is delivered.
#pragma once

#include <cstdint>
#include <string>

#include "base/types.h"

namespace callgate {

/// Exception vectors. SDM 3A, Protected-Mode Exceptions and Interrupts.
enum class Vector : u8 {
  DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11, SS = 12, GP = 13,
  PF = 14, MF = 16, AC = 17, MC = 18, XM = 19,
};

/// Why an architectural check failed: a format string of fmt's with up to three arguments, put together only when shown.
/// "data segment {0:#x} has DPL {1} < CPL {2}". Arguments are numbers, shown by fmt's own presentations or by three more:
/// {0:v} an exception's name, {0:r} a segment register's, {0:t} a text (const char*, of static life).
struct Reason {
  const char* format = "";
  u64 args[3] = {};
  std::string text() const;
};

/// An exception that the current instruction raises. RIP is the instruction's own unless the vector is a trap.
struct Fault {
  Vector vector;
  bool has_error_code = false;
  u32 error_code = 0;
  u64 address = 0;  ///< #PF: the linear address (for CR2)
  Reason reason;    ///< #PF: a text of the page walk's, with the entry that decided and its level as arguments
  /// The reason in words; for a page fault with the entry that decided.
  std::string sentence() const;
};

/// True for the vectors that push an error code.
constexpr bool pushes_error_code(Vector v) {
  constexpr u32 kWith = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17;
  return kWith >> static_cast<unsigned>(v) & 1;
}

/// "#GP", "#PF", ...
const char* name_of(Vector vector);

/// The current instruction ends here with `fault`. The only use of C++ exceptions in cpu/: thrown by the semantics of an
/// instruction, caught by the engine's loop, before anything of the instruction was committed.
[[noreturn]] void raise(const Fault& fault);

/// An argument of a reason.
inline u64 reason_argument(const char* text) { return reinterpret_cast<std::uintptr_t>(text); }
template <class T>
constexpr u64 reason_argument(T number) {
  return static_cast<u64>(number);
}

/// Raises a fault with an error code (#TS, #NP, #SS, #GP, #AC).
template <class... Args>
[[noreturn]] void raise(Vector vector, u32 error_code, const char* reason, Args... args) {
  raise(Fault{vector, true, error_code, 0, Reason{reason, {reason_argument(args)...}}});
}
/// Raises a fault without an error code (#UD, #NM, #DE, ...).
template <class... Args>
[[noreturn]] void raise_plain(Vector vector, const char* reason, Args... args) {
  raise(Fault{vector, false, 0, 0, Reason{reason, {reason_argument(args)...}}});
}

}  // namespace callgate
