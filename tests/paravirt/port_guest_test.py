#!/usr/bin/env python3
"""Callgate's port from inside a guest (guest/kernel): the same result natively, by the port and mixed; the ABI's conformance; random
calls; recordings, snapshots and lockstep of guests that use it."""
import pathlib
import random
import tempfile
import unittest

from support_kernel import GOOD, callgate, end, engines, hashes, machine, run


def result(done):
    return [line for line in done.stdout.splitlines() if line.startswith("result ")]


class Port(unittest.TestCase):
    def good(self, done):
        self.assertEqual(done.returncode, GOOD, done.stdout[-500:] + done.stderr[-500:])
        return done

    def test_natively_by_the_port_and_mixed_the_result_is_the_same(self):
        for cpus in (1, 3):
            results, ends = set(), {}
            for way in ("native", "port", "mixed"):
                for engine in engines():
                    done = self.good(run(f"way={way}", engine, cpus, "none" if way == "native" else "callgate"))
                    results.update(result(done))
                    ends.setdefault(way, set()).add(end(done))
            self.assertEqual(len(results), 1, results)
            for way, states in ends.items():
                self.assertEqual(len(states), 1, f"the engines differ: {way}, {cpus} processors")

    def test_without_a_port_the_kernel_says_so(self):
        done = run("way=port", "interp", paravirt="none")
        self.assertIn("there is no port", done.stdout)
        self.assertNotEqual(done.returncode, GOOD)

    def test_the_native_way_does_not_notice_the_port(self):
        with_port, without = (self.good(run("way=native", "interp", 1, p)) for p in ("callgate", "none"))
        self.assertEqual(end(with_port)[0], end(without)[0])
        self.assertEqual(with_port.stdout, without.stdout)

    def test_conformance(self):
        for cpus in (1, 4):
            states = set()
            for engine in engines():
                done = self.good(run("test=conformance", engine, cpus, options=["--debugcon", "stdio"]))
                self.assertIn("conforming", done.stdout)
                states.add(end(done))
            self.assertEqual(len(states), 1)

    def test_random_calls_end_well_and_alike(self):
        for seed, cpus in ((1, 1), (2, 1), (3, 2), (4, 4)):
            states = {end(self.good(run(f"test=fuzz seed={seed} calls=3000", engine, cpus))) for engine in engines() for _ in range(2)}
            self.assertEqual(len(states), 1, f"seed {seed}: {states}")

    def test_lockstep(self):
        if "jit" not in engines():
            self.skipTest("one engine only")
        self.good(run("way=mixed", "lockstep", 2, options=["--compare-every", "100000"]))
        self.good(run("test=fuzz seed=9 calls=500", "lockstep", options=["--compare-every", "1000"]))


class GoingBack(unittest.TestCase):
    """A loop of restores: tests of one parser with many inputs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = pathlib.Path(folder.name)
        numbers, inputs = random.Random(5), []
        for n in range(6000):  # more than the port's queue has room for
            inputs.append(bytes([0xEE, 0xEE] + [numbers.randrange(256) for _ in range(14)]) if n % 500 == 499 else
                          bytes([numbers.randrange(0xEE) for _ in range(16)]))
        self.input = self.at / "inputs"
        self.input.write_bytes(b"".join(inputs))

    def target(self, engine, cpus=1, *options):
        done = run("test=target", engine, cpus, options=["--test-input", self.input, *options])
        self.assertEqual(done.returncode, GOOD, done.stdout + done.stderr)
        self.assertIn(f"tries {6000:016x}\nfaults {12:016x}\n", done.stdout)
        return done

    def test_each_input_is_tried_once_and_the_engines_agree(self):
        for cpus in (1, 2):
            self.assertEqual(len({end(self.target(engine, cpus)) for engine in engines()}), 1)

    def test_what_was_logged_stays_logged(self):
        lines = self.target("interp", 1, "--debugcon", "stdio").stdout.splitlines()
        self.assertEqual(sum(line.startswith("??") for line in lines), 12)

    def test_recordings_of_it_replay_exactly(self):
        for cpus in (1, 2):
            file = self.at / f"{cpus}.rec"
            done = self.target("interp", cpus, "--record", file, "--hash-every", "10007")
            for engine in engines():
                again = callgate("replay", file, "--engine", engine, timeout=120)
                self.assertEqual((again.returncode, again.stdout), (0, done.stdout), again.stderr)
                self.assertIn("the replay matched", again.stderr)

    def test_saved_in_the_middle_it_goes_on_from_the_file(self):
        # The input is not in the file, but what the port has of it already is.
        self.input.write_bytes(self.input.read_bytes()[:3000 * 16])
        done = run("test=target", "interp", options=["--test-input", self.input])
        whole = end(done)
        for count in (whole[0] // 5, whole[0] // 2, whole[0] - 1000):
            file = self.at / f"{count}.snapshot"
            callgate("run", *machine("test=target", 1), "--test-input", self.input, "--until", count, "--save-snapshot", file, timeout=120)
            for engine in engines():
                again = callgate("run", "--load-snapshot", file, "--engine", engine, "--idle", "skip", timeout=120)
                self.assertEqual((again.returncode, end(again)), (GOOD, whole), again.stderr)

    def test_in_lockstep(self):
        if "jit" not in engines():
            self.skipTest("one engine only")
        self.input.write_bytes(self.input.read_bytes()[:500 * 16])
        done = run("test=target", "lockstep", options=["--test-input", self.input, "--compare-every", "777"])
        self.assertEqual(done.returncode, GOOD, done.stdout + done.stderr)


class TimeTravel(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = pathlib.Path(folder.name)

    def test_a_recording_of_a_guest_that_reads_by_the_port_replays_exactly(self):
        for way in ("port", "native"):
            file = self.at / f"{way}.rec"
            done = run(f"way={way} input", "interp", 2, options=["--record", file], input="Callgate\n")
            self.assertEqual(done.returncode, GOOD, done.stdout + done.stderr)
            for engine in engines():
                again = callgate("replay", file, "--engine", engine, timeout=120)
                self.assertEqual((again.returncode, again.stdout), (0, done.stdout), again.stderr)
                self.assertIn("the replay matched", again.stderr)
            self.assertIn("paravirt callgate", callgate("info", file).stdout)

    def test_a_test_gets_its_input_and_gets_it_again(self):
        results = []
        for text in ("one line\n", "another\n", "one line\n"):
            given, file = self.at / "input", self.at / f"{len(results)}.rec"
            given.write_text(text)
            done = run("way=port testinput", "interp", options=["--test-input", given, "--record", file])
            self.assertEqual(done.returncode, GOOD, done.stdout + done.stderr)
            results.append(done.stdout)
            for engine in engines():
                again = callgate("replay", file, "--engine", engine, timeout=120)
                self.assertEqual((again.returncode, again.stdout), (0, done.stdout), again.stderr)
        self.assertEqual(results[0], results[2])
        self.assertNotEqual(results[0], results[1])

    def test_a_snapshot_in_the_middle_goes_on_to_the_same_end(self):
        whole = end(run("way=port", "interp", 3))
        for count in (whole[0] // 7, whole[0] // 3, whole[0] // 2):
            file = self.at / f"{count}.snapshot"
            callgate("run", *machine("way=port", 3), "--until", count, "--save-snapshot", file, timeout=120)
            for engine in engines():
                done = callgate("run", "--load-snapshot", file, "--engine", engine, "--idle", "skip", timeout=120)
                self.assertEqual(done.returncode, GOOD, done.stderr)
                self.assertEqual(end(done), whole)


if __name__ == "__main__":
    unittest.main()
