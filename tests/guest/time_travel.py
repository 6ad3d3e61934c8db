#!/usr/bin/env python3
"""A whole boot of Debian's cloud kernel: recorded, replayed on the other engine, saved and loaded in the middle, gone through
backwards. Says how long going backwards takes; the limits here are loose, since the host has other things to do."""
import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

from guest import CALLGATE, HERE, SLOWDOWN, command, hashes, initrd, kernel, run


class TimeTravel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="callgate-time-")
        cls.addClassCleanup(folder.cleanup)
        cls.at = pathlib.Path(folder.name)
        cls.image = initrd(cls.at / "initrd.img", HERE / "determinism.script")
        cls.recording = cls.at / "boot.rec"
        cls.boot = run(command(kernel("cloud"), cls.image, "--idle", "skip", "--record", cls.recording), timeout=300)
        if cls.boot.returncode != 0:
            raise AssertionError(cls.boot.stderr[-1500:])
        cls.end = max(hashes(cls.boot.stderr))

    def callgate(self, *words):
        return run([CALLGATE, *map(str, words)], timeout=400)

    def test_it_replays_on_both_engines(self):
        for engine in ("jit", "interp"):
            again = self.callgate("replay", self.recording, "--engine", engine, "--until", self.end if engine == "jit" else 150_000_000)
            if "no translator" in again.stderr:
                continue
            self.assertEqual(again.returncode, 0, again.stderr)
            if engine == "jit":
                self.assertIn("the replay matched", again.stderr)
                self.assertEqual(again.stdout, self.boot.stdout)

    def test_a_saved_boot_goes_on_the_same_and_starts_at_once(self):
        saved = self.at / "middle.snapshot"
        half = self.callgate("replay", self.recording, "--until", self.end // 2, "--save-snapshot", saved)
        self.assertEqual(half.returncode, 0, half.stderr)
        rest = self.callgate("run", "--load-snapshot", saved, "--idle", "skip")
        self.assertEqual(hashes(rest.stderr)[self.end], hashes(self.boot.stderr)[self.end])
        self.assertEqual(half.stdout + rest.stdout, self.boot.stdout)
        best = min(self.seconds("run", "--load-snapshot", saved, "--until", self.end // 2 + 1000) for _ in range(5))
        print(f"a snapshot of {saved.stat().st_size} bytes runs again after {1000 * best:.0f} ms")
        self.assertLess(best, 1 * SLOWDOWN)

    def seconds(self, *words):
        began = time.monotonic()
        self.callgate(*words)
        return time.monotonic() - began

    def test_going_backwards_is_right_and_quick(self):
        bench = pathlib.Path(os.environ.get("TIMELINE_BENCH", ""))
        if not bench.is_file():
            self.skipTest("no timeline_bench (TIMELINE_BENCH)")
        done = subprocess.run([bench, self.recording, "60"], stdout=subprocess.PIPE, text=True, timeout=600 * SLOWDOWN)
        print(done.stdout)
        figures = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0, "a state was another one than on the way forward")
        self.assertLess(figures["reverse_step_ms"]["median"], 500 * SLOWDOWN)
        self.assertLess(figures["last_write_ms"]["median"], 10_000 * SLOWDOWN)


if __name__ == "__main__":
    unittest.main()
