#!/bin/bash
# From a bare Debian machine to the shell prompt of a guest that runs Debian's own kernel. Quick the second time.
#   ./demo.sh           boots and hands over the terminal (Ctrl-A x ends, Ctrl-A h helps)
#   ./demo.sh --smoke   the same without a person; exit status 0 only if the guest answered and powered off
#   ./demo.sh --amd64   Debian's general kernel instead of the cloud one
# Other arguments go to callgate.
set -euo pipefail
cd "$(dirname "$0")"

smoke=
flavour=cloud
extra=()
for argument in "$@"; do
  case $argument in
    --smoke) smoke=yes ;;
    --amd64) flavour=amd64 ;;
    -h | --help) exec sed -n '2,6s/^# \{0,1\}//p' "$0" ;;
    *) extra+=("$argument") ;;
  esac
done

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
[ -t 2 ] || say() { printf '==> %s\n' "$*" >&2; }

scripts/install-deps.sh build demo
scripts/build.sh callgate
kernel=$(scripts/fetch-kernel.sh "$flavour")
initrd=cache/demo-initrd.img
scripts/make-initrd.sh "$initrd"

command=(build/callgate run --kernel "$kernel" --initrd "$initrd" --append "console=ttyS0 panic=-1" -m 512M -no-reboot
  ${extra[@]+"${extra[@]}"})
say "Booting Debian's $flavour kernel ($(cat "$(dirname "$kernel")/package"))"
if [ -n "$smoke" ]; then
  exec scripts/smoke.py --echo --timeout "${SMOKE_TIMEOUT:-600}" -- "${command[@]}"
fi
exec "${command[@]}"
