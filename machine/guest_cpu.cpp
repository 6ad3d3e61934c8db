#include "machine/guest_cpu.h"

#include <algorithm>
#include <iterator>

#include "cpu/model.h"
#include "cpu/models.h"
#include "cpu/table/table.h"

namespace callgate {

GuestCpu guest_cpu() {
  const CpuModel model;
  return {model.name, feature_names(model), static_cast<unsigned>(all_rows().size())};
}

bool is_cpu_model(std::string_view name) { return std::find(std::begin(kCpuModels), std::end(kCpuModels), name) != std::end(kCpuModels); }

std::string cpu_models() {
  std::string names;
  for (const std::string_view m : kCpuModels) names.append(names.empty() ? "" : ", ").append(m);
  return names;
}

}  // namespace callgate
