#!/usr/bin/env python3
"""Every workload of guestbench.c, at a small scale, computes in the guest what the same binary computes on the host's own
processor. One boot for all."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from guest import HERE, command, initrd, kernel, run

SCALE = "0.05"
# Lines of two processes may share a line of the console only if something is wrong: no tolerance here.
RESULT = re.compile(r"^BENCH-END (\w+) ([0-9a-f]{16})$", re.MULTILINE)
WORKLOADS = ["int", "call", "fp", "simd", "x87", "chase", "memcpy", "syscall", "pipe", "exec", "fault", "smc", "ldt"]


def ldt_by_arithmetic():
    """What w_ldt computes, without an LDT: not every host lets programs have one."""
    value = 0
    for i in range(int(60000 * float(SCALE))):
        value = (value * 31 + (i & 0xFF)) & (1 << 64) - 1
    return f"{value:016x}"


class Guestbench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.uname().machine != "x86_64":
            raise unittest.SkipTest(f"the host is {os.uname().machine}: the binary can't run natively")
        if not shutil.which("gcc"):
            raise unittest.SkipTest("no gcc to build guestbench.c with")
        folder = tempfile.TemporaryDirectory(prefix="callgate-guestbench-")
        cls.addClassCleanup(folder.cleanup)
        at = pathlib.Path(folder.name)
        subprocess.run(["gcc", "-O2", "-static", "-o", at / "guestbench", HERE / "guestbench.c", "-lm"], check=True)
        image = initrd(at / "initrd.img", HERE / "guestbench.script", [(at / "guestbench", "/guestbench")])
        cls.guest = run(command(kernel("cloud"), image, "--idle", "skip", append=f"guest_scale={SCALE}"), timeout=500)
        cls.in_guest = dict(RESULT.findall(cls.guest.stdout))
        cls.native = {}
        for name in WORKLOADS:  # one by one: on some hosts some can't run
            done = subprocess.run([at / "guestbench", SCALE, name], stdout=subprocess.PIPE, text=True)
            cls.native.update(RESULT.findall(done.stdout) if done.returncode == 0 else [])
        cls.native["ldt"] = ldt_by_arithmetic()

    def test_the_guest_ran_to_its_end(self):
        self.assertEqual(self.guest.returncode, 0, self.guest.stdout[-2000:] + self.guest.stderr[-2000:])

    def test_the_guest_knows_every_workload(self):
        self.assertEqual(sorted(self.in_guest), sorted(WORKLOADS), self.guest.stdout[-2000:])

    def test_every_check_value_is_the_host_s(self):
        for name in WORKLOADS:
            with self.subTest(workload=name):
                if name not in self.native:
                    self.skipTest("the host itself can't run it")
                self.assertEqual(self.in_guest.get(name), self.native[name])


if __name__ == "__main__":
    unittest.main()
