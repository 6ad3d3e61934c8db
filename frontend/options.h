// The command line: QEMU's vocabulary, checked, as plain data. Runs nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/lockstep.h"
#include "machine/machine.h"

namespace callgate {

/// What halted guest time costs the user.
enum class IdlePolicy { Auto, Wait, Skip };

/// `callgate run`.
struct RunOptions {
  MachineConfig machine;
  boot::BootOptions boot;
  std::string kernel;
  std::optional<std::string> initrd;
  std::string append;
  std::string serial = "stdio";        ///< stdio, none or file:PATH
  std::string debug_console = "none";  ///< the same for port 0xE9
  std::string test_input;              ///< a file for a guest that asks for a test's input; empty: none
  std::string stats_file;
  bool perf_map = false;
  u64 hash_every = 0;
  std::vector<u64> hash_at;  ///< counts, ascending
  u64 until = ~u64{0};
  std::string record;        ///< the recording to write; empty: none
  std::string load_snapshot;  ///< go on from it instead of booting a kernel
  std::string save_snapshot;  ///< where the machine is saved when the run ends
  std::string save_base;      ///< a snapshot whose pages are left out of it
  bool bundle = false;       ///< with the files that the guest is started from
  std::string gdb;             ///< where a debugger may connect; empty: nowhere
  bool wait_for_gdb = false;   ///< -S
  u64 history = u64{512} << 20;  ///< host memory for going back with a debugger; 0: no going back
  bool lockstep = false;  ///< both engines side by side, compared
  u64 compare_every = Lockstep::kDefaultInterval;
  std::string log_channels;
  std::string log_file;
  IdlePolicy idle = IdlePolicy::Auto;
};

/// `callgate replay`: where the recording is, and RunOptions for what the run's options mean here, too.
struct ReplayOptions {
  std::string file;
  std::string kernel, initrd, snapshot;  ///< where files are now that were not bundled
  std::vector<std::string> modules;  ///< the same for Multiboot modules, in order
  bool go_live = false;              ///< go on from there with live inputs
};

/// What was asked for.
struct CommandLine {
  enum class Command { Run, Replay, Info, Printed } command = Command::Printed;
  RunOptions run;
  ReplayOptions replay;
  std::string info_file;  ///< Info: a recording; or empty
  int status = 0;  ///< Printed: help, version or an error was shown; exit with this
};

/// Parses the arguments (without the program's name). QEMU's single-dash spellings are accepted. Prints help and
/// errors.
CommandLine parse_command_line(std::vector<std::string> arguments);

/// Reads "passes=off,most-insns=4" into the translator's tuning. A sentence about what is wrong with it, or none.
std::string parse_tuning(const std::string& text, TranslatorTuning& tuning);

/// "512M", "2G", "64K" or a plain number of MiB, in bytes; nothing for anything else.
std::optional<u64> parse_size(const std::string& text);

}  // namespace callgate
