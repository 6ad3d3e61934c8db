// What processor the guests see, for a person. Knows no machine.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace callgate {

struct GuestCpu {
  std::string model;
  std::vector<std::string> features;  ///< the names that Linux shows in /proc/cpuinfo
  unsigned instructions = 0;          ///< rows of the instruction table
};

GuestCpu guest_cpu();
bool is_cpu_model(std::string_view name);
/// "callgate, plain"
std::string cpu_models();

}  // namespace callgate
