// Which calls are allowed, negotiation, and the ring.
#include "paravirt/port_call.h"

namespace callgate::paravirt {

using namespace abi;

Answer execute(u32 number, PortCall& call, bool in_ring) {
  const CallRow* row = find_call(number);
  if (row == nullptr || (in_ring && (row->attributes & kNotInRing))) return {kNoSys};
  const u32 group = number >> 16;
  if (call.c.cpl() != 0) {
    const bool asked_for = (row->attributes & kUnnegotiated) || (call.state.user_mask >> group & 1);
    if (!(row->attributes & kUser) || !asked_for) return {kPerm};
  }
  if (!(row->attributes & kUnnegotiated)) {
    const bool granted = group == kCore ? call.state.version != 0 : call.state.features >> group & 1;
    if (!granted) return {kNotNegotiated};
  }
  if ((row->attributes & kProtected) && call.c.real_or_v86()) return {kBadMode};
  return row->handler(call);
}

namespace calls {

Answer probe(PortCall&) { return {kOk, kVersion}; }

Answer hello(PortCall& call) {
  const u32 version = static_cast<u32>(call.arg[0]);
  if (version >> 16 != kMajor || (version & 0xFFFF) > kMinor) return {kBadVersion, kVersion};
  for (auto& p : call.state.cpu)
    if (p->ring != 0) return {kBusy};
  call.state.hooks.clear();
  call.state.version = version;
  call.state.features = static_cast<u32>(call.arg[1]) & kFeatures;
  return {kOk, call.state.features};
}

Answer query(PortCall& call) {
  const CallRow* row = call.arg[0] >> 32 == 0 ? find_call(static_cast<u32>(call.arg[0])) : nullptr;
  if (row == nullptr) return {kNoSys};
  return {kOk, kind_of(*row, call.state.hooks)};
}

// Groups without a call for ring 3 can't be given to it: their instructions would refuse.
Answer user_mask(PortCall& call) {
  u64 possible = 0;
  for (const CallRow& row : port_calls())
    if ((row.attributes & kUser) && !(row.attributes & kUnnegotiated)) possible |= u64{1} << (row.number >> 16);
  if (call.arg[0] & ~possible) return {kInvalid};
  call.state.user_mask = static_cast<u32>(call.arg[0]);
  return {kOk, call.state.user_mask};
}

Answer ring(PortCall& call) {
  if (!(call.state.features & kFeatureRing)) return {kNotNegotiated};
  const u64 at = call.arg[0], entries = call.arg[1];
  if (at == 0) {
    call.own().ring = 0;
    call.own().ring_entries = 0;
    return {};
  }
  if (at & 63) return {kInvalid};
  if (entries > kMostRingEntries) return {kTooBig, kMostRingEntries};
  if (entries == 0 || (entries & (entries - 1)) != 0) return {kInvalid, 1};
  call.own().ring = at;
  call.own().ring_entries = static_cast<u32>(entries);
  return {};
}

// Executes what is ready, with the rights of who rings. `done` in the header goes up with each entry, so that what is behind
// an interruption is where to go on.
Answer doorbell(PortCall& call) {
  const u64 at = call.own().ring;
  const u32 entries = call.own().ring_entries;
  if (at == 0) return {kInvalid};
  CallerMemory memory = call.memory();
  RingHeader header;
  if (!memory.load(at, header)) return {kFault};
  if (header.ready - header.done > entries) return {kTooBig, entries};
  u64 executed = 0;
  while (header.done != header.ready) {
    if (executed == kRingBatch) return {kAgain, executed};
    const u64 place = at + sizeof(RingHeader) + u64{header.done & (entries - 1)} * sizeof(RingEntry);
    RingEntry entry;
    // It must be possible to say what became of it before anything is done.
    if (!memory.load(place, entry) || !memory.store(place, entry)) return {kFault, executed};
    if (!memory.store(at, header.done)) return {kFault, executed};
    PortCall inner{call.c, call.host, call.state, {}, true};
    for (unsigned n = 0; n < 6; n++) inner.arg[n] = entry.argument[n];
    const Answer answer = execute(entry.call, inner, true);
    entry.status = answer.status;
    entry.value = answer.value;
    const bool told = memory.store(place, entry);  // a call may have changed the caller's own memory map
    if (answer.status == kAgain) return {told ? kAgain : kFault, executed};
    executed++;
    header.done++;
    if (!told || !memory.store(at, header.done)) return {kFault, executed};
    if (answer.status != kOk && (header.flags & kRingStopOnError)) return {answer.status, executed};
  }
  return {kOk, executed};
}

}  // namespace calls
}  // namespace callgate::paravirt
