#include "machine/guest_cpu.h"

#include "cpu/model.h"
#include "cpu/table/table.h"

namespace callgate {

GuestCpu guest_cpu() {
  const CpuModel model;
  return {model.name, feature_names(model), static_cast<unsigned>(all_rows().size())};
}

}  // namespace callgate
