"""Runs Debian's kernels with a script as the guest's work, for the tests in this folder."""
import pathlib
import re
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from support import CACHE, CALLGATE, REPO, SLOWDOWN, hashes  # noqa: E402

BEGIN = re.compile(r"^@begin (\S+)$", re.MULTILINE)


def kernel(flavour):
    """Debian's cloud or amd64 kernel from the cache, where test.sh has put it."""
    found = CACHE / f"kernels/{flavour}/vmlinuz"
    if not found.exists():
        raise unittest.SkipTest(f"no {flavour} kernel in the cache (scripts/fetch-kernel.sh {flavour})")
    return found


def initrd(out, script, files=()):
    """An initramfs whose /init runs the shell script `script`. `files`: (path, place) more files."""
    busybox = CACHE / "busybox/bin/busybox"
    if not busybox.exists():
        raise unittest.SkipTest("no busybox in the cache (scripts/make-initrd.sh fetches it)")
    subprocess.run([REPO / "scripts/make-initrd.sh", out, f"{HERE}/init=/init", f"{script}=/script",
                    *(f"{path}={place}" for path, place in files)], check=True)
    return out


def program(source, out, place):
    """Builds a C program as Debian builds its own: (path, place) of it, of its loader and of its libraries, for initrd()."""
    subprocess.run(["gcc", "-O2", "-fPIE", "-pie", "-o", out, source], check=True)
    needed = subprocess.run(["ldd", out], stdout=subprocess.PIPE, text=True, check=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", needed)
    return [(out, place), *((pathlib.Path(path).resolve(), path) for path in libraries)]


def command(kernel_file, initrd_file, *options, append=""):
    return [CALLGATE, "run", "--kernel", str(kernel_file), "--initrd", str(initrd_file), "--append",
            f"console=ttyS0 panic=-1 quiet {append}".strip(), "--mem", "512M", "--no-reboot", *map(str, options)]


def run(arguments, timeout):
    """Runs to the end without input. The output as text, without the carriage returns that the guest's terminal adds."""
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout * SLOWDOWN)
    done.stdout = done.stdout.decode("utf-8", "replace").replace("\r", "")
    done.stderr = done.stderr.decode("utf-8", "replace")
    return done


def sections(text):
    """What each `@begin NAME` ... `@end NAME STATUS` of a guest's script printed: {name: (status, output)}. Status None: no end."""
    found = {}
    starts = list(BEGIN.finditer(text))
    for this, following in zip(starts, starts[1:] + [None]):
        part = text[this.end():following.start() if following else len(text)]
        end = re.search(rf"@end {re.escape(this.group(1))} (\d+)$", part, re.MULTILINE)
        found[this.group(1)] = (int(end.group(1)), part[:end.start()]) if end else (None, part)
    return found
