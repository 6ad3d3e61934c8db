#!/usr/bin/env python3
"""The translator runs Debian's kernels and every workload of guestbench.c to the interpreter's states: equal hashes at equal
counts, however the translator is tuned. The counts are random, from a seed that is told (and given by --seed N). As a test: the
cloud kernel with a little of everything, with the usual tuning and a few others. With --all: both kernels' whole boots and the
workloads, each with every tuning; it takes an hour or two."""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

from guest import HERE, command, hashes, initrd, kernel, run

# What a guest must not notice (machine/machine.h, TranslatorTuning).
TUNINGS = ["", "chaining=off", "passes=off", "most-insns=1", "split-seed=1", "split-seed=2,most-insns=7,passes=off", "code-bytes=288K",
           "flush-every=5000", "chaining=off,passes=off,split-seed=3,code-bytes=1M"]
INTERPRETER = ["--engine", "interp"]


def new_seed():
    return int(os.environ.get("CALLGATE_SEED", 0)) or random.SystemRandom().randrange(1, 1 << 32)


def states(image, flavour, counts, append, *options):
    """The hashes of a run at counts and at its end, and what it printed."""
    at = ["--hash-at", ",".join(map(str, counts))] if counts else []
    done = run(command(kernel(flavour), image, *at, "--idle", "skip", *options, append=append), timeout=1800)
    if done.returncode != 0:
        raise AssertionError(f"the run with {options} ended with status {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return hashes(done.stderr), done.stdout


def random_counts(chance, end, number):
    """Counts up to a run's end: most anywhere, some close together, where one block must stop in several places."""
    counts = {chance.randrange(1, end) for _ in range(number)}
    for count in chance.sample(sorted(counts), number // 10):
        counts |= {count + distance for distance in range(1, 20, 3)}
    return sorted(counts)


def jit(tuning):
    return ["--engine", "jit", *(["--translator", tuning] if tuning else [])]


def first_difference(expected, found):
    """The first count at which two runs' hashes differ, or None."""
    if expected[1] == found[1] and expected[0] == found[0]:
        return None
    counts = sorted(set(expected[0]) | set(found[0]))
    return next((count for count in counts if expected[0].get(count) != found[0].get(count)), "the output")


def guestbench(at):
    """The workloads' binary, for an initramfs; nothing where it can't be built."""
    if os.uname().machine != "x86_64" or not shutil.which("gcc"):
        return []
    subprocess.run(["gcc", "-O2", "-static", "-o", at / "guestbench", HERE / "guestbench.c", "-lm"], check=True)
    return [(at / "guestbench", "/guestbench")]


class Engines(unittest.TestCase):
    def test_the_cloud_kernel_comes_to_the_same_states_on_the_translator(self):
        seed = new_seed()
        with tempfile.TemporaryDirectory(prefix="callgate-engines-") as folder:
            at = pathlib.Path(folder)
            bench = guestbench(at)
            script = at / "script"
            script.write_text((HERE / "determinism.script").read_text() + ((HERE / "guestbench.script").read_text() if bench else ""))
            image = initrd(at / "initrd.img", script, bench)
            append = "guest_scale=0.002"
            end = max(states(image, "cloud", [], append, *jit(""))[0])
            counts = random_counts(random.Random(seed), end, 100)
            print(f"seed {seed}: {len(counts)} counts up to {end}", flush=True)
            expected = states(image, "cloud", counts, append, *INTERPRETER)
            self.assertEqual(sorted(expected[0]), sorted({*counts, end}))
            for tuning in ("", "split-seed=1,passes=off,verify=on", "chaining=off,code-bytes=1M"):
                with self.subTest(tuning=tuning, seed=seed):
                    self.assertIsNone(first_difference(expected, states(image, "cloud", counts, append, *jit(tuning))))


def all_of_it(seed):
    failed = 0
    chance = random.Random(seed)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="callgate-engines-") as folder:
        at = pathlib.Path(folder)
        boot = initrd(at / "boot.img", HERE / "determinism.script")
        bench = initrd(at / "bench.img", HERE / "guestbench.script", guestbench(at))
        # The smallest arena holds some 60 blocks: a workload with more in its loops would translate without end.
        roomier = [t.replace("288K", "512K") for t in TUNINGS]
        runs = [("cloud", boot, "", (), TUNINGS), ("amd64", boot, "", (), TUNINGS),
                ("cloud", bench, "guest_scale=0.05", (), roomier), ("cloud", boot, "", ("--smp", "2"), TUNINGS),
                ("cloud", boot, "", ("--linux-entry", "64bit"), TUNINGS)]
        for flavour, image, append, options, tunings in runs:
            end = max(states(image, flavour, [], append, *options, *jit(""))[0])
            counts = sorted({*range(10_000_000, end, 10_000_000), *random_counts(chance, end, 300)})
            expected = states(image, flavour, counts, append, *options, *INTERPRETER)
            for tuning in tunings:
                difference = first_difference(expected, states(image, flavour, counts, append, *options, *jit(tuning)))
                failed += difference is not None
                print(f"{flavour} {image.name} {' '.join(options)} {tuning or 'usual'}: {len(expected[0])} hashes, "
                      f"{'equal' if difference is None else f'DIFFERENT at {difference}'}", flush=True)
    return failed


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--seed" in arguments:
        where = arguments.index("--seed")
        os.environ["CALLGATE_SEED"] = arguments[where + 1]
        del arguments[where:where + 2]
    if arguments == ["--all"]:
        sys.exit(all_of_it(new_seed()) != 0)
    unittest.main(argv=sys.argv[:1] + arguments)
