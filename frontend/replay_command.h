// `callgate replay` and `callgate info RECORDING`.
#pragma once

#include "frontend/options.h"

namespace callgate {

/// Runs the recording again and tells how that came out. Returns the process's exit status.
int replay_command(const ReplayOptions& options, const RunOptions& run);

/// Tells what is in a recording.
int recording_info_command(const std::string& file);

}  // namespace callgate
