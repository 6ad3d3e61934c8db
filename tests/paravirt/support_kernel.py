"""guest/kernel, built, and runs of it."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from support import REPO, callgate, hashes, x86_tool

GOOD = 33  # (16 << 1) | 1
ENGINES = ("interp", "jit")


class Kernel:
    """Built on first use."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="callgate-kernel-")
        self.path = pathlib.Path(self.folder.name) / "callgate-kernel"

    def __str__(self):
        if not self.path.exists():
            if not x86_tool("gcc") or not x86_tool("ld") or not x86_tool("objcopy"):
                raise unittest.SkipTest("no compiler for x86-64")
            tools = [f"{variable}={x86_tool(tool)}" for variable, tool in (("CC", "gcc"), ("LD", "ld"), ("OBJCOPY", "objcopy"))]
            subprocess.run(["make", "-s", "-C", REPO / "guest/kernel", f"O={self.folder.name}", *tools], check=True)
        return str(self.path)


kernel = Kernel()


def machine(append, cpus, paravirt="callgate"):
    return ["--kernel", str(kernel), "--append", f"{append} cpus={cpus}", "--smp", cpus, "--paravirt", paravirt, "-m", "64M", "--idle", "skip"]


def run(append, engine, cpus=1, paravirt="callgate", options=(), timeout=120, **more):
    return callgate("run", *machine(append, cpus, paravirt), "--engine", engine, *options, timeout=timeout, **more)


def engines():
    """Those that this host has."""
    return [e for e in ENGINES if e == "interp" or "jit (default)" in callgate("info").stdout]


def end(done):
    """Count and hash of the state at the end."""
    return max(hashes(done.stderr).items())
