#!/bin/bash
# From a bare Debian machine to the verdict: installs what is missing, builds, runs every test.
# The last line says "N passed, N failed, N skipped"; the exit status is 0 only if nothing failed.
set -euo pipefail
cd "$(dirname "$0")"

scripts/install-deps.sh build test
# In CI a warning is an error.
[ "${CI:-}" != true ] || export CALLGATE_CMAKE_ARGS="${CALLGATE_CMAKE_ARGS:-} -DCALLGATE_WERROR=ON"
scripts/build.sh

# The guests of the tests that boot. Without a network these tests are skipped, and say so.
scripts/fetch-guests.sh
[ ! -d cache/kernels ] || export CALLGATE_TEST_KERNEL_DIR=$PWD/cache/kernels

results=build/results.xml
rm -f "$results"
ctest --test-dir build --parallel "$(nproc)" --output-on-failure --no-tests=error --timeout 600 --output-junit results.xml \
  --test-output-size-passed 1000000 --test-output-size-failed 1000000 </dev/null || true
exec python3 scripts/verdict.py "$results"
