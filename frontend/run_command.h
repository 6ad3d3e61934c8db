// `callgate run`: a machine on this terminal.
#pragma once

#include "frontend/options.h"

namespace callgate {

/// Makes the machine, runs it to its end, reports. Returns the process's exit status.
int run_command(const RunOptions& options);

/// `callgate info`.
int info_command();

}  // namespace callgate
