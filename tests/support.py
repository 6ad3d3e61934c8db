"""What the tests that drive the finished program share: where things are, running it, and small guests in assembly."""
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import time
import unittest

REPO = pathlib.Path(__file__).resolve().parent.parent
CALLGATE = os.environ.get("CALLGATE", str(REPO / "build/callgate"))
CACHE = pathlib.Path(os.environ.get("CALLGATE_CACHE", REPO / "cache"))
SLOWDOWN = float(os.environ.get("CALLGATE_SLOWDOWN", "1"))  # more than 1 in a build with sanitizers
GUESTS = REPO / "tests/guest/asm"

# frontend/exit_status.h
POWER_OFF, BAD_ARGUMENT, MISSING_FILE, BAD_FILE, TRIPLE_FAULT, HALTED, HOST, RESET = 0, 2, 4, 6, 8, 10, 12, 14


def callgate(*arguments, timeout=60, input=None, **options):
    """Runs callgate to its end, output as text."""
    stdin = {} if input is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run([CALLGATE, *map(str, arguments)], input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", timeout=timeout * SLOWDOWN, **stdin, **options)


def hashes(text):
    """The `hash COUNT HEX` lines of a run's standard error, {count: hex}."""
    return {int(line.split()[1]): line.split()[2] for line in text.splitlines() if line.startswith("hash ")}


def x86_tool(name):
    """An assembler or linker that makes x86 code, on whatever host. None if there is none."""
    if found := shutil.which("x86_64-linux-gnu-" + name):
        return found
    return shutil.which(name) if os.uname().machine == "x86_64" else None


class Guests:
    """Multiboot kernels from tests/guest/asm, assembled on first use."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="callgate-guests-")
        self.at = pathlib.Path(self.folder.name)

    def __getitem__(self, name):
        out = self.at / name
        if not out.exists():
            assembler, linker = x86_tool("as"), x86_tool("ld")
            if not assembler or not linker:
                raise unittest.SkipTest("no x86 assembler (the package binutils-x86-64-linux-gnu has one)")
            made = self.at / (name + ".o")
            subprocess.run([assembler, "--32", "-I", GUESTS, "-o", made, GUESTS / (name + ".S")], check=True)
            subprocess.run([linker, "-m", "elf_i386", "--no-warn-rwx-segments", "-T", GUESTS / "guest.ld", "-o", out, made],
                           check=True)
        return out


class Terminal:
    """callgate on a pseudo-terminal of its own. The terminal outlives it, to see how it is left behind."""

    def __init__(self, *arguments):
        self.near, self.far = pty.openpty()
        self.before = termios.tcgetattr(self.far)
        self.text = b""
        self.process = subprocess.Popen([CALLGATE, *map(str, arguments)], stdin=self.far, stdout=self.far, stderr=self.far,
                                        start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.near)
        os.close(self.far)

    def attributes(self):
        return termios.tcgetattr(self.far)

    def type(self, keys):
        os.write(self.near, keys)

    def wait_for(self, text, timeout=30):
        """Output that has `text` in it, or an assertion."""
        deadline = time.monotonic() + timeout * SLOWDOWN
        while text not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.text!r}"
            if select.select([self.near], [], [], min(left, 0.2))[0]:
                self.text += os.read(self.near, 65536)
        return self.text

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, timeout=30):
        """The exit status, or minus the signal's number."""
        status = self.process.wait(timeout * SLOWDOWN)
        while select.select([self.near], [], [], 0)[0]:
            self.text += os.read(self.near, 65536)
        return status


def name_of_signal(status):
    return signal.Signals(-status).name if status < 0 else f"status {status}"
