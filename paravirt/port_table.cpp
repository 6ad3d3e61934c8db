#include <algorithm>

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
    {kGetInput, "get_input", f::get_input, kUser, kCall},
};
static_assert(std::is_sorted(std::begin(kRows), std::end(kRows), [](const CallRow& a, const CallRow& b) { return a.number < b.number; }));

}  // namespace

std::span<const CallRow> port_calls() { return kRows; }

const CallRow* find_call(u32 number) {
  const auto at = std::lower_bound(std::begin(kRows), std::end(kRows), number, [](const CallRow& r, u32 n) { return r.number < n; });
  return at != std::end(kRows) && at->number == number ? at : nullptr;
}

}  // namespace callgate::paravirt
