// The exit statuses of the command line. Ours are even: the debug-exit port gives odd ones ((value << 1) | 1).
#pragma once

#include "base/result.h"

namespace callgate {

enum ExitStatus : int {
  kExitPowerOff = 0,     ///< the guest powered off, or the user ended the run (Ctrl-A x)
  kExitBadArgument = 2,  ///< an option or value that makes no sense
  kExitMissingFile = 4,  ///< a file that is not there or can't be read or written
  kExitBadFile = 6,      ///< a file that is damaged or of the wrong kind
  kExitTripleFault = 8,  ///< a processor shut down after a triple fault
  kExitHalted = 10,      ///< every processor halted and nothing can wake it
  kExitHost = 12,        ///< the host refused something
  kExitReset = 14,       ///< the guest reset itself and --no-reboot was given
  kExitDifference = 16,  ///< --engine lockstep: the engines differ
};

constexpr int exit_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::BadArgument: return kExitBadArgument;
    case ErrorKind::MissingFile: return kExitMissingFile;
    case ErrorKind::BadFile: return kExitBadFile;
    case ErrorKind::Host: return kExitHost;
  }
  return kExitHost;
}

}  // namespace callgate
