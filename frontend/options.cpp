#include "frontend/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>

#include "frontend/exit_status.h"
#include "frontend/version.h"

namespace callgate {

namespace {

constexpr const char* kRunFooter = R"(
Exit status
  0    the guest powered off (or you ended the run with Ctrl-A x)
  odd  the guest's own: what it wrote to the debug-exit port 0xf4, times 2 plus 1 (low 8 bits)
  2    a bad argument           4    a missing or unreadable file
  6    a damaged file           8    a triple fault; the report tells how it came to it
  10   halted for good          12   the host refused something
  14   the guest reset itself and --no-reboot was given
  16   --engine lockstep found a difference; the report tells where
  128+N  ended by signal N

QEMU's spellings work too: -kernel, -initrd, -append, -m, -smp, -cpu, -nographic, -no-reboot, -serial, -display none.
On the console, Ctrl-A h lists the keys.)";

/// Single-dash spellings of QEMU that CLI11 would take for bundles of one-letter options.
std::string with_two_dashes(const std::string& word) {
  static constexpr const char* kKnown[] = {"-kernel",    "-initrd",    "-append",     "-smp",     "-cpu",
                                           "-nographic", "-no-reboot", "-serial",     "-display", "-vga",
                                           "-debugcon",  "-monitor",   "-nodefaults", "-rtc", "-gdb"};
  const std::string name = word.substr(0, word.find('='));
  for (const char* known : kKnown)
    if (name == known) return "-" + word;
  return word;
}

std::string known_output(const std::string& value) {
  if (value == "stdio" || value == "mon:stdio" || value == "none" || value == "null") return "";
  if (value.rfind("file:", 0) == 0 && value.size() > 5) return "";
  return "\"" + value + "\" is not an output: use stdio, none or file:PATH";
}

std::string some_file(const std::string& value) { return value.empty() ? "needs the name of a file" : ""; }

/// Reads the whole of `text` as a number.
template <class T>
bool parse_number(const std::string& text, T& value) {
  const auto r = std::from_chars(text.data(), text.data() + text.size(), value);
  return r.ec == std::errc{} && r.ptr == text.data() + text.size();
}

/// CLI11 reads "-5" as a huge number and "" as none at all.
std::string some_count(const std::string& value) {
  u64 number = 0;
  if (parse_number(value, number) && number != 0) return "";
  return "\"" + value + "\" is not a count: write a number of instructions, 1 or more";
}

std::string known_command(const std::vector<std::string>& arguments) {
  const std::string known = "callgate run boots a kernel, callgate replay runs a recording again, callgate info tells what is "
                            "emulated, or about a recording";
  if (arguments.empty()) return "which command? " + known;
  const std::string& word = arguments[0];
  if (word == "run" || word == "replay" || word == "info" || word[0] == '-') return "";
  return "there is no command \"" + word + "\": " + known;
}

constexpr const char* kReplayFooter = R"(
Exit status
  0    the recording matched to its end (or up to --until)
  2    a bad argument           4    a missing or unreadable file
  6    a damaged recording, one that was cut off, one of another build, or another kernel or initrd
  12   the host refused something
  16   the replay differs: the message tells where
With --go-live, those of callgate run.)";

/// The options of `callgate replay`. Those that it has in common with run mean the same.
void add_debugger(CLI::App& command, RunOptions& run, std::string& history) {
  command
      .add_option("--gdb", run.gdb, "Let a debugger in: [HOST:]PORT (loopback by default) or unix:PATH; ,view=i386 or ,view=i8086")
      ->check(some_file)
      ->type_name("WHERE")
      ->group("Debugger");
  command.add_flag("-S", run.wait_for_gdb, "Hold the guest before its first instruction until the debugger says otherwise")
      ->group("Debugger");
  command.add_flag("-s", [&run](i64) { run.gdb = "1234"; }, "The same as --gdb 1234")->group("Debugger");
  command.add_option("--history", history, "Host memory with which a debugger can go back in time; 0: it can't")
      ->type_name("SIZE")
      ->capture_default_str()
      ->group("Debugger");
}

