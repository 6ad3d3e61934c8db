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
  number("tlb_refills", s.tlb_refills);
  number("tlb_flushes", s.tlb_flushes);
  number("tlb_page_drops", s.tlb_page_drops);
  if (translates) {
    number("blocks_translated", s.blocks);
    number("block_versions", s.versions);
    number("loops_in_rounds", s.loops);
    number("hot_paths", s.paths);
    number("instructions_translated", s.translated);
    number("translation_seconds", static_cast<double>(s.translation_ns) / 1e9);
    number("code_bytes", s.code_bytes);
    number("blocks_invalidated", s.blocks_invalidated);
    number("code_flushes", s.code_flushes);
    number("entries", s.entries);
    number("exits_budget", s.exits_budget);
    number("exits_link", s.exits_link);
    number("exits_bail", s.exits_bail);
    number("exits_done", s.exits_done);
    number("tlb_misses", s.tlb_misses);
    number("jump_cache_misses", s.jump_cache_misses);
    number("interpreted", s.interpreted);
    number("handler_calls", s.handler_calls);
    text += "  \"handlers\": [";
    const char* separator = "\n";
    for (const MachineStats::Handler& h : s.handlers) {
      text += fmt::format("{}    {{\"name\": \"{}\", \"encoding\": \"{}\", \"calls\": {}, \"interpreted\": {}}}", separator, h.name,
                          h.encoding, h.handler_calls, h.interpreted);
      separator = ",\n";
    }
    text += "\n  ],\n";
  }
  if (!s.hooks.empty()) {
    text += "  \"hooks\": [";
    const char* separator = "\n";
    for (const MachineStats::Hooked& h : s.hooks) {
      text += fmt::format("{}    {{\"kind\": \"{}\", \"entered\": {}, \"declined\": {}}}", separator, h.kind, h.entered, h.declined);
      separator = ",\n";
    }
    text += "\n  ],\n";
    number("hooks_suspended", s.hooks_suspended);
    number("hooks_refused", s.hooks_refused);
  }
  for (const MachineStats::Count& c : s.paravirt) number(c.name.c_str(), c.value);
  number("timer_events", s.timer_events);
  number("idle_skips", s.idle_skips, true);
  text += "}\n";
  file_->write({reinterpret_cast<const u8*>(text.data()), text.size()});
  file_->flush();
  if (!file_->good()) return fail(ErrorKind::Host, "the figures of --stats could not be written: is the disk full?");
  return {};
}

}  // namespace callgate
