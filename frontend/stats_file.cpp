#include "frontend/stats_file.h"

#include <fmt/format.h>
#include <sys/resource.h>

namespace callgate {

Result<StatsFile> StatsFile::create(const std::string& path) {
  auto file = Output::open(path.empty() ? "none" : "file:" + path, "--stats");
  if (!file) return tl::make_unexpected(file.error());
  return StatsFile(std::move(*file));
}

Result<> StatsFile::write(Machine& machine, double seconds) {
  const MachineStats s = machine.stats();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::string text = "{\n";
  const auto number = [&](const char* name, auto value, bool last = false) {
    text += fmt::format("  \"{}\": {}{}\n", name, value, last ? "" : ",");
  };
  const bool translates = machine.config().engine == Engine::Translator;
  text += fmt::format("  \"engine\": \"{}\",\n", translates ? "jit" : "interp");
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
  if (translates) {
    number("blocks_translated", s.blocks);
    number("instructions_translated", s.translated);
    number("code_bytes", s.code_bytes);
    number("blocks_invalidated", s.blocks_invalidated);
    number("code_flushes", s.code_flushes);
    number("entries", s.entries);
    number("exits_budget", s.exits_budget);
    number("exits_link", s.exits_link);
    number("exits_bail", s.exits_bail);
    number("exits_done", s.exits_done);
    number("slow_accesses", s.slow_accesses);
    number("handler_calls", s.handler_calls);
    number("interpreted", s.interpreted);
    // What emitted code could not do itself, by row: an array of sentences.
    text += "  \"not_in_emitted_code\": [\n";
    for (std::size_t at = 0; at < s.handlers.size();) {
      const std::size_t end = s.handlers.find('\n', at);
      text += fmt::format("    \"{}\"{}\n", s.handlers.substr(at, end - at), end + 1 < s.handlers.size() ? "," : "");
      at = end + 1;
    }
    text += "  ],\n";
  }
  number("timer_events", s.timer_events);
  number("idle_skips", s.idle_skips, true);
  text += "}\n";
  file_->write({reinterpret_cast<const u8*>(text.data()), text.size()});
  file_->flush();
  if (!file_->good()) return fail(ErrorKind::Host, "the figures of --stats could not be written: is the disk full?");
  return {};
}

}  // namespace callgate
