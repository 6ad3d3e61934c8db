#!/bin/bash
# sanitize.sh [gcc|clang]: the whole suite under the address and undefined-behaviour sanitizers, in a build of its own.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$repo"

case ${1:-gcc} in
  gcc) compiler=g++ ;;
  clang) compiler=clang++ ;;
  *) die "which compiler? Give gcc or clang" ;;
esac
command -v "$compiler" >/dev/null || die "$compiler is not installed"
export CALLGATE_BUILD=build-${1:-gcc}-sanitize
export CALLGATE_CMAKE_ARGS="-DCMAKE_CXX_COMPILER=$compiler -DCALLGATE_SANITIZE=address,undefined"
scripts/build.sh
ctest --test-dir "$CALLGATE_BUILD" --parallel "$(nproc)" --output-on-failure --no-tests=error --timeout 1800
