#include <fmt/format.h>
#include <sys/utsname.h>

#include "cpu/model.h"
#include "cpu/table/table.h"
#include "frontend/run_command.h"
#include "frontend/version.h"

namespace callgate {

int info_command() {
  utsname host{};
  uname(&host);
  const CpuModel model;
  fmt::print("callgate {}\n", kVersion);
  fmt::print("engines        interp (default)\n");
  fmt::print("host           {} {} on {}\n", host.sysname, host.release, host.machine);
  fmt::print("guest CPU      {} (the only model)\n", model.name);
  fmt::print("instructions   {} rows in the table\n", all_rows().size());
  fmt::print("features      ");
  std::size_t column = 15;
  for (const std::string& name : feature_names(model)) {
    if (column + name.size() + 1 > 100) {
      fmt::print("\n              ");
      column = 15;
    }
    fmt::print(" {}", name);
    column += name.size() + 1;
  }
  fmt::print("\nkernels        Linux bzImage, vmlinux (PVH), ELF with a PVH note, Multiboot 1\n");
  return 0;
}

}  // namespace callgate
