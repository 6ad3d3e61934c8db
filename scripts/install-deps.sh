#!/bin/bash
# shellcheck disable=SC2086 # lists of packages are split on purpose
# install-deps.sh GROUP...: installs the Debian packages that are missing. Groups: build, demo, test, selftests, sanitize.
# Says nothing and changes nothing when all are there. Asks sudo when not root.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

build="g++ cmake ninja-build pkg-config ccache libfmt-dev libcli11-dev libexpected-dev libxxhash-dev doctest-dev
  libcapstone-dev libasmjit-dev zlib1g-dev libzstd-dev liblz4-dev liblzma-dev libmpfr-dev libgmp-dev"
demo="python3 ca-certificates"
test="python3 ca-certificates cpio gdb"
# gcc-12-multilib, not gcc-multilib: that one conflicts with the cross compilers.
selftests="linux-source-6.1 xz-utils gcc-12 gcc-12-multilib libc6-dev libc6-dev-i386"
# GCC's sanitizers come with it.
sanitize="clang libclang-rt-14-dev"

wanted=
for group in "$@"; do
  case $group in
    build) wanted+=" $build" ;;
    demo) wanted+=" $demo" ;;
    test) wanted+=" $test" ;;
    selftests) wanted+=" $selftests" ;;
    sanitize) wanted+=" $sanitize" ;;
    *) die "no such group: $group (there are build, demo, test, selftests and sanitize)" ;;
  esac
done
[ -n "$wanted" ] || die "which packages? Give one or more of: build demo test selftests sanitize"

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  die "this is not a Debian system. Install what these Debian packages hold, by hand:" $wanted
fi

# One line for each package that dpkg knows, so that the quick case is one process.
installed=" $(dpkg-query -W -f='${Package}=${db:Status-Status} ' $wanted 2>/dev/null || true)"
missing=
for package in $wanted; do
  case "$installed$missing " in
    *" $package=installed "* | *" $package "*) ;;
    *) missing+=" $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "missing packages, and neither root nor sudo to install them. As root: apt-get install$missing"
  as_root=sudo
fi
say "Installing:$missing"
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" </dev/null >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists may be missing or old: try as it is, then with new ones.
apt install --no-install-recommends $missing || { apt update && apt install --no-install-recommends $missing; } || {
  tail -n 15 "$log" >&2
  die "apt-get could not install:$missing"
}
