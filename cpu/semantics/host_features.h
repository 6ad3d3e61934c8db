// For tests: which instruction sets the host's processor has, by the names that rows use.
#pragma once

#include <string_view>

#include "base/types.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace callgate::test {

/// True when CPUID shows the feature; also for the features that every x86-64 processor has. Never on other hosts.
inline bool host_has(std::string_view feature) {
#if defined(__x86_64__)
  enum : u8 { kEbx, kEcx, kEdx };
  struct Place {
    std::string_view name;
    u32 leaf;
    u8 reg, bit;
  };
  static constexpr Place kPlaces[] = {
      {"pni", 1, kEcx, 0},     {"pclmulqdq", 1, kEcx, 1}, {"ssse3", 1, kEcx, 9},   {"sse4_1", 1, kEcx, 19},
      {"sse4_2", 1, kEcx, 20}, {"movbe", 1, kEcx, 22},    {"popcnt", 1, kEcx, 23}, {"aes", 1, kEcx, 25},
      {"rdrand", 1, kEcx, 30}, {"bmi1", 7, kEbx, 3},      {"rdseed", 7, kEbx, 18}, {"adx", 7, kEbx, 19},
      {"sha_ni", 7, kEbx, 29}, {"bmi2", 7, kEbx, 8},       {"avx", 1, kEcx, 28},    {"avx2", 7, kEbx, 5},
      {"vaes", 7, kEcx, 9},     {"vpclmulqdq", 7, kEcx, 10},
      {"fma", 1, kEcx, 12},    {"f16c", 1, kEcx, 29},
  };
  if (feature == "abm") {
    // CPUID may hide LZCNT behind a hypervisor; without it the instruction is BSR, which gives 0 here.
    u32 zeros;
    asm("lzcntl %1, %0" : "=r"(zeros) : "r"(1u) : "cc");
    return zeros == 31;
  }
  for (const Place& p : kPlaces) {
    if (p.name != feature) continue;
    u32 r[4] = {};
    if (!__get_cpuid_count(p.leaf, 0, &r[0], &r[1], &r[2], &r[3])) return false;
    return r[p.reg + 1] >> p.bit & 1;
  }
  return true;
#else
  static_cast<void>(feature);
  return false;
#endif
}

}  // namespace callgate::test
