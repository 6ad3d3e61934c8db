// The registers as GDB sees them: one fixed list a view, in every mode of the processor, so that a change of modes never
// breaks a session. Knows the layout of `g` packets and the target description; nothing of packets themselves.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "machine/machine.h"

namespace callgate::gdb {

/// What a connection sees.
enum class View : u8 {
  X86_64,  ///< everything, 64 bits wide: for every mode
  I386,    ///< the 32-bit register set, for GDBs and symbols that want it
  I8086,   ///< the same, with the linear addresses of CS:IP and SS:SP as EIP and ESP: for real mode
};
constexpr const char* name_of(View view) {
  return view == View::X86_64 ? "x86-64" : view == View::I386 ? "i386" : "i8086";
}

/// A processor's registers, with those that the machine works out.
struct RegisterValues {
  CpuState s;
  u64 cr8 = 0, apic_base = 0;
};

/// The widest register.
constexpr std::size_t kMostRegisterBytes = 16;

struct Register {
  std::string name;
  unsigned bytes;
  std::string type;
  enum Feature : u8 { Core, Sse, Segments, Avx, System } feature;
  std::function<void(const RegisterValues&, u8*)> get;
  /// Only called when the value is another one. False: it can't be written, or not so.
  std::function<bool(RegisterValues&, const u8*)> set;
};

class RegisterFile {
 public:
  explicit RegisterFile(View view);
  View view() const { return view_; }
  std::size_t count() const { return registers_.size(); }
  const Register& at(std::size_t number) const { return registers_[number]; }
  std::size_t bytes() const { return bytes_; }

  /// One register's bytes.
  std::vector<u8> read(const RegisterValues& values, std::size_t number) const;
  /// All of them, as `g` sends them.
  std::vector<u8> read_all(const RegisterValues& values) const;
  /// Writes one register. What it holds already is not touched, so what was read can be written back exactly. False: not
  /// writable, or no value that a processor could hold.
  bool write(RegisterValues& values, std::size_t number, std::span<const u8> bytes) const;
  /// What `G` brings; too few bytes set the first registers. Registers that can't be written are left alone.
  bool write_all(RegisterValues& values, std::span<const u8> bytes) const;
  /// The target description.
  std::string xml() const;
  /// The register's number for agent expressions (its place), by name; or the count when there is none.
  std::size_t find(const std::string& name) const;

 private:
  View view_;
  std::vector<Register> registers_;
  std::size_t bytes_ = 0;
};

}  // namespace callgate::gdb
