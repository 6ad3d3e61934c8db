// The numbers of paravirt/ABI.md. guest/callgate.h has the same ones for guests; tests/paravirt compares them.
#pragma once

#include "cpu/hypervisor.h"

namespace callgate::paravirt::abi {

constexpr u32 kMajor = 1, kMinor = 1;
constexpr u32 kVersion = kMajor << 16 | kMinor;
constexpr u16 kPort = kCallPort;

/// What EAX holds after a call. All ones are what a port reads that is not there.
enum Status : u32 {
  kOk = 0,
  kNoSys = 1,    ///< there is no such call
  kPerm = 2,     ///< not at this privilege
  kInvalid = 3,  ///< EINVAL: an argument; RBX says which element of a list, or which argument
  kFault = 4,    ///< EFAULT: memory that the caller may not access; RBX says how far it went
  kTooBig = 5,   ///< E2BIG: RBX has the most that there may be
  kAgain = 6,    ///< a part is done, RBX says how much: call again for the rest
  kNotNegotiated = 7,
  kBusy = 8,
  kBadVersion = 9,  ///< RBX has the version that there is
  kBadMode = 10,    ///< not in this processor mode
  kPending = 0xFFFFFFFE,  ///< in a ring: not executed yet
};

enum Group : u32 { kCore = 0, kCpu = 1, kTime = 2, kIrq = 3, kConsole = 4, kMem = 5, kTest = 6, kHooks = 7, kGroups = 8 };

constexpr u32 call(Group group, u32 number) { return group << 16 | number; }

enum Call : u32 {
  kProbe = call(kCore, 0),
  kHello = call(kCore, 1),
  kQuery = call(kCore, 2),
  kUserMask = call(kCore, 3),
  kRing = call(kCore, 4),
  kDoorbell = call(kCore, 5),

  kWriteDescriptors = call(kCpu, 0),
  kLoadLdt = call(kCpu, 1),
  kLoadTls = call(kCpu, 2),
  kSetSp0 = call(kCpu, 3),
  kSwitchMm = call(kCpu, 4),
  kFlushTlb = call(kCpu, 5),
  kMsrBatch = call(kCpu, 6),

  kNow = call(kTime, 0),
  kWallClock = call(kTime, 1),
  kDeadline = call(kTime, 2),
  kSkip = call(kTime, 3),

  kEoi = call(kIrq, 0),
  kIpi = call(kIrq, 1),
  kKick = call(kIrq, 2),
  kHaltUntil = call(kIrq, 3),

  kWrite = call(kConsole, 0),
  kRead = call(kConsole, 1),
  kAttach = call(kConsole, 2),

  kCopy = call(kMem, 0),
  kFill = call(kMem, 1),
  kClearPages = call(kMem, 2),
  kChecksum = call(kMem, 3),

  kExit = call(kTest, 0),
  kAssert = call(kTest, 1),
  kLog = call(kTest, 2),
  kMark = call(kTest, 3),
  kBreak = call(kTest, 4),
  kSnapshot = call(kTest, 5),
  kRestore = call(kTest, 6),
  kGetInput = call(kTest, 7),

  kHook = call(kHooks, 0),
  kUnhook = call(kHooks, 1),
  kHookState = call(kHooks, 2),
};

/// What HELLO grants: bit `Group` for the group's calls, and the ring.
constexpr u32 kFeatureRing = 1u << 16;
constexpr u32 kFeatures = 1u << kCpu | 1u << kTime | 1u << kIrq | 1u << kConsole | 1u << kMem | 1u << kTest | 1u << kHooks | kFeatureRing;

/// QUERY's answers.
enum Kind : u32 {
  kNative = 0,     ///< the call does what the native instructions do, at about their price
  kNoop = 1,       ///< there is nothing to do here: neither the call nor what it stands for is needed
  kCall = 2,       ///< the call is the cheaper way
  kIntrinsic = 3,  ///< the native code itself is recognised
};

/// The most that one call does before it says kAgain: how long it can keep an interrupt waiting.
constexpr u32 kMostBytes = 64 << 10;
constexpr u32 kMostDescriptors = 8192;
constexpr u32 kMostMsrs = 64;
constexpr u64 kMostRange = u64{1} << 40;   ///< of bytes in one request
constexpr u32 kMostSnapshots = 4;            ///< slots of SNAPSHOT
constexpr u32 kMostText = 1024;            ///< of ASSERT and LOG

// The ring: a header of 64 bytes, then entries of 64 bytes.
struct RingHeader {
  u32 done;   ///< entries executed so far: written here
  u32 ready;  ///< entries made ready so far: written by the guest
  u32 flags;
  u32 reserved[13];
};
constexpr u32 kRingStopOnError = 1;  ///< flags: the first entry that fails ends the batch
struct RingEntry {
  u32 call;
  u32 status;
  u64 argument[6];
  u64 value;
};
static_assert(sizeof(RingHeader) == 64 && sizeof(RingEntry) == 64);
constexpr u32 kMostRingEntries = 1024;
constexpr u32 kRingBatch = 256;  ///< entries that one doorbell executes before it says kAgain

// SWITCH_MM's flags: what is loaded besides CR3.
constexpr u64 kSwitchLdt = 1, kSwitchSp0 = 2;
// LOAD_LDT's: only processors whose CR3 points to the caller's page tables.
constexpr u64 kLdtSameMm = 1;
// HALT_UNTIL's: sets IF, so that nothing comes between.
constexpr u64 kHaltEnable = 1;
// SNAPSHOT's: the slot is empty from now on.
constexpr u64 kSnapshotForget = 1;
// IPI's.
constexpr u64 kIpiNmi = 1;

// Hooks.
constexpr u64 kAllSlots = ~u64{0};              ///< UNHOOK's
constexpr u64 kHookInEffect = u64{1} << 32;     ///< HOOK_STATE's: the function's bytes are there
constexpr u64 kFnvBasis = 0xCBF29CE484222325, kFnvPrime = 0x100000001B3;  ///< FNV-1a, 64 bits

struct MsrEntry {
  u32 index;
  u32 write;  ///< 0: read into value, 1: write
  u64 value;
};
static_assert(sizeof(MsrEntry) == 16);

}  // namespace callgate::paravirt::abi