CLI::App* add_replay(CLI::App& app, CommandLine& out, std::string& engine, std::string& until, std::string& idle,
                     std::string& history) {
  CLI::App* replay = app.add_subcommand("replay", "Run a recording again and tell whether it went the same way");
  RunOptions& run = out.run;
  replay->footer(kReplayFooter);
  replay->add_option("recording", out.replay.file, "What callgate run --record wrote")->required()->check(some_file)->type_name("FILE");
  replay->add_option("--until", until, "Stop after this many instructions")->check(some_count)->type_name("COUNT");
  replay->add_option("--engine", engine, "What executes instructions: interp or jit; any replays the other's")
      ->check(CLI::IsMember({"interp", "jit"}))
      ->type_name("NAME")
      ->capture_default_str();
  replay->add_option("--kernel", out.replay.kernel, "Where the kernel is now")->check(some_file)->type_name("FILE");
  replay->add_option("--initrd", out.replay.initrd, "Where the initrd is now")->check(some_file)->type_name("FILE");
  replay->add_option("--snapshot", out.replay.snapshot, "Where the snapshot is now that the recording began with")
      ->check(some_file)
      ->type_name("FILE");
  replay->add_option("--module", out.replay.modules, "Where the Multiboot modules are now, in order")->type_name("FILE");
  replay->add_option("--serial", run.serial, "COM1: stdio, none or file:PATH")->check(known_output)->type_name("WHERE")->capture_default_str();
  replay->add_option("--debugcon", run.debug_console, "Port 0xe9: stdio, none or file:PATH")
      ->check(known_output)
      ->type_name("WHERE")
      ->capture_default_str();
  replay->add_option("--save-snapshot", run.save_snapshot, "Save the machine at the end or at --until")->check(some_file)->type_name("FILE");
  replay->add_option("--save-base", run.save_base, "Leave out what is the same in this snapshot, which is needed to load it then")
      ->check(some_file)
      ->type_name("FILE");
  replay->add_flag("--go-live", out.replay.go_live, "Leave the recording at its end or at --until, and go on with the keyboard");
  replay->add_option("--record", run.record, "With --go-live: the recording of that; it names its parent")->check(some_file)->type_name("FILE");
  replay->add_flag("--bundle", run.bundle, "With --record: put kernel and initrd into it");
  replay->add_option("--idle", idle, "With --go-live: wait for halted guest time, skip it, or auto")
      ->check(CLI::IsMember({"auto", "wait", "skip"}))
      ->type_name("HOW")
      ->capture_default_str();
  replay
      ->add_option("--translator",
                   [&run](const CLI::results_t& words) {
                     const std::string wrong = parse_tuning(words[0], run.machine.translator);
                     if (!wrong.empty()) throw CLI::ValidationError("--translator", wrong);
                     return true;
                   },
                   "Ways to run that no guest may notice, as of callgate run")
      ->type_name("NAME=VALUE,...");
  add_debugger(*replay, run, history);
  replay->add_option("--stats", run.stats_file, "Write figures about the run as JSON")->check(some_file)->type_name("FILE");
  return replay;
}

/// One sentence on standard error, and the status that goes with it.
int refuse(std::string message, const char* hint) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  fmt::print(stderr, "callgate: {}{}\n", message, hint);
  return kExitBadArgument;
}

}  // namespace

std::string parse_tuning(const std::string& text, TranslatorTuning& tuning) {
  const auto assign = [&](const std::string& name, const std::string& value) {
    u64 number = 0;
    if (name == "most-insns" && parse_number(value, number) && number <= 64) tuning.most_insns = static_cast<unsigned>(number);
    else if (name == "split-seed" && parse_number(value, number)) tuning.split_seed = number;
    else if (name == "promote-after" && parse_number(value, number) && number <= 1u << 30) tuning.promote_after = static_cast<unsigned>(number);
    else if (name == "flush-every" && parse_number(value, number)) tuning.flush_every = number;
    else if (name == "code-bytes" && parse_size(value).has_value()) tuning.code_bytes = *parse_size(value);
    else if (name == "chaining" && (value == "on" || value == "off")) tuning.chaining = value == "on";
    else if (name == "passes" && (value == "on" || value == "off")) tuning.passes = value == "on";
    else if (name == "verify" && (value == "on" || value == "off")) tuning.verify = value == "on";
    else return false;
    return true;
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, comma - at);
    const std::size_t equals = std::min(part.find('='), part.size());
    if (!assign(part.substr(0, equals), equals < part.size() ? part.substr(equals + 1) : ""))
      return "\"" + part + "\" does not tune the translator: there are chaining, passes and verify (=on or off), "
             "code-bytes=SIZE, and most-insns, split-seed, promote-after and flush-every (=N)";
    at = comma + 1;
  }
  return "";
}

