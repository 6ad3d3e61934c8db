#include <fmt/format.h>
#include <sys/utsname.h>

#include "frontend/run_command.h"
#include "frontend/version.h"
#include "machine/guest_cpu.h"
#include "machine/machine.h"

namespace callgate {

int info_command() {
  utsname host{};
  uname(&host);
  const GuestCpu cpu = guest_cpu();
  fmt::print("callgate {}\n", kVersion);
  if (default_engine() == Engine::Translator)
    fmt::print("engines        jit (default), interp, lockstep\n");
  else
    fmt::print("engines        interp (default); jit needs an x86-64 host with BMI2\n");
  fmt::print("host           {} {} on {}\n", host.sysname, host.release, host.machine);
  fmt::print("guest CPU      {} (models: {})\n", cpu.model, cpu_models());
  fmt::print("instructions   {} rows in the table\n", cpu.instructions);
  fmt::print("features      ");
  std::size_t column = 15;
  for (const std::string& name : cpu.features) {
    if (column + name.size() + 1 > 100) {
      fmt::print("\n              ");
      column = 15;
    }
    fmt::print(" {}", name);
    column += name.size() + 1;
  }
  fmt::print("\nparavirt       {} (--paravirt; the default is none)", paravirt_text(~0u));
  fmt::print("\nkernels        Linux bzImage, vmlinux (PVH), ELF with a PVH note, Multiboot 1\n");
  return 0;
}

}  // namespace callgate
