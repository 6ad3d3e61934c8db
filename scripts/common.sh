# shellcheck shell=bash
# Shared by the scripts here: messages, and Debian packages fetched without root. Sourced, not run.
# Wants `set -euo pipefail` from its user.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${CALLGATE_CACHE:-$repo/cache}

# Everything that informs goes to standard error: standard output is for results (paths).
say() { printf '%s\n' "$*" >&2; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# apt with lists of its own, for guest packages: needs no root, and knows amd64 packages on any host.
private_apt() {
  local tool=$1
  shift
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
  "$tool" -q -o Dir::State::Lists="$cache/apt/lists" -o Dir::Cache="$cache/apt" -o Dir::State::status=/dev/null \
    -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User="$(id -un)" \
    -o Debug::NoLocking=true "$@"
}

# need_lists: the private package lists, at most a week old (a kernel's older packages leave the mirror).
need_lists() {
  command -v apt-get >/dev/null || die "apt-get is missing: fetching the guest's packages needs Debian or a relative of it"
  if [ -z "$(find "$cache/apt/lists" -maxdepth 1 -name '*Packages*' -mtime -7 2>/dev/null | head -n 1)" ]; then
    say "Reading Debian's package lists"
    private_apt apt-get update >/dev/null || die "apt-get update failed: is there a network and a Debian mirror?"
  fi
}

# fetch_package NAME FOLDER: unpacks a Debian package of the guest into a new FOLDER.
fetch_package() {
  local name=$1 folder=$2 work
  need_lists
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  say "Fetching $name"
  (cd "$work" && private_apt apt-get download "$name" >/dev/null) || {
    rm -rf "$work"
    die "could not fetch the package $name: is there a network and a Debian mirror?"
  }
  mkdir "$work/root"
  dpkg-deb -x "$work"/*.deb "$work/root"
  rm -rf "$folder"
  mkdir -p "$(dirname "$folder")"
  mv "$work/root" "$folder"
  rm -rf "$work"
}
