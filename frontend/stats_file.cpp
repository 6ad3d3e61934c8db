#include "frontend/stats_file.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace callgate {

namespace {
Error cannot_write(const std::string& path) {
  return {ErrorKind::MissingFile, fmt::format("{} can't be written for --stats: {}", path, std::strerror(errno))};
}
}  // namespace

Result<StatsFile> StatsFile::create(const std::string& path) {
  if (path.empty()) return StatsFile(path);
  std::FILE* f = std::fopen(path.c_str(), "wx");
  if (f == nullptr && errno == EEXIST)
    return fail(ErrorKind::BadArgument, path + " exists already: give --stats another file, or remove it first");
  if (f == nullptr) return tl::make_unexpected(cannot_write(path));
  std::fclose(f);
  return StatsFile(path);
}

Result<> StatsFile::write(Machine& machine, double seconds) {
  if (path_.empty()) return {};
  const MachineStats s = machine.stats();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::string text = "{\n";
  const auto number = [&](const char* name, auto value, bool last = false) { text += fmt::format("  \"{}\": {}{}\n", name, value, last ? "" : ","); };
  text += "  \"engine\": \"interp\",\n";
  number("instructions", s.retired);
  number("host_seconds", seconds);
  number("mips", seconds > 0 ? static_cast<double>(s.retired) / seconds / 1e6 : 0.0);
  number("guest_seconds", static_cast<double>(s.guest_ns) / 1e9);
  number("max_rss_kib", usage.ru_maxrss);
  number("faults", s.faults);
  number("interrupts", s.interrupts);
  number("decoded_instructions", s.decoded);
  number("code_invalidations", s.code_invalidations);
  number("tlb_fills", s.tlb_fills);
  number("tlb_flushes", s.tlb_flushes);
  number("tlb_page_drops", s.tlb_page_drops);
  number("timer_events", s.timer_events);
  number("idle_skips", s.idle_skips, true);
  text += "}\n";
  std::FILE* f = std::fopen(path_.c_str(), "w");
  if (f == nullptr) return tl::make_unexpected(cannot_write(path_));
  const bool ok = std::fwrite(text.data(), 1, text.size(), f) == text.size();
  if (std::fclose(f) != 0 || !ok) return tl::make_unexpected(cannot_write(path_));
  return {};
}

}  // namespace callgate
