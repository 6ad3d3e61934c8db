#!/bin/bash
# fuzz.sh [SECONDS [FUZZER...]]: the libFuzzer programs under the sanitizers, one after the other, each for SECONDS (300) from its
# seeds in tests/fuzz. What they find is in build-clang-sanitize/finds, and the exit status is 1 then.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$repo"

seconds=${1:-300}
shift || true
all="boot_fuzz decoder_fuzz restore_fuzz recording_fuzz snapshot_fuzz gdb_fuzz"
for name in "$@"; do
  [[ " $all " == *" $name "* ]] || die "no such fuzzer: $name (there are $all)"
done
[ $# != 0 ] || eval "set -- $all"
scripts/install-deps.sh build sanitize
export CALLGATE_BUILD=build-clang-sanitize
export CALLGATE_CMAKE_ARGS="-DCMAKE_CXX_COMPILER=clang++ -DCALLGATE_FUZZ=ON"
scripts/build.sh "$@"

found=0
mkdir -p "$CALLGATE_BUILD/finds"
for name in "$@"; do
  program=$(find "$CALLGATE_BUILD" -name "$name" -type f -perm -u+x)
  corpus=$CALLGATE_BUILD/corpus/$name
  mkdir -p "$corpus"
  say "$name for $seconds s"
  "$program" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4000 -entropic=0 -print_final_stats=1 \
    -artifact_prefix="$CALLGATE_BUILD/finds/$name-" "$corpus" "tests/fuzz/${name%_fuzz}" >"$corpus.log" 2>&1 || {
    tail -n 30 "$corpus.log" >&2
    found=1
  }
  grep number_of_executed_units "$corpus.log" >&2 || true
done
exit $found
