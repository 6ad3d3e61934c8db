#!/usr/bin/env python3
"""The translator runs Debian's kernels and every workload of guestbench.c to the interpreter's states: equal hashes at equal
counts, however the translator is tuned. As a test: the cloud kernel's boot, with the usual tuning and a few others. With
--all: both kernels and the workloads, each with every tuning, at fixed and at random intervals; it takes an hour."""
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

from guest import HERE, command, hashes, initrd, kernel, run

# What a guest must not notice (machine/machine.h, TranslatorTuning).
TUNINGS = ["", "chaining=off", "passes=off", "most-insns=1", "split-seed=1", "split-seed=2,most-insns=7,passes=off", "code-bytes=400K",
           "flush-every=5000", "chaining=off,passes=off,split-seed=3,code-bytes=1M"]
EVERY = 10_000_000
INTERPRETER = ["--engine", "interp"]


def states(image, flavour, every, append, *options):
    """The hashes of a run to its end, and what it printed."""
    done = run(command(kernel(flavour), image, "--hash-every", every, "--idle", "skip", *options, append=append), timeout=1800)
    if done.returncode != 0:
        raise AssertionError(f"the run with {options} ended with status {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return hashes(done.stderr), done.stdout


def jit(tuning):
    return ["--engine", "jit", *(["--translator", tuning] if tuning else [])]


def first_difference(expected, found):
    """The first count at which two runs' hashes differ, or None."""
    if expected[1] == found[1] and expected[0] == found[0]:
        return None
    counts = sorted(set(expected[0]) | set(found[0]))
    return next((count for count in counts if expected[0].get(count) != found[0].get(count)), "the output")


class Engines(unittest.TestCase):
    def test_the_cloud_kernel_boots_to_the_same_states_on_the_translator(self):
        with tempfile.TemporaryDirectory(prefix="callgate-engines-") as folder:
            image = initrd(pathlib.Path(folder) / "initrd.img", HERE / "determinism.script")
            expected = states(image, "cloud", EVERY, "", *INTERPRETER)
            self.assertGreater(len(expected[0]), 50)
            for tuning in ("", "split-seed=1,passes=off,verify=on", "chaining=off,code-bytes=1M"):
                with self.subTest(tuning=tuning):
                    self.assertIsNone(first_difference(expected, states(image, "cloud", EVERY, "", *jit(tuning))))


def all_of_it():
    failed = 0
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="callgate-engines-") as folder:
        at = pathlib.Path(folder)
        subprocess.run(["gcc", "-O2", "-static", "-o", at / "guestbench", HERE / "guestbench.c", "-lm"], check=True)
        boot = initrd(at / "boot.img", HERE / "determinism.script")
        bench = initrd(at / "bench.img", HERE / "guestbench.script", [(at / "guestbench", "/guestbench")])
        runs = [("cloud", boot, "", ()), ("amd64", boot, "", ()), ("cloud", bench, "guest_scale=0.05", ()),
                ("cloud", boot, "", ("--smp", "2")), ("cloud", boot, "", ("--linux-entry", "64bit"))]
        for flavour, image, append, options in runs:
            for every in (EVERY, chance.randrange(1_000_000, 20_000_000)):
                expected = states(image, flavour, every, append, *options, *INTERPRETER)
                for tuning in TUNINGS:
                    found = states(image, flavour, every, append, *options, *jit(tuning))
                    difference = first_difference(expected, found)
                    failed += difference is not None
                    print(f"{flavour} {image.name} {' '.join(options)} every {every} {tuning or 'usual'}: "
                          f"{len(expected[0])} hashes, {'equal' if difference is None else f'DIFFERENT at {difference}'}", flush=True)
    return failed


if __name__ == "__main__":
    if sys.argv[1:] == ["--all"]:
        sys.exit(all_of_it() != 0)
    unittest.main()
