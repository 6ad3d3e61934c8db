#!/bin/bash
# build.sh [TARGET...]: configures and builds in build/, with one line of progress. All targets when none is given.
# CALLGATE_CMAKE_ARGS holds further arguments for CMake.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$repo"

build=${CALLGATE_BUILD:-build}
log=$build/build.log
mkdir -p "$build"
# A new configuration only where there is none, or where one is asked for: CMake looks after its own files.
if [ ! -e "$build/build.ninja" ] || [ -n "${CALLGATE_CMAKE_ARGS:-}" ]; then
  # shellcheck disable=SC2086 # several arguments in one variable
  cmake -S . -B "$build" -G Ninja ${CALLGATE_CMAKE_ARGS:-} >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    die "CMake could not configure the build (the whole output is in $log)"
  }
fi

started=$SECONDS
if [ -t 2 ]; then
  # Ninja writes one line over itself on a terminal.
  NINJA_STATUS='Building [%f/%t] ' ninja -C "$build" "$@" >&2 || die "the build failed"
else
  ninja -C "$build" "$@" >"$log" 2>&1 || {
    grep -E -A 12 'FAILED|error:' "$log" | head -n 80 >&2 || tail -n 40 "$log" >&2
    die "the build failed (the whole output is in $log)"
  }
  say "Built in $((SECONDS - started)) s"
fi
