// What a block may rely on when another block jumps to it directly: what the first one would otherwise have to store at its
// end and the second one to load at its start. A hot jump goes to a version of its target made for the state in which the
// jump leaves its registers; all others go to the plain version, and bring the state to the usual places out of line.
#pragma once

#include <unordered_map>
#include <vector>

#include "base/types.h"

namespace callgate::jit::x64 {

/// How to get the guest's current flags into EFLAGS again.
struct FlagRecipe {
  enum Kind : u8 {
    None,
    Compare,  ///< `inst` a, b: CMP or TEST
    Undo,     ///< a is the result of ADD or SUB: t = a; `undo` t, b; `inst` t, b
  } kind = None;
  u8 size = 0;
  u32 inst = 0, undo = 0;
  u8 a = 0;  ///< guest register
  bool b_is_imm = true;
  u8 b = 0;  ///< guest register
  i64 imm = 0;
  bool operator==(const FlagRecipe&) const = default;
  struct Hash {
    std::size_t operator()(const FlagRecipe& recipe) const;
  };
};

struct EntryState {
  FlagRecipe flags;      ///< None: they are in Slot::kFlagsImage
  bool vectors = false;  ///< the host's vector registers and MXCSR are the guest's
  bool wide_vectors = false;  ///< upper halves included
  bool x87 = false;      ///< the host's x87 unit is the guest's
  bool operator==(const EntryState&) const = default;
};

/// Numbers for the states that there are. 0 is the plain one.
class EntryStates {
 public:
  static constexpr u16 kNone = 0xFFFF;  ///< there was no number left: a state that no block has

  EntryStates() { clear(); }
  u16 number_of(const EntryState& state);
  const EntryState& operator[](u16 number) const { return states_[number]; }
  void clear();

 private:
  struct Hash {
    std::size_t operator()(const EntryState& s) const;
  };
  std::vector<EntryState> states_;
  std::unordered_map<EntryState, u16, Hash> numbers_;
};

}  // namespace callgate::jit::x64
