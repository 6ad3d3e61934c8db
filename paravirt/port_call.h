// One call of Callgate's port: who calls, with what, and what the answer is. The calls themselves are in calls_GROUP.cpp, one
// function each, listed in port_table.cpp.
#pragma once

#include <span>

#include "paravirt/abi.h"
#include "paravirt/caller_memory.h"
#include "paravirt/host.h"
#include "paravirt/port_state.h"

namespace callgate::paravirt {

/// What goes back: EAX and RBX.
struct Answer {
  abi::Status status = abi::kOk;
  u64 value = 0;
};

struct PortCall {
  Cpu& c;
  Host& host;
  PortState& state;
  u64 arg[6];
  bool wide;  ///< the arguments have 64 bits: from 64-bit mode's registers or a ring

  PortCpu& own() { return *state.cpu[c.index]; }
  CallerMemory memory() { return CallerMemory(c); }
  /// What bits of a set of processors stand for processors that there are.
  u64 all_cpus() const { return low_mask(host.cpus()); }
};

using Handler = Answer (*)(PortCall&);

/// Who may call, besides what is said of its group.
enum CallAttr : u8 {
  kUser = 1,        ///< ring 3 may, when its mask has the group
  kProtected = 2,   ///< not in real and virtual-8086 mode
  kNotInRing = 4,   ///< it waits, or it is about rings
  kUnnegotiated = 8,  ///< before HELLO, too
};

struct CallRow {
  u32 number;
  const char* name;
  Handler handler;
  u8 attributes;
  abi::Kind kind;
};

/// Every call that there is, by number.
std::span<const CallRow> port_calls();
/// nullptr: there is no such call.
const CallRow* find_call(u32 number);

/// Executes one call for `call.c` at its privilege and in its mode: all checks, then the handler.
Answer execute(u32 number, PortCall& call, bool in_ring);

namespace calls {
// calls_core.cpp
Answer probe(PortCall& call);
Answer hello(PortCall& call);
Answer query(PortCall& call);
Answer user_mask(PortCall& call);
Answer ring(PortCall& call);
Answer doorbell(PortCall& call);
// calls_cpu.cpp
Answer write_descriptors(PortCall& call);
Answer load_ldt(PortCall& call);
Answer load_tls(PortCall& call);
Answer set_sp0(PortCall& call);
Answer switch_mm(PortCall& call);
Answer flush_tlb(PortCall& call);
Answer msr_batch(PortCall& call);
// calls_time.cpp
Answer now(PortCall& call);
Answer wall_clock(PortCall& call);
Answer deadline(PortCall& call);
Answer skip(PortCall& call);
// calls_irq.cpp
Answer eoi(PortCall& call);
Answer ipi(PortCall& call);
Answer kick(PortCall& call);
Answer halt_until(PortCall& call);
// calls_console.cpp
Answer write(PortCall& call);
Answer read(PortCall& call);
Answer attach(PortCall& call);
// calls_mem.cpp
Answer copy(PortCall& call);
Answer fill(PortCall& call);
Answer clear_pages(PortCall& call);
Answer checksum(PortCall& call);
// calls_testing.cpp
Answer exit(PortCall& call);
Answer assert_true(PortCall& call);
Answer log(PortCall& call);
Answer mark(PortCall& call);
Answer debug_break(PortCall& call);
Answer snapshot(PortCall& call);
Answer restore(PortCall& call);
Answer get_input(PortCall& call);
// calls_hooks.cpp
Answer hook(PortCall& call);
Answer unhook(PortCall& call);
Answer hook_state(PortCall& call);
}  // namespace calls

/// What QUERY says of a call: as the table has it, unless hooks stand for what it stands for.
abi::Kind kind_of(const CallRow& row, const HookedCode& hooks);

/// Sleeps until `deadline` (kNever: no alarm), an interrupt or a KICK. False when a KICK was waiting: no sleep.
bool sleep_until(PortCall& call, u64 deadline);
/// `c` sleeps by sleep_until(), and has not been woken since.
bool asleep(const Cpu& c, const PortCpu& p);
/// The alarm of a sleep went off, or somebody kicked it: `c` goes on when it sleeps still.
void wake(Cpu& c, PortCpu& p);
/// Raises interrupt `vector` on processor `index` as a message on the APIC bus would. False: its APIC takes none.
bool send_interrupt(Host& host, unsigned index, u8 vector);
/// Moves bytes of a queue to the caller's memory.
Answer take_bytes(PortCall& call, ByteQueue& from, u64 to, u64 capacity);

}  // namespace callgate::paravirt
