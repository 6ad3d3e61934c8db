#!/bin/bash
# fetch-guests.sh: what the tests boot, in cache/: Debian's kernels, Linux's selftests and an initrd. What can't be had (no
# network) is no failure here: it says which tests will be skipped.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$repo"

for flavour in cloud amd64; do
  scripts/fetch-kernel.sh "$flavour" >/dev/null || say "no $flavour kernel; the tests that boot it are skipped"
done
scripts/build-selftests.sh >/dev/null || say "Linux's selftests could not be built; they are skipped"
scripts/make-initrd.sh "$cache/demo-initrd.img" || say "no initrd; the tests that boot are skipped"
