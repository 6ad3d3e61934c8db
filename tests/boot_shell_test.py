#!/usr/bin/env python3
"""Debian's kernels, unmodified, boot to the shell, answer and power off."""
import os
import pathlib
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent
CALLGATE = os.environ.get("CALLGATE", str(REPO / "build/callgate"))
INITRD = REPO / "cache/demo-initrd.img"
TIMEOUT = "400"


def main():
    kernels = [k for k in (REPO / f"cache/kernels/{flavour}/vmlinuz" for flavour in ("cloud", "amd64")) if k.exists()]
    if not kernels or not INITRD.exists():
        print("skipped: no kernels or no initrd in cache/ (scripts/fetch-kernel.sh, scripts/make-initrd.sh)")
        return 77
    if not pathlib.Path(CALLGATE).exists():
        print(f"{CALLGATE} has not been built")
        return 1
    failures = 0
    for kernel in kernels:
        print(f"{kernel.parent.name}:", flush=True)
        failures += 0 != subprocess.run(
            [REPO / "scripts/smoke.py", "--timeout", TIMEOUT, "--type", "cat /proc/interrupts => ttyS0", "--",
             CALLGATE, "run", "--kernel", kernel, "--initrd", INITRD, "--append", "console=ttyS0 panic=-1", "-m", "512M",
             "-no-reboot"], stdin=subprocess.DEVNULL).returncode
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
