#!/usr/bin/env python3
"""Every run is deterministic: the cloud kernel's boot has the same state at the same counts, run after run, on a loaded host, on
one that stops the process or whose clocks jump, however often one looks, whether halted time is waited for or skipped, and with a log of every fault."""
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import unittest.mock

from guest import HERE, SLOWDOWN, command, hashes, initrd, kernel, run

EVERY = 10_000_000
BUSY = "while True: pass"


class Load:
    """More busy processes than the host has processors."""

    def __enter__(self):
        self.processes = [subprocess.Popen(["python3", "-c", BUSY]) for _ in range(1 + (os.cpu_count() or 1))]

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


class Determinism(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="callgate-determinism-")
        cls.addClassCleanup(folder.cleanup)
        cls.at = pathlib.Path(folder.name)
        cls.image = initrd(cls.at / "initrd.img", HERE / "determinism.script")
        cls.first, cls.console = cls.boot(EVERY, "--idle", "skip")

    @classmethod
    def boot(cls, every, *options):
        done = run(command(kernel("cloud"), cls.image, "--hash-every", every, *options), timeout=500)
        if done.returncode != 0:
            raise AssertionError(f"the boot ended with status {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return hashes(done.stderr), done.stdout

    def agree(self, other, console):
        common = [count for count in self.first if count in other]
        different = [count for count in common if self.first[count] != other[count]]
        self.assertEqual(different, [])
        # The last hash is of the power-off, at whatever count that came.
        self.assertEqual(max(self.first), max(other))
        self.assertEqual(console, self.console)
        return common

    def test_the_boot_was_looked_at_all_along(self):
        counts = sorted(self.first)
        self.assertGreater(len(counts), 50)
        self.assertEqual(counts[:-1], [EVERY * (i + 1) for i in range(len(counts) - 1)])
        self.assertEqual(len(set(self.first.values())), len(counts))

    def test_a_second_run_on_a_loaded_host(self):
        with Load():
            other = self.boot(EVERY, "--idle", "skip")
        self.assertEqual(self.agree(*other), sorted(self.first))

    def test_a_process_that_is_stopped_again_and_again(self):
        # For the process that is a clock that jumps, too.
        boot = subprocess.Popen(list(map(str, command(kernel("cloud"), self.image, "--hash-every", EVERY, "--idle", "wait"))),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        def disturb():
            while boot.poll() is None:
                time.sleep(0.05)
                boot.send_signal(signal.SIGSTOP)
                time.sleep(0.02)
                boot.send_signal(signal.SIGCONT)
        thread = threading.Thread(target=disturb)
        thread.start()
        console, errors = boot.communicate(timeout=500 * SLOWDOWN)
        thread.join()
        self.assertEqual(boot.returncode, 0, errors[-1500:])
        self.assertEqual(self.agree(hashes(errors), console), sorted(self.first))

    def test_a_host_whose_clocks_jump(self):
        library = self.at / "clock_jumps.so"
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-o", library, HERE / "clock_jumps.c"], check=True)
        # A sanitizer's runtime would rather be the first library.
        sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        with unittest.mock.patch.dict(os.environ, LD_PRELOAD=str(library), ASAN_OPTIONS=sanitizer):
            done = run(command(kernel("cloud"), self.image, "--hash-every", EVERY, "--idle", "wait"), timeout=500)
        self.assertEqual(done.returncode, 0, done.stderr[-1500:])
        self.assertIn("clocks were asked", done.stderr)
        self.assertEqual(self.agree(hashes(done.stderr), done.stdout), sorted(self.first))

    def test_another_interval_a_log_of_every_fault_and_idle_time_waited_for(self):
        other = self.boot(2 * EVERY + EVERY // 2, "--idle", "wait", "--log", "faults,interrupts", "--log-file", self.at / "log")
        self.assertGreater(len(self.agree(*other)), len(self.first) // 5 - 2)
        self.assertGreater((self.at / "log").stat().st_size, 10000)


if __name__ == "__main__":
    unittest.main()
