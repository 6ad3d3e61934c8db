// The command line.
#include <cstdio>
#include <exception>

#include "frontend/exit_status.h"
#include "frontend/replay_command.h"
#include "frontend/run_command.h"
#include "frontend/terminal.h"

int main(int argc, char** argv) {
  try {
    const auto line = callgate::parse_command_line({argv + 1, argv + argc});
    switch (line.command) {
      case callgate::CommandLine::Command::Run: return callgate::run_command(line.run);
      case callgate::CommandLine::Command::Replay: return callgate::replay_command(line.replay, line.run);
      case callgate::CommandLine::Command::Info:
        return line.info_file.empty() ? callgate::info_command() : callgate::recording_info_command(line.info_file);
      case callgate::CommandLine::Command::Printed: return line.status;
    }
  } catch (const std::exception& e) {
    callgate::restore_terminal();
    std::fprintf(stderr, "callgate: %s\n", e.what());
  }
  return callgate::kExitHost;
}
