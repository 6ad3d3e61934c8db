// Hyper-V's hypercalls: a control word, then two registers of input (the fast form) or the address of an input block. All that
// are here have no output. TLFS, Hypercall Interface.
#include <bit>

#include "paravirt/guest_ram.h"
#include "paravirt/hyperv.h"

namespace callgate::paravirt {

namespace {

// TLFS, Appendix: Hypercall Code Reference.
enum Code : u16 {
  kFlushSpace = 0x0002,
  kFlushList = 0x0003,
  kNotifyLongSpinWait = 0x0008,
  kSendIpi = 0x000B,
  kFlushSpaceEx = 0x0013,
  kFlushListEx = 0x0014,
  kSendIpiEx = 0x0015
};

// The control word.
constexpr u64 kReservedBits = u64{0xF} << 60 | u64{0xF} << 44 | u64{0xF} << 27 | u64{1} << 31;  // nested calls, too
constexpr u64 kFast = 1 << 16;

// Flags of a flush. Extended ranges are a feature that is not offered.
constexpr u64 kAllProcessors = 1, kAllSpaces = 2, kNonGlobalOnly = 4;

constexpr u64 kFirstVector = 0x10, kLastVector = 0xFF;

}  // namespace

enum class Hyperv::Status : u16 {
  Success = 0,
  InvalidCode = 2,
  InvalidInput = 3,
  InvalidAlignment = 4,
  InvalidParameter = 5,
};

struct Hyperv::Call {
  Cpu& c;
  u64 control, input, fast2;

  u16 code() const { return static_cast<u16>(control); }
  bool fast() const { return control & kFast; }
  unsigned variable() const { return control >> 17 & 0x3FF; }  ///< words of the variable header
  unsigned reps() const { return control >> 32 & 0xFFF; }
  unsigned start() const { return control >> 48 & 0xFFF; }

  /// The input is this many words of 8 bytes, and where it has to be.
  Status expect(unsigned words) const {
    if (fast()) return words <= 2 ? Status::Success : Status::InvalidInput;
    if (input % 8 != 0 || (input & kPageMask) + 8 * u64{words} > kPageSize) return Status::InvalidAlignment;
    return is_ram(c.memory, input, 8 * u64{words}) ? Status::Success : Status::InvalidInput;
  }
  /// Word `n` of what was expected.
  u64 word(unsigned n) const {
    if (fast()) return n == 0 ? input : fast2;
    u64 value = 0;
    read_ram(c.memory, input + 8 * u64{n}, value);
    return value;
  }
  /// The set of processors that begins at word `n`: its format, a mask of banks, the banks. TLFS, HV_VP_SET.
  Status set(unsigned n, u64& processors) const {
    constexpr u64 kSparse = 0, kAll = 1;
    const u64 format = word(n), banks = word(n + 1);
    if (format == kAll) {
      processors = ~u64{0};
      return variable() == 0 ? Status::Success : Status::InvalidInput;
    }
    if (format != kSparse || variable() != static_cast<unsigned>(std::popcount(banks))) return Status::InvalidInput;
    processors = banks & 1 ? word(n + 2) : 0;  // a machine has 64 processors at most: the first bank's
    return Status::Success;
  }
};

// Only for the kernel, in protected or long mode, which has said who it is and has a hypercall page: anywhere else VMCALL is #UD.
bool Hyperv::hypercall(Cpu& c) {
  if (!enabled() || c.cpl() != 0 || !c.protected_mode()) return false;
  const bool wide = c.bits64();
  const auto pair = [&](Gpr high, Gpr low) { return u64{c.gpr<u32>(high)} << 32 | c.gpr<u32>(low); };
  Call call = wide ? Call{c, c.s.gpr[RCX], c.s.gpr[RDX], c.s.gpr[R8]} : Call{c, pair(RDX, RAX), pair(RBX, RCX), pair(RDI, RSI)};
  counted_.calls++;
  const Status status = execute(call);
  if (status != Status::Success) counted_.refused++;
  const u64 done = status == Status::Success ? call.reps() : call.start();
  const u64 result = static_cast<u64>(status) | done << 32;
  if (wide) {
    c.s.gpr[RAX] = result;
  } else {
    c.set_gpr<u32>(RAX, static_cast<u32>(result));
    c.set_gpr<u32>(RDX, static_cast<u32>(result >> 32));
  }
  return true;
}

Hyperv::Status Hyperv::execute(Call& call) {
  if (call.control & kReservedBits) return Status::InvalidInput;
  const u16 code = call.code();
  const bool list = code == kFlushList || code == kFlushListEx;
  const bool extended = code == kFlushSpaceEx || code == kFlushListEx || code == kSendIpiEx;
  switch (code) {
    case kFlushSpace:
    case kFlushList:
    case kNotifyLongSpinWait:
    case kSendIpi:
    case kFlushSpaceEx:
    case kFlushListEx:
    case kSendIpiEx: break;
    default: return Status::InvalidCode;
  }
  if (list ? call.reps() == 0 || call.start() >= call.reps() : call.reps() != 0 || call.start() != 0) return Status::InvalidInput;
  if (!extended && call.variable() != 0) return Status::InvalidInput;
  switch (code) {
    case kSendIpi:
    case kSendIpiEx: return send_ipi(call, extended);
    case kNotifyLongSpinWait:
      if (const Status status = call.expect(1); status != Status::Success) return status;
      counted_.spin_waits++;
      host_.end_turn(call.c);
      return Status::Success;
    default: return flush(call, list, extended);
  }
}

/// No TLB here holds what the page tables don't (docs/design.md): a flush is done when it is asked for.
Hyperv::Status Hyperv::flush(Call& call, bool list, bool extended) {
  const unsigned header = extended ? 4 + call.variable() : 3;  // space, flags, and a mask or a set
  if (const Status status = call.expect(header + (list ? call.reps() : 0)); status != Status::Success) return status;
  const u64 flags = call.word(1);
  if (flags & ~(kAllProcessors | kAllSpaces | kNonGlobalOnly)) return Status::InvalidParameter;
  u64 whom = 0;  // by index; those that the machine hasn't are left out
  if (!extended) whom = call.word(2);
  else if (const Status status = call.set(2, whom); status != Status::Success) return status;
  if (flags & kAllProcessors) whom = ~u64{0};
  counted_.flushes++;
  for (unsigned n = 0; n < cpu_.size(); n++) counted_.flush_destinations += n != call.c.index && (whom >> n & 1);
  return Status::Success;
}

Hyperv::Status Hyperv::send_ipi(Call& call, bool extended) {
  if (const Status status = call.expect(extended ? 3 + call.variable() : 2); status != Status::Success) return status;
  const u64 vector = call.word(0);  // above it: the level of trust, of which there is one, and padding
  if (vector < kFirstVector || vector > kLastVector) return Status::InvalidInput;
  u64 whom = 0;
  if (!extended) whom = call.word(1);
  else if (const Status status = call.set(1, whom); status != Status::Success) return status;
  counted_.ipi_calls++;
  for (unsigned n = 0; n < cpu_.size(); n++) {
    LocalApic& apic = host_.apic_at(n);
    if (!(whom >> n & 1) || !apic.accepts_interrupts()) continue;
    ApicMessage message;
    message.destination = apic.id();
    message.vector = static_cast<u8>(vector);
    counted_.ipi_destinations += apic.receive(message);
  }
  return Status::Success;
}

}  // namespace callgate::paravirt
