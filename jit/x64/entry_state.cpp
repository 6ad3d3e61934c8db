#include "jit/x64/entry_state.h"

namespace callgate::jit::x64 {

u16 EntryStates::number_of(const EntryState& state) {
  if (const auto it = numbers_.find(state); it != numbers_.end()) return it->second;
  if (states_.size() == kNone) return kNone;
  const u16 number = static_cast<u16>(states_.size());
  states_.push_back(state);
  numbers_.emplace(state, number);
  return number;
}

void EntryStates::clear() {
  states_.clear();
  numbers_.clear();
  number_of({});
}

std::size_t FlagRecipe::Hash::operator()(const FlagRecipe& f) const {
  u64 h = u64{f.kind} | u64{f.size} << 4 | u64{f.a} << 8 | u64{f.b} << 13 | u64{f.b_is_imm} << 18 | u64{f.inst} << 32;
  h = (h ^ static_cast<u64>(f.imm) * 0x9E3779B97F4A7C15ull) * 0xBF58476D1CE4E5B9ull;
  return h ^ h >> 29;
}

std::size_t EntryStates::Hash::operator()(const EntryState& s) const {
  return FlagRecipe::Hash()(s.flags) ^ u64{s.vectors} << 5 ^ u64{s.x87} << 6 ^ u64{s.wide_vectors} << 7;
}

}  // namespace callgate::jit::x64
