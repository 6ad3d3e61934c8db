// paravirt/abi.h, the table of calls and guest/callgate.h say the same.
#include <doctest/doctest.h>

#include <cctype>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "guest/callgate.h"
#include "paravirt/abi.h"
#include "paravirt/port_call.h"

using namespace callgate;
using namespace callgate::paravirt;

/// Enumerations of C and ours as numbers.
constexpr bool same(u64 theirs, u64 ours) { return theirs == ours; }
static_assert(same(CALLGATE_VERSION, abi::kVersion) && same(CALLGATE_PORT, abi::kPort));
static_assert(same(CALLGATE_ENOSYS, abi::kNoSys) && same(CALLGATE_EPERM, abi::kPerm) && same(CALLGATE_EINVAL,
              abi::kInvalid) && same(CALLGATE_EFAULT, abi::kFault) && same(CALLGATE_E2BIG, abi::kTooBig) &&
              same(CALLGATE_EAGAIN, abi::kAgain) && same(CALLGATE_ENOTNEG, abi::kNotNegotiated) &&
              same(CALLGATE_EBUSY, abi::kBusy) && same(CALLGATE_EVERSION, abi::kBadVersion) && same(CALLGATE_EMODE,
              abi::kBadMode) && same(CALLGATE_PENDING, abi::kPending));
static_assert(same((CALLGATE_F_CPU | CALLGATE_F_TIME | CALLGATE_F_IRQ | CALLGATE_F_CONSOLE | CALLGATE_F_MEM |
              CALLGATE_F_TEST | CALLGATE_F_HOOKS | CALLGATE_F_RING), abi::kFeatures));
static_assert(same(sizeof(callgate_ring_header), sizeof(abi::RingHeader)) && same(sizeof(callgate_ring_entry),
              sizeof(abi::RingEntry)) && same(sizeof(callgate_msr), sizeof(abi::MsrEntry)));
static_assert(same(CALLGATE_MAX_BYTES, abi::kMostBytes) && same(CALLGATE_MAX_DESCRIPTORS, abi::kMostDescriptors) &&
              same(CALLGATE_MAX_MSRS, abi::kMostMsrs) && same(CALLGATE_MAX_RING, abi::kMostRingEntries) &&
              same(CALLGATE_MAX_SNAPSHOTS, abi::kMostSnapshots));
static_assert(same(CALLGATE_SWITCH_LDT, abi::kSwitchLdt) && same(CALLGATE_SWITCH_SP0, abi::kSwitchSp0) &&
              same(CALLGATE_LDT_SAME_MM, abi::kLdtSameMm) && same(CALLGATE_HALT_ENABLE, abi::kHaltEnable) &&
              same(CALLGATE_IPI_NMI, abi::kIpiNmi) && same(CALLGATE_SNAPSHOT_FORGET, abi::kSnapshotForget) && same(CALLGATE_RING_STOP_ON_ERROR, abi::kRingStopOnError));
static_assert(same(CALLGATE_IS_NATIVE, abi::kNative) && same(CALLGATE_IS_NOOP, abi::kNoop) && same(CALLGATE_IS_CALL,
              abi::kCall) && same(CALLGATE_IS_INTRINSIC, abi::kIntrinsic));

static_assert(same(CALLGATE_CLEAR_PAGE_FUNCTION, u64(Intrinsic::ClearPage)) && same(CALLGATE_COPY_PAGE_FUNCTION, u64(Intrinsic::CopyPage)) &&
              same(CALLGATE_MEMCPY_FUNCTION, u64(Intrinsic::Memcpy)) && same(CALLGATE_MEMSET_FUNCTION, u64(Intrinsic::Memset)) &&
              same(CALLGATE_COPY_USER_FUNCTION, u64(Intrinsic::CopyUser)) &&
              same(CALLGATE_LOAD_LDT_FUNCTION, u64(Intrinsic::LoadLdt)) && same(CALLGATE_DELAY_FUNCTION, u64(Intrinsic::Delay)) &&
              same(CALLGATE_YIELD_FUNCTION, u64(Intrinsic::Yield)));
static_assert(same(CALLGATE_HOOK_ALL, abi::kAllSlots) && same(CALLGATE_HOOK_IN_EFFECT, abi::kHookInEffect) &&
              same(CALLGATE_MAX_HOOKS, HookedCode::kSlots) && same(CALLGATE_MAX_HOOK_BYTES, HookedCode::kMostBytes));

namespace {

std::string text_of(const char* path) {
  std::ifstream file(std::string(CALLGATE_SOURCE_DIR) + "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(c));
  return text;
}

}  // namespace

TEST_CASE("the header for guests names every call with its number, and no others") {
  std::map<std::string, u32> in_header;
  std::istringstream lines(text_of("guest/callgate.h"));
  for (std::string line; std::getline(lines, line);) {
    char name[64];
    unsigned group = 0, number = 0;
    if (std::sscanf(line.c_str(), "#define CALLGATE_%63s CALLGATE_CALL(%u, %u)", name, &group, &number) == 3)
      in_header[name] = group << 16 | number;
  }
  for (const CallRow& row : port_calls()) {
    CAPTURE(row.name);
    CHECK(in_header.count(upper(row.name)) == 1);
    CHECK(in_header[upper(row.name)] == row.number);
  }
  CHECK(in_header.size() == port_calls().size());
}

TEST_CASE("ABI.md describes every call under its number") {
  const std::string text = text_of("paravirt/ABI.md");
  for (const CallRow& row : port_calls()) {
    CAPTURE(row.name);
    CHECK(text.find(std::to_string(row.number & 0xFFFF) + " " + upper(row.name) + "(") != std::string::npos);
  }
}
