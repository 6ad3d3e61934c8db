#include <algorithm>
#include <array>

#include "paravirt/port_call.h"

namespace callgate::paravirt {

namespace {

using namespace abi;
namespace f = calls;

constexpr CallRow kRows[] = {
    {kProbe, "probe", f::probe, kUser | kUnnegotiated, kCall},
    {kHello, "hello", f::hello, kUnnegotiated | kNotInRing, kCall},
    {kQuery, "query", f::query, kUser | kUnnegotiated, kCall},
    {kUserMask, "user_mask", f::user_mask, 0, kCall},
    {kRing, "ring", f::ring, kNotInRing, kCall},
    {kDoorbell, "doorbell", f::doorbell, kUser | kNotInRing, kCall},

    {kWriteDescriptors, "write_descriptors", f::write_descriptors, kProtected, kCall},
    {kLoadLdt, "load_ldt", f::load_ldt, kProtected, kCall},
    {kLoadTls, "load_tls", f::load_tls, kProtected, kNative},
    {kSetSp0, "set_sp0", f::set_sp0, kProtected, kNative},
    {kSwitchMm, "switch_mm", f::switch_mm, kProtected, kCall},
    {kFlushTlb, "flush_tlb", f::flush_tlb, 0, kNoop},
    {kMsrBatch, "msr_batch", f::msr_batch, 0, kCall},

    {kNow, "now", f::now, kUser, kNative},
    {kWallClock, "wall_clock", f::wall_clock, kUser, kCall},
    {kDeadline, "deadline", f::deadline, 0, kCall},
    {kSkip, "skip", f::skip, kUser | kNotInRing, kCall},

    {kEoi, "eoi", f::eoi, 0, kCall},
    {kIpi, "ipi", f::ipi, 0, kCall},
    {kKick, "kick", f::kick, 0, kCall},
    {kHaltUntil, "halt_until", f::halt_until, kNotInRing, kCall},

    {kWrite, "write", f::write, kUser, kCall},
    {kRead, "read", f::read, kUser, kCall},
    {kAttach, "attach", f::attach, 0, kCall},

    {kCopy, "copy", f::copy, kUser, kNative},
    {kFill, "fill", f::fill, kUser, kNative},
    {kClearPages, "clear_pages", f::clear_pages, kUser, kCall},
    {kChecksum, "checksum", f::checksum, kUser, kCall},

    {kExit, "exit", f::exit, kUser | kNotInRing, kCall},
    {kAssert, "assert", f::assert_true, kUser, kCall},
    {kLog, "log", f::log, kUser, kCall},
    {kMark, "mark", f::mark, kUser, kCall},
    {kBreak, "break", f::debug_break, kUser, kCall},
    {kSnapshot, "snapshot", f::snapshot, kUser | kNotInRing, kCall},
    {kRestore, "restore", f::restore, kUser | kNotInRing, kCall},
    {kGetInput, "get_input", f::get_input, kUser, kCall},

    {kHook, "hook", f::hook, kProtected, kCall},
    {kUnhook, "unhook", f::unhook, kProtected, kCall},
    {kHookState, "hook_state", f::hook_state, kProtected, kCall},
};
static_assert(std::is_sorted(std::begin(kRows), std::end(kRows), [](const CallRow& a, const CallRow& b) { return a.number < b.number; }));

}  // namespace

std::span<const CallRow> port_calls() { return kRows; }

namespace {

constexpr u32 kMostInGroup = 8;

/// Rows by group and number; 0: no such call, else the row's place and 1.
constexpr auto make_index() {
  std::array<u8, kGroups * kMostInGroup> index{};
  for (u32 n = 0; n < std::size(kRows); n++) index[(kRows[n].number >> 16) * kMostInGroup + (kRows[n].number & 0xFFFF)] = static_cast<u8>(n + 1);
  return index;
}
constexpr auto kIndex = make_index();

}  // namespace

const CallRow* find_call(u32 number) {
  if (number >> 16 >= kGroups || (number & 0xFFFF) >= kMostInGroup) return nullptr;
  const u8 at = kIndex[(number >> 16) * kMostInGroup + (number & 0xFFFF)];
  return at != 0 ? &kRows[at - 1] : nullptr;
}

}  // namespace callgate::paravirt
