#!/usr/bin/env python3
"""Recordings on the command line: what was typed is typed again, on any engine; what does not fit is refused by name."""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from support import BAD_ARGUMENT, BAD_FILE, CALLGATE, MISSING_FILE, POWER_OFF, Guests, callgate, hashes

DIFFERENT = 16
guests = Guests()


class Recordings(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = pathlib.Path(folder.name)
        self.file = self.at / "echo.rec"

    def record(self, *options, guest="echo", typed="ab\x01aq"):
        run = callgate("run", "--kernel", guests[guest], "--record", self.file, *options, input=typed)
        self.assertEqual(run.returncode, POWER_OFF, run.stderr)
        return run

    def test_a_replay_says_what_the_run_said_and_that_it_matched(self):
        run = self.record()
        for engine in ("interp", "jit"):
            again = callgate("replay", self.file, "--engine", engine)
            if "no translator" in again.stderr:
                continue
            self.assertEqual((again.returncode, again.stdout), (POWER_OFF, run.stdout))
            self.assertIn("the replay matched", again.stderr)

    def test_the_hash_of_a_recorded_run_is_that_of_one_that_is_not(self):
        run = self.record("--until", 3000, guest="spin")
        self.assertEqual(hashes(run.stderr), hashes(callgate("run", "--kernel", guests["spin"], "--until", 3000).stderr))

    def test_info_tells_what_is_in_it(self):
        self.record("--bundle")
        info = callgate("info", self.file)
        self.assertEqual(info.returncode, POWER_OFF)
        for line in ("machine        512 MiB, 1 processor, CPU callgate", "in the recording", "the guest powered off"):
            self.assertIn(line, info.stdout)

    def test_a_bundled_recording_needs_no_other_file(self):
        kernel = self.at / "kernel"
        kernel.write_bytes(pathlib.Path(guests["hello"]).read_bytes())
        for bundle in (["--bundle"], []):
            self.file.unlink(missing_ok=True)
            self.assertEqual(callgate("run", "--kernel", kernel, "--record", self.file, *bundle).returncode, POWER_OFF)
            kernel.rename(self.at / "away")
            again = callgate("replay", self.file)
            if bundle:
                self.assertEqual((again.returncode, again.stdout), (POWER_OFF, "hello from COM1\n"))
            else:
                self.assertEqual(again.returncode, MISSING_FILE)
                self.assertIn("give its place with --kernel", again.stderr)
                self.assertEqual(callgate("replay", self.file, "--kernel", self.at / "away").returncode, POWER_OFF)
            (self.at / "away").rename(kernel)
        # Another kernel.
        again = callgate("replay", self.file, "--kernel", guests["spin"])
        self.assertEqual(again.returncode, BAD_FILE)
        self.assertIn("not the kernel of", again.stderr)

    def test_until_stops_there_and_go_live_goes_on(self):
        self.record("--until", 30000, guest="spin")
        again = callgate("replay", self.file, "--until", 1234)
        self.assertEqual(again.returncode, POWER_OFF)
        self.assertIn("the same up to count 1234", again.stderr)
        child = self.at / "child.rec"
        self.file.unlink()
        self.record(typed="abq")
        live = callgate("replay", self.file, "--until", 200, "--go-live", "--record", child, input="xyq")
        self.assertEqual((live.returncode, live.stdout), (POWER_OFF, ">\n[x]\n[y]\n[q]\n"))
        info = callgate("info", child)
        self.assertIn("left at count 200", info.stdout)
        self.assertEqual(callgate("replay", child).stdout, ">\n[x]\n[y]\n[q]\n")

    def test_a_recording_that_was_killed_is_good_as_far_as_it_goes(self):
        run = subprocess.Popen([CALLGATE, "run", "--kernel", guests["spin"], "--engine", "interp", "--record", self.file],
                               stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            time.sleep(0.05)
            if self.file.exists() and self.file.stat().st_size > 300:
                break
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        info = callgate("info", self.file)
        self.assertEqual(info.returncode, BAD_FILE)
        self.assertIn("cut off at byte", info.stdout)
        again = callgate("replay", self.file, "--until", 1000)
        self.assertEqual(again.returncode, POWER_OFF)

    def test_a_damaged_recording_is_refused_with_its_place(self):
        self.record()
        good = self.file.read_bytes()
        for at in (3, 20, 60, len(good) // 2, len(good) - 1):
            self.file.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1:])
            again = callgate("replay", self.file)
            self.assertEqual((again.returncode, again.stdout), (BAD_FILE, ""))
            self.assertRegex(again.stderr, rf"^callgate: {self.file}: [^\n]*\n$")
        self.file.write_bytes(good[:-1])
        again = callgate("replay", self.file)
        self.assertEqual(again.returncode, BAD_FILE)
        self.assertIn(f"cut off at byte {len(good) - 1}", again.stderr)

    def test_a_saved_machine_goes_on_as_the_one_that_was_not_saved(self):
        whole = callgate("run", "--kernel", guests["spin"], "--until", 5000)
        saved, again = self.at / "saved", self.at / "again"
        self.assertEqual(callgate("run", "--kernel", guests["spin"], "--until", 2000, "--save-snapshot", saved).returncode, POWER_OFF)
        rest = callgate("run", "--load-snapshot", saved, "--until", 5000, "--engine", "interp")
        self.assertEqual(hashes(rest.stderr), hashes(whole.stderr))
        # Saved again at once it is the same to the byte, and it is never written over.
        self.assertEqual(callgate("run", "--load-snapshot", saved, "--until", 2000, "--save-snapshot", again).returncode, POWER_OFF)
        self.assertEqual(again.read_bytes(), saved.read_bytes())
        self.assertEqual(callgate("run", "--load-snapshot", saved, "--until", 2000, "--save-snapshot", again).returncode, BAD_ARGUMENT)
        self.assertIn("count 2000", callgate("info", saved).stdout)

    def test_a_run_from_a_snapshot_can_be_recorded(self):
        saved, child = self.at / "saved", self.at / "child.rec"
        self.assertEqual(callgate("run", "--kernel", guests["spin"], "--until", 2000, "--save-snapshot", saved).returncode, POWER_OFF)
        for bundle in ([], ["--bundle"]):
            self.file.unlink(missing_ok=True)
            run = callgate("run", "--load-snapshot", saved, "--until", 9000, "--record", self.file, *bundle)
            self.assertEqual(run.returncode, POWER_OFF, run.stderr)
            self.assertIn("snapshot", callgate("info", self.file).stdout)
            for engine in ("interp", "jit"):
                again = callgate("replay", self.file, "--engine", engine)
                self.assertIn("the replay matched: 9000", again.stderr)
        live = callgate("replay", self.file, "--until", 5000, "--go-live", "--record", child, input="\x01x")
        self.assertEqual(live.returncode, POWER_OFF, live.stderr)
        saved.unlink()
        self.assertIn("the replay matched", callgate("replay", self.file).stderr)

    def test_a_snapshot_with_a_base_has_only_what_is_new(self):
        base, delta, again = self.at / "base", self.at / "delta", self.at / "again"
        whole = callgate("run", "--kernel", guests["spin"], "--until", 5000)
        callgate("run", "--kernel", guests["spin"], "--until", 2000, "--save-snapshot", base)
        run = callgate("run", "--load-snapshot", base, "--until", 3000, "--save-snapshot", delta, "--save-base", base)
        self.assertEqual(run.returncode, POWER_OFF, run.stderr)
        self.assertLess(delta.stat().st_size, base.stat().st_size)
        self.assertIn(f"base           {base}: count 2000", callgate("info", delta).stdout)
        self.assertEqual(hashes(callgate("run", "--load-snapshot", delta, "--until", 5000).stderr), hashes(whole.stderr))
        callgate("run", "--load-snapshot", delta, "--until", 3000, "--save-snapshot", again, "--save-base", base)
        self.assertEqual(again.read_bytes(), delta.read_bytes())
        (self.at / "folder").mkdir()
        for name in ("base", "delta"):
            (self.at / name).rename(self.at / "folder" / name)
        self.assertEqual(callgate("run", "--load-snapshot", self.at / "folder/delta", "--until", 5000).returncode, POWER_OFF)
        (self.at / "folder/base").unlink()
        gone = callgate("run", "--load-snapshot", self.at / "folder/delta")
        self.assertEqual(gone.returncode, MISSING_FILE)
        self.assertRegex(gone.stderr, r"^callgate: [^\n]*base: the base of the snapshot [^\n]*\n$")

    def test_damage_that_is_found_later_stops_the_run_with_its_place(self):
        saved = self.at / "saved"
        callgate("run", "--kernel", guests["spin"], "--until", 2000, "--save-snapshot", saved)
        good = saved.read_bytes()
        saved.write_bytes(good[:3000] + bytes([good[3000] ^ 1]) + good[3001:])
        self.assertEqual(callgate("info", saved).returncode, BAD_FILE)
        run = callgate("run", "--load-snapshot", saved, "--until", 9000, "--save-snapshot", self.at / "never")
        self.assertEqual(run.returncode, BAD_FILE)
        self.assertRegex(run.stderr, rf"callgate: {saved}: the snapshot is damaged: record \d+ at byte \d+: its checksum is wrong")
        self.assertFalse((self.at / "never").exists())

    def test_a_snapshot_that_does_not_fit_is_refused(self):
        saved = self.at / "saved"
        callgate("run", "--kernel", guests["spin"], "--until", 2000, "--save-snapshot", saved)
        good = saved.read_bytes()
        for bad in (good[:-1], good[:40], b"", good[:300] + bytes([good[300] ^ 1]) + good[301:]):
            saved.write_bytes(bad)
            run = callgate("run", "--load-snapshot", saved)
            self.assertEqual((run.returncode, run.stdout), (BAD_FILE, ""))
            self.assertRegex(run.stderr, rf"^callgate: {saved}: [^\n]*\n$")
        saved.write_bytes(good)
        for words in (("-m", "1G"), ("--kernel", guests["spin"]), ("--smp", "2")):
            self.assertEqual(callgate("run", "--load-snapshot", saved, *words).returncode, BAD_ARGUMENT, words)

    def test_refusals(self):
        self.file.write_bytes(b"mine")
        run = callgate("run", "--kernel", guests["hello"], "--record", self.file)
        self.assertEqual(run.returncode, BAD_ARGUMENT)
        self.assertIn("exists already", run.stderr)
        self.assertEqual(self.file.read_bytes(), b"mine")
        self.file.unlink()
        for status, words in ((MISSING_FILE, ("run", "--kernel", self.at / "none", "--record", self.file)),
                              (BAD_ARGUMENT, ("run", "--kernel", guests["hello"], "--record", self.file, "--engine", "lockstep")),
                              (BAD_ARGUMENT, ("run", "--kernel", guests["hello"], "--bundle")),
                              (MISSING_FILE, ("run", "--kernel", guests["hello"], "--record", "/nowhere/file")),
                              (BAD_FILE, ("run", "--kernel", "/dev/null", "--record", self.file)),
                              (MISSING_FILE, ("replay", self.file)),
                              (BAD_ARGUMENT, ("replay",))):
            run = callgate(*words)
            self.assertEqual(run.returncode, status, words)
            self.assertRegex(run.stderr, r"^callgate: [^\n]*\n$")
            self.assertFalse(self.file.exists())


if __name__ == "__main__":
    unittest.main()
