#!/usr/bin/env python3
"""Debian's kernels, unmodified, boot to the shell, answer and power off; by PVH and by the 64-bit entry."""
import os
import pathlib
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent
CALLGATE = os.environ.get("CALLGATE", str(REPO / "build/callgate"))
INITRD = REPO / "cache/demo-initrd.img"
SLOWDOWN = int(os.environ.get("CALLGATE_SLOWDOWN", "1"))  # more than 1 in a build with sanitizers
TIMEOUT = str(280 * SLOWDOWN)


GUESTS = (("cloud", "auto"), ("cloud", "64bit"), ("amd64", "auto"))
if SLOWDOWN > 1:
    print("with sanitizers: the cloud kernel by one entry only, the others take too long")
    GUESTS = GUESTS[:1]


def main():
    guests = [(REPO / "cache/kernels" / flavour / "vmlinuz", entry) for flavour, entry in GUESTS]
    guests = [(kernel, entry) for kernel, entry in guests if kernel.exists()]
    if not guests or not INITRD.exists():
        print("skipped: no kernels or no initrd in cache/ (scripts/fetch-kernel.sh, scripts/make-initrd.sh)")
        return 77
    if not pathlib.Path(CALLGATE).exists():
        print(f"{CALLGATE} has not been built")
        return 1
    failures = 0
    for kernel, entry in guests:
        print(f"{kernel.parent.name}, entry {entry}:", flush=True)
        # The serial driver's interrupts, the command line and the memory: what the loader and the devices promised.
        failures += 0 != subprocess.run(
            [REPO / "scripts/smoke.py", "--timeout", TIMEOUT, "--type", "cat /proc/interrupts => ttyS0",
             "--type", "cat /proc/cmdline => console=ttyS0 panic=-1 marker=boot_shell_test", "--",
             CALLGATE, "run", "--kernel", kernel, "--linux-entry", entry, "--initrd", INITRD,
             "--append", "console=ttyS0 panic=-1 marker=boot_shell_test", "-m", "512M", "-no-reboot"],
            stdin=subprocess.DEVNULL).returncode
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
