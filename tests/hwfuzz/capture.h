// Files of vectors: written on a host that has the processor, replayed anywhere.
#pragma once

#include <string>

#include "tests/hwfuzz/session.h"

namespace callgate::hwfuzz {

/// Writes files of vectors to `folder`, one a group of rows: `per_row` cases of every row, simplified. False when a
/// file could not be written.
bool capture(Session& session, const std::string& folder, unsigned per_row);

/// Prints the lines of `file` with the answers of this host's processor, whatever stands after their '>'. False when it
/// can't be read.
bool answer(Host& host, const std::string& file);

/// Runs every *.txt of `folder` on our engine. Returns the number of failures (differences, bad lines, rows that have
/// no vector), each printed.
unsigned replay(const std::string& folder, Subject subject);

}  // namespace callgate::hwfuzz
