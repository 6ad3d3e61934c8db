#include "frontend/perf_map.h"

#include <fmt/format.h>
#include <unistd.h>

namespace callgate {

Result<PerfMap> PerfMap::create(bool wanted) {
  if (!wanted) return PerfMap(nullptr);
  auto file = Output::open(fmt::format("file:/tmp/perf-{}.map", getpid()), "--perf-map");
  if (!file) return tl::make_unexpected(file.error());
  return PerfMap(std::move(*file));
}

void PerfMap::follow(Machine& machine) {
  if (!file_) return;
  file_->keep();
  // Each line goes out at once: whatever ends the run, perf finds what was there.
  machine.on_code([file = file_.get()](const void* at, std::size_t size, std::string_view name) {
    const std::string line = fmt::format("{:x} {:x} {}\n", reinterpret_cast<std::uintptr_t>(at), size, name);
    file->write({reinterpret_cast<const u8*>(line.data()), line.size()});
  });
}

}  // namespace callgate
