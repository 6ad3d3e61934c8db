#!/bin/bash
# sanitize.sh [gcc|clang] [CTEST-ARGUMENT...]: the whole suite under the address and undefined-behaviour sanitizers, in a
# build of its own. With clang that has the fuzzers too, and their seeds are among the tests (docs/testing.md).
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$repo"

compiler=${1:-gcc}
shift || true
case $compiler in
  gcc) binary=g++ options=-DCALLGATE_SANITIZE=address,undefined ;;
  clang) binary=clang++ options=-DCALLGATE_FUZZ=ON ;;
  *) die "which compiler? Give gcc or clang" ;;
esac
groups="build test"
[ "$compiler" != clang ] || groups+=" sanitize"
# shellcheck disable=SC2086 # several groups
scripts/install-deps.sh $groups
command -v "$binary" >/dev/null || die "$binary is not installed"
export CALLGATE_BUILD=build-$compiler-sanitize
export CALLGATE_CMAKE_ARGS="-DCMAKE_CXX_COMPILER=$binary $options"
scripts/build.sh

scripts/fetch-guests.sh
[ ! -d cache/kernels ] || export CALLGATE_TEST_KERNEL_DIR=$PWD/cache/kernels
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1:check_initialization_order=1:strict_init_order=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
results=$CALLGATE_BUILD/results.xml
rm -f "$results"
# The verdict counts, and names what was skipped or did less here than in a plain build, and why.
ctest --test-dir "$CALLGATE_BUILD" --parallel "$(nproc)" --output-on-failure --no-tests=error --timeout 6000 \
  --output-junit results.xml --test-output-size-passed 1000000 --test-output-size-failed 1000000 "$@" </dev/null || true
exec python3 scripts/verdict.py "$results"