std::optional<u64> parse_size(const std::string& text) {
  u64 value = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), value);
  if (r.ec != std::errc{}) return std::nullopt;
  const std::string unit(r.ptr, text.data() + text.size());
  unsigned shift = 20;
  if (unit == "K" || unit == "k" || unit == "KiB")
    shift = 10;
  else if (unit == "G" || unit == "g" || unit == "GiB")
    shift = 30;
  else if (!(unit.empty() || unit == "M" || unit == "m" || unit == "MiB"))
    return std::nullopt;
  if (value > (~u64{0} >> shift)) return std::nullopt;
  return value << shift;
}

CommandLine parse_command_line(std::vector<std::string> arguments) {
  CommandLine out;
  RunOptions& run = out.run;
  std::string engine = default_engine() == Engine::Translator ? "jit" : "interp";
  std::string memory = "512M", smp = "1", linux_entry = "auto", idle = "auto", paravirt = "none";
  std::string hash_every, until, compare_every, ignored, history = "512M";
  bool no_matter = false;
  if (const std::string wrong = known_command(arguments); !wrong.empty()) {
    out.status = refuse(wrong, " (callgate --help tells more)");
    return out;
  }

  CLI::App app{"Callgate: a full-system x86-64 emulator. Every run is deterministic.", "callgate"};
  app.set_version_flag("--version", std::string("callgate ") + kVersion);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Show the help of every command");

  CLI::App* run_command = app.add_subcommand("run", "Boot a kernel and hand its serial console over");
  run_command->footer(kRunFooter);
  run_command->add_option("--kernel", run.kernel, "Linux bzImage or vmlinux, ELF with a PVH note, or Multiboot kernel")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Guest");
  run_command->add_option("--initrd", run.initrd, "Initial RAM disk; for Multiboot a list: \"FILE ARGS,FILE ARGS\"")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Guest");
  run_command->add_option("--append", run.append, "The kernel's command line")->type_name("TEXT")->group("Guest");
  run_command
      ->add_option("--linux-entry", linux_entry, "How a bzImage is entered: auto, pvh (unpacked on the host) or 64bit")
      ->check(CLI::IsMember({"auto", "pvh", "64bit"}))
      ->type_name("HOW")
      ->capture_default_str()
      ->group("Guest");
  run_command->add_option("-m,--mem,--memory", memory, "Guest RAM: 512M, 2G or a number of MiB")
      ->type_name("SIZE")
      ->capture_default_str()
      ->group("Machine");
  run_command->add_option("--smp", smp, "Number of processors (run in turn, deterministically)")
      ->type_name("N")
      ->capture_default_str()
      ->group("Machine");
  run_command->add_option("--cpu", run.machine.cpu_model, "CPU model (see callgate info)")
      ->type_name("MODEL")
      ->capture_default_str()
      ->group("Machine");
  run_command->add_option("--paravirt", paravirt, "Interfaces for guests that cooperate (docs/paravirt.md): a list of " + paravirt_text(~0u) + ", or none")
      ->type_name("NAME,...")
      ->capture_default_str()
      ->group("Machine");
  run_command->add_flag("--no-reboot", run.machine.reset_stops, "End the run when the guest resets itself")
      ->group("Machine");
  run_command
      ->add_option("--rtc", run.machine.rtc_start,
                   "The clock at power-on, in seconds since 1970 UTC (never the host's)")
      ->type_name("SECONDS")
      ->capture_default_str()
      ->group("Machine");
  run_command->add_option("--engine", engine, "What executes instructions: interp, jit, or lockstep (both, compared)")
      ->check(CLI::IsMember({"interp", "jit", "lockstep"}))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Machine");
  run_command->add_option("--serial", run.serial, "COM1: stdio, none or file:PATH")
      ->check(known_output)
      ->type_name("WHERE")
      ->capture_default_str()
      ->group("Console");
  run_command->add_option("--debugcon", run.debug_console, "Port 0xe9: stdio, none or file:PATH")
      ->check(known_output)
      ->type_name("WHERE")
      ->capture_default_str()
      ->group("Console");
  run_command->add_option("--test-input", run.test_input, "What a guest gets that asks --paravirt callgate for a test's input")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Console");
  run_command
      ->add_flag("--nographic,--nodefaults", no_matter,
                 "Accepted for QEMU's sake: there is no window, and nothing to leave out")
      ->group("Console");
  run_command->add_option("--display,--vga,--monitor", ignored, "Accepted for QEMU's sake: none")
      ->check(CLI::IsMember({"none"}))
      ->take_last()
      ->type_name("none")
      ->group("Console");
  run_command
      ->add_option("--idle", idle, "Halted guest time: wait for it, skip it, or auto: wait when somebody may type")
      ->check(CLI::IsMember({"auto", "wait", "skip"}))
      ->type_name("HOW")
      ->capture_default_str()
      ->group("Console");
  run_command->add_option("--hash-every", hash_every, "Print \"hash COUNT HEX\" on standard error every N instructions")
      ->check(some_count)
      ->type_name("N")
      ->group("Testing and debugging");
  run_command->add_option("--hash-at", run.hash_at, "Print the same at these counts")
      ->delimiter(',')
      ->check(some_count)
      ->type_name("COUNT,...")
      ->group("Testing and debugging");
  run_command->add_option("--until", until, "Stop after this many instructions")
      ->check(some_count)
      ->type_name("COUNT")
      ->group("Testing and debugging");
  run_command->add_option("--compare-every", compare_every, "With --engine lockstep: compare the states every N instructions")
      ->check(some_count)
      ->type_name("N")
      ->group("Testing and debugging");
  run_command
      ->add_option("--translator",
                   [&](const CLI::results_t& words) {
                     const std::string wrong = parse_tuning(words[0], run.machine.translator);
                     if (!wrong.empty()) throw CLI::ValidationError("--translator", wrong);
                     return true;
                   },
                   "Ways to run that no guest may notice: passes=off,chaining=off,verify=on,code-bytes=300K,most-insns=1,"
                   "split-seed=1,flush-every=1000")
      ->type_name("NAME=VALUE,...")
      ->group("Testing and debugging");
  run_command->add_option("--stats", run.stats_file, "Write figures about the run as JSON")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Testing and debugging");
  run_command
      ->add_flag("--perf-map", run.perf_map,
                 "Write /tmp/perf-PID.map: Linux perf then names emitted code by guest address and mode")
      ->group("Testing and debugging");
  run_command
      ->add_option("--log", run.log_channels,
                   "Print what happens: faults, interrupts, devices, io, msr, boot, cpu, jit (what code becomes) or all")
      ->type_name("NAME,...")
      ->group("Testing and debugging");
  run_command->add_option("--log-file", run.log_file, "Where --log goes instead of standard error")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Testing and debugging");

  run_command
      ->add_option("--record", run.record, "Write a recording, which callgate replay runs again")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Time travel");
  run_command->add_flag("--bundle", run.bundle, "With --record: put kernel, initrd and snapshot into it, so that it needs no other file")
      ->group("Time travel");

  add_debugger(*run_command, run, history);
  run_command
      ->add_option("--save-snapshot", run.save_snapshot, "Save the machine when the run ends (--until, Ctrl-A x or by itself)")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Time travel");
  run_command
      ->add_option("--save-base", run.save_base, "Leave out what is the same in this snapshot, which is needed to load it then")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Time travel");
  run_command
      ->add_option("--load-snapshot", run.load_snapshot, "Go on from a saved machine instead of booting a kernel; the machine is the file's")
      ->check(some_file)
      ->type_name("FILE")
      ->group("Time travel");

  CLI::App* replay_command = add_replay(app, out, engine, until, idle, history);
  CLI::App* info_command =
      app.add_subcommand("info", "Tell version, engines, host, and the guest CPU's model and features; or about a recording");
  info_command->add_option("recording", out.info_file, "What callgate run --record wrote")->check(some_file)->type_name("FILE");

  for (auto& word : arguments) word = with_two_dashes(word);
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
    if (run_command->parsed() && run.kernel.empty() && run.load_snapshot.empty())
      throw CLI::ValidationError("run", "a kernel is needed: give one with --kernel FILE");
    if (!run.load_snapshot.empty()) {
      for (const char* name : {"--kernel", "--initrd", "--append", "--mem", "--smp", "--cpu", "--paravirt", "--rtc", "--no-reboot", "--linux-entry"})
        if (run_command->count(name) != 0)
          throw CLI::ValidationError("--load-snapshot", std::string("the machine is the snapshot's: leave out ") + name);
      if (engine == "lockstep") throw CLI::ValidationError("--load-snapshot", "--engine lockstep begins with a kernel");
    }
    if (!run.save_base.empty() && run.save_snapshot.empty())
      throw CLI::ValidationError("--save-base", "it is for snapshots: add --save-snapshot FILE");
    if (run.bundle && run.record.empty()) throw CLI::ValidationError("--bundle", "it is for recordings: add --record FILE");
    if (replay_command->parsed() && !run.record.empty() && !out.replay.go_live)
      throw CLI::ValidationError("--record", "a replay that stays one is that recording: add --go-live to make another");
    if (!run.record.empty() && engine == "lockstep")
      throw CLI::ValidationError("--record", "one engine is recorded: choose interp or jit, the recording replays on both");
    if (run.perf_map && engine == "interp")
      throw CLI::ValidationError("--perf-map", "the interpreter emits no code: leave it out, or use --engine jit");
    const auto bytes = parse_size(memory);
    if (!bytes)
      throw CLI::ValidationError("--mem", "\"" + memory + "\" is not a size: write 512M, 2G or a number of MiB");
    run.machine.ram_bytes = *bytes;
    const auto kept = history == "0" ? std::optional<u64>(0) : parse_size(history);
    if (!kept) throw CLI::ValidationError("--history", "\"" + history + "\" is not a size: write 512M, 2G or 0");
    run.history = *kept;
    if (run.wait_for_gdb && run.gdb.empty()) run.gdb = "1234";
    const auto interfaces = parse_paravirt(paravirt);
    if (!interfaces) throw CLI::ValidationError("--paravirt", interfaces.error().message);
    run.machine.paravirt = *interfaces;
    const std::string cpus = smp.rfind("cpus=", 0) == 0 ? smp.substr(5) : smp;
    const auto r = std::from_chars(cpus.data(), cpus.data() + cpus.size(), run.machine.cpus);
    if (r.ec != std::errc{} || (*r.ptr != 0 && *r.ptr != ','))
      throw CLI::ValidationError("--smp", "\"" + smp + "\" is not a number of processors");
  } catch (const CLI::Success& e) {
    out.status = app.exit(e);
    return out;
  } catch (const CLI::ParseError& e) {
    out.status = refuse(e.what(), " (callgate run --help lists the options)");
    return out;
  }
  // Their checks let only numbers through.
  if (!hash_every.empty()) parse_number(hash_every, run.hash_every);
  std::sort(run.hash_at.begin(), run.hash_at.end());
  if (!until.empty()) parse_number(until, run.until);
  if (!compare_every.empty()) parse_number(compare_every, run.compare_every);
  run.boot.linux_entry = linux_entry == "pvh"     ? boot::LinuxEntry::Pvh
                         : linux_entry == "64bit" ? boot::LinuxEntry::Bits64
                                                  : boot::LinuxEntry::Auto;
  run.machine.engine = engine == "interp" ? Engine::Interpreter : Engine::Translator;
  run.lockstep = engine == "lockstep";
  run.idle = idle == "wait" ? IdlePolicy::Wait : idle == "skip" ? IdlePolicy::Skip : IdlePolicy::Auto;
  out.command = info_command->parsed()     ? CommandLine::Command::Info
                : replay_command->parsed() ? CommandLine::Command::Replay
                                           : CommandLine::Command::Run;
  return out;
}

}  // namespace callgate
