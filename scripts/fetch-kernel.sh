#!/bin/bash
# fetch-kernel.sh cloud|amd64 [--modules]: Debian's own kernel as a guest, in cache/kernels/FLAVOUR/vmlinuz.
# Prints the path. Fetches once; delete the folder for a newer one. Needs no root.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

flavour=${1:-}
case $flavour in
  cloud) package=linux-image-cloud-amd64 ;;
  amd64) package=linux-image-amd64 ;;
  *) die "which kernel? Give cloud or amd64" ;;
esac
modules=
case ${2:-} in
  '') ;;
  --modules) modules=yes ;;
  *) die "unknown option: $2" ;;
esac

target=$cache/kernels/$flavour
if [ ! -s "$target/vmlinuz" ] || { [ -n "$modules" ] && [ ! -d "$target/modules" ]; }; then
  need_lists
  # The package of this name is empty: it depends on the one of the current version.
  image=$(private_apt apt-cache depends "$package" | awk '/Depends: linux-image-/ { print $2; exit }')
  [ -n "$image" ] || die "the package lists name no kernel behind $package"
  fetch_package "$image" "$cache/kernels/.$flavour"
  mkdir -p "$target"
  if [ -n "$modules" ]; then
    rm -rf "$target/modules"
    mv "$cache/kernels/.$flavour/lib/modules" "$target/modules"
  fi
  printf '%s\n' "$image" >"$target/package"
  # The kernel last: it is the sign that all is there.
  mv "$cache/kernels/.$flavour"/boot/vmlinuz-* "$target/vmlinuz"
  rm -rf "$cache/kernels/.$flavour"
fi
printf '%s\n' "$target/vmlinuz"
