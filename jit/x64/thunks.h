// The few routines of emitted code that every block shares: the way in and out, the slow path of memory accesses, the call
// of an instruction's handler. Emitted once, at the start of the arena.
#pragma once

#include <vector>

#include "jit/code_arena.h"
#include "jit/context.h"

namespace callgate::jit::x64 {

/// What emitted code calls in the engine. All noexcept: nothing unwinds through emitted code.
struct Callbacks {
  /// The host address of [linear, linear + site.size), or nullptr: the interpreter must execute the instruction.
  u8* (*read)(EngineSlots* slots, u64 linear, u64 site) noexcept;
  u8* (*write)(EngineSlots* slots, u64 linear, u64 site) noexcept;
  /// The code of the block at the guest's address `target`, or nullptr: the interpreter must execute the jump.
  u8* (*resolve)(EngineSlots* slots, u64 target, u64 site) noexcept;
  /// Executes the site's instruction by its handler, or delivers the fault that it raises. What comes next: kGoOn (the
  /// instruction behind it), kLeave (Exit::Done), or the address of a block's code.
  u64 (*execute)(EngineSlots* slots, u64 site) noexcept;
  /// The same for an instruction that reads the port of calls (cpu/hypervisor.h) at ring 0.
  u64 (*port_call)(EngineSlots* slots, u64 site) noexcept;
  /// The same for the entry of a hooked function (cpu/hooked_code.h).
  u64 (*hook)(EngineSlots* slots, u64 site) noexcept;
  /// A link isn't made, or its jump cache doesn't know it: the code of its target, or nullptr: Exit::Link.
  u8* (*follow)(EngineSlots* slots, u64 link) noexcept;
  /// A block has ended with a jump to the guest's address `target`, of which the jump cache doesn't know: the code there, or
  /// nullptr: Exit::Done.
  u8* (*transfer)(EngineSlots* slots, u64 target) noexcept;
  /// Executes the site's instruction by the interpreter, from its start. What comes next, as of transfer.
  u8* (*step)(EngineSlots* slots, u64 site) noexcept;
};

constexpr u64 kGoOn = 0, kLeave = 1;

// Byte 0 of Slot::kVectors.
constexpr unsigned kVectorsLoaded = 1, kWideVectors = 2;

struct Thunks {
  /// Runs emitted code until it comes back.
  Exit (*enter)(EngineSlots* slots, const void* code) = nullptr;
  const u8* exit_budget = nullptr;  ///< ecx: the block's number
  const u8* exit_link = nullptr;    ///< ecx: the link's number
  const u8* exit_bail = nullptr;    ///< ecx: the site's number
  const u8* slow_read = nullptr;    ///< called; rax: linear, ecx: site; rax: host address
  const u8* slow_write = nullptr;
  const u8* slow_resolve = nullptr;  ///< called; rax: target, ecx: site; rax: code
  const u8* load_vectors = nullptr;  ///< called; the guest's vector registers and MXCSR become the host's
  const u8* load_wide_vectors = nullptr;  ///< called; likewise, with their upper halves
  const u8* load_x87 = nullptr;      ///< called; the guest's x87 becomes the host's. Changes rax, rcx, rdx
  const u8* execute = nullptr;      ///< called; ecx: site
  const u8* port_call = nullptr;    ///< called; ecx: site
  const u8* hook = nullptr;         ///< called; ecx: site
  const u8* transfer = nullptr;     ///< rax: the guest's address to go on at, when everything else is done
  const u8* step = nullptr;         ///< Slot::kExit: the site of an instruction that emitted code can't do, as before it
};

/// A routine's name and place.
struct NamedThunk {
  const char* name;
  const u8* at;
};
/// All of them, in the order in which they lie.
std::vector<NamedThunk> names_of(const Thunks& thunks);

Thunks emit_thunks(CodeArena& arena, const Callbacks& callbacks);

}  // namespace callgate::jit::x64
