// Functions that are executed as one instruction: who vouches for them, and when they are refused. What they do is the
// processor's (cpu/intrinsics.cpp).
#include <optional>

#include "paravirt/port_call.h"

namespace callgate::paravirt {

using namespace abi;

namespace {

u64 fnv(std::span<const u8> bytes) {
  u64 hash = kFnvBasis;
  for (const u8 b : bytes) hash = (hash ^ b) * kFnvPrime;
  return hash;
}

struct StandsFor {
  u32 call;
  Intrinsic kind;
};
constexpr StandsFor kStandFor[] = {
    {kLoadLdt, Intrinsic::LoadLdt}, {kSkip, Intrinsic::Delay},   {kCopy, Intrinsic::Memcpy},
    {kCopy, Intrinsic::CopyPage},   {kFill, Intrinsic::Memset}, {kClearPages, Intrinsic::ClearPage},
};

std::optional<u64> code_physical(Cpu& c, u64 linear) {
  const Translation t = c.tlb.fill(AccessContext::Supervisor, linear, Access::Execute);
  return t.fault ? std::nullopt : std::optional(t.physical);
}

/// What the kind wants to know: the first argument of the two that is wrong.
std::optional<u64> wrong_detail(Intrinsic kind, u64 first, u64 second) {
  if (kind == Intrinsic::LoadLdt) {  // the LDT's selector; the GDT's offset from GS, anything
    if (first == 0 || first > 0xFFFF || (first & 7) != 0) return 4;
    return std::nullopt;
  }
  if (first != 0) return 4;
  if (second != 0) return 5;
  return std::nullopt;
}

Answer make(PortCall& call) {
  const u64 linear = call.arg[0], length = call.arg[2];
  if (!is_canonical(linear)) return {kInvalid, 0};
  if (call.arg[1] == 0 || call.arg[1] >= kIntrinsics) return {kInvalid, 1};
  if (length == 0) return {kInvalid, 2};
  if (length > HookedCode::kMostBytes) return {kTooBig, HookedCode::kMostBytes};
  if (!is_canonical(linear + length - 1)) return {kInvalid, 2};
  Hook hook;
  hook.kind = static_cast<Intrinsic>(call.arg[1]);
  if (const auto wrong = wrong_detail(hook.kind, call.arg[4], call.arg[5])) return {kInvalid, *wrong};
  hook.bytes.resize(length);
  const u64 got = call.memory().read(linear, hook.bytes.data(), length);
  if (got < length) return {kFault, got};
  const u64 in_first = bytes_in_first_page(linear, length);
  const auto first = code_physical(call.c, linear);
  if (!first) return {kFault, 0};
  const auto second = in_first < length ? code_physical(call.c, linear + in_first) : std::optional(~u64{0});
  if (!second) return {kFault, in_first};
  if (fnv(hook.bytes) != call.arg[3]) return {kInvalid, 3};
  const PhysicalMap& memory = call.c.memory;
  if (memory.page(*first).frame == kNoFrame || (in_first < length && memory.page(*second).frame == kNoFrame)) return {kInvalid, 0};
  if (!HookedCode::first_instruction(linear, hook.bytes)) return {kInvalid, 2};
  HookedCode& hooks = call.state.hooks;
  unsigned taken = hooks.overlapping(*first, in_first);
  if (taken == HookedCode::kNoSlot && in_first < length) taken = hooks.overlapping(*second, length - in_first);
  if (taken != HookedCode::kNoSlot) return {kBusy, taken};
  const unsigned slot = hooks.free_slot();
  if (slot == HookedCode::kNoSlot) return {kTooBig, HookedCode::kSlots};
  hook.linear = linear;
  hook.physical[0] = *first;
  hook.physical[1] = *second;
  hook.detail[0] = call.arg[4];
  hook.detail[1] = call.arg[5];
  hooks.add(slot, std::move(hook));
  return {kOk, slot};
}

bool exists(const HookedCode& hooks, u64 slot) {
  return slot < HookedCode::kSlots && hooks.hook(static_cast<unsigned>(slot)).kind != Intrinsic::None;
}

}  // namespace

Kind kind_of(const CallRow& row, const HookedCode& hooks) {
  for (const StandsFor& s : kStandFor)
    for (unsigned slot = 0; s.call == row.number && hooks.any() && slot < HookedCode::kSlots; slot++)
      if (hooks.hook(slot).kind == s.kind) return kIntrinsic;
  return row.kind;
}

namespace calls {

// HOOK(address, kind, length, hash, detail, detail)
Answer hook(PortCall& call) {
  if (!call.c.bits64()) return {kBadMode};
  const Answer answer = make(call);
  if (answer.status != kOk) call.state.hooks.stats.refused++;
  return answer;
}

// UNHOOK(slot, or all ones for all)
Answer unhook(PortCall& call) {
  HookedCode& hooks = call.state.hooks;
  if (call.arg[0] == kAllSlots && call.wide) {
    hooks.clear();
    return {};
  }
  if (!exists(hooks, call.arg[0])) return {kInvalid};
  hooks.remove(static_cast<unsigned>(call.arg[0]));
  return {};
}

// HOOK_STATE(slot)
Answer hook_state(PortCall& call) {
  HookedCode& hooks = call.state.hooks;
  if (!exists(hooks, call.arg[0])) return {kInvalid};
  const unsigned slot = static_cast<unsigned>(call.arg[0]);
  return {kOk, static_cast<u64>(hooks.hook(slot).kind) | (hooks.in_effect(slot) ? kHookInEffect : 0)};
}

}  // namespace calls
}  // namespace callgate::paravirt
