#!/bin/bash
# guest/linux/build.sh [cloud|amd64]: the module callgate.ko for Debian's kernel in the cache, built against Debian's own headers for
# it. Prints its path. Quick the second time; needs no root, but GCC 12 and make.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

flavour=${1:-cloud}
"$repo/scripts/fetch-kernel.sh" "$flavour" >/dev/null
package=$(cat "$cache/kernels/$flavour/package")
version=${package#linux-image-}
out=$cache/linux-module/$flavour
source=$repo/guest/linux
stamp="$version $(cat "$source"/*.[ch] "$source/Kbuild" "$repo/guest/callgate.h" "$0" | sha256sum)"
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  printf '%s\n' "$out/callgate.ko"
  exit 0
fi

headers=$cache/headers/$version
if [ ! -e "$headers/complete" ]; then
  rm -rf "$headers"
  mkdir -p "$headers"
  # "6.1.0-56-cloud-amd64" needs the common part "6.1.0-56" and the tools of its series.
  common=$(sed -E 's/^([0-9.]+-[0-9]+).*/\1/' <<<"$version")
  for name in "linux-headers-$version" "linux-headers-$common-common" linux-kbuild-6.1; do
    fetch_package "$name" "$headers/part"
    cp -r "$headers/part/usr" "$headers/"
    rm -rf "$headers/part"
  done
  # The packages expect to lie in /usr: their makefiles name it, and the links to the tools are relative to it.
  sed -i "s| /usr/src/| $headers/usr/src/|; s|:= /usr/src/|:= $headers/usr/src/|" "$headers/usr/src/linux-headers-$version/Makefile" \
    "$headers/usr/src/linux-headers-$version/.kernelvariables" 2>/dev/null || true
  touch "$headers/complete"
fi

say "Building callgate.ko for $version"
rm -rf "$out"
mkdir -p "$out"
cp "$source"/*.[ch] "$source/Kbuild" "$repo/guest/callgate.h" "$out/"
make -s -C "$headers/usr/src/linux-headers-$version" M="$out" CC=gcc-12 modules >"$out/log" 2>&1 || {
  tail -n 40 "$out/log" >&2
  die "the module does not build"
}
strip -g "$out/callgate.ko" # a boot reads and copies all of it
printf '%s\n' "$stamp" >"$out/stamp"
printf '%s\n' "$out/callgate.ko"
