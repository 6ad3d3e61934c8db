#!/bin/bash
# make-initrd.sh OUT [FILE=PLACE...]: a small initramfs, busybox and the /init beside this script, in the file OUT.
# FILE=PLACE adds a file of the host at PLACE in the guest; /init and /bin/busybox can be replaced that way too.
# The same inputs give the same bytes, on any host and at any time.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

out=${1:-}
[ -n "$out" ] || die "where to? Usage: make-initrd.sh OUT [FILE=PLACE...]"
shift

busybox=$cache/busybox/bin/busybox
[ -x "$busybox" ] || fetch_package busybox-static "$cache/busybox"
[ -x "$busybox" ] || die "the package busybox-static has no bin/busybox"
exec python3 "$repo/scripts/pack_initrd.py" "$out" "$repo/scripts/init=/init" "$busybox=/bin/busybox" "$@"
