#!/usr/bin/env python3
"""The interfaces that stock kernels speak (--paravirt vmware, kvm, hyperv): Debian's cloud kernel finds each and uses it, alike on
both engines, recorded and replayed."""
import os
import pathlib
import tempfile
import unittest

from guest import HERE, command, hashes, initrd, kernel, run
from support import callgate

ENGINES = ["interp", "jit"] if os.uname().machine == "x86_64" else ["interp"]
EVERY = 50_000_000


class Stock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="callgate-stock-")
        cls.addClassCleanup(folder.cleanup)
        cls.at = pathlib.Path(folder.name)
        cls.image = initrd(cls.at / "initrd.img", HERE / "paravirt_stock.script")

    def boot(self, names, cpus, engine, *options, append=""):
        done = run(command(kernel("cloud"), self.image, "--smp", cpus, "--paravirt", names, "--engine", engine, "--idle", "skip",
                           "--hash-every", EVERY, *options, append=append), timeout=400)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-1000:])
        self.assertIn("the end", done.stdout)
        return done.stdout, hashes(done.stderr)

    def alike(self, names, cpus, **more):
        """A boot on every engine: the same console and the same state all along. The console."""
        text, states = self.boot(names, cpus, ENGINES[-1], **more)
        self.assertGreater(len(states), 5)
        for engine in ENGINES[:-1]:
            other_text, other_states = self.boot(names, cpus, engine, **more)
            self.assertEqual(other_states, states)
            self.assertEqual(other_text, text)
        return text

    def says(self, text, *lines):
        for line in lines:
            self.assertIn(line, text)

    def test_vmware(self):
        text = self.alike("vmware", 1)
        self.says(text, "Hypervisor detected: VMware", "vmware: hypercall mode: 0x00", "TSC freq read from hypervisor : 1000.000 MHz",
                  "Host bus clock speed read from hypervisor : 1000000000 Hz")

    def kvm(self, cpus, *lines):
        text = self.alike("kvm", cpus)
        self.says(text, "Hypervisor detected: KVM", "kvm-clock: Using msrs 4b564d01 and 4b564d00", "kvm-clock: using sched offset",
                  "clock sources tsc kvm-clock",
                  *lines)
        return text

    def test_kvm_on_one_processor(self):
        self.kvm(1)

    def test_kvm_on_two_processors(self):
        text = self.kvm(2, "setup pv remote TLB flush", "setup PV IPIs", "PV spinlocks enabled", "setup PV sched yield")
        self.assertRegex(text, r"CAL: +[1-9]\d* +[1-9]")  # they arrive; which way they went is only what the kernel said

    def test_kvm_replayed(self):
        recording = self.at / "recording"
        _, states = self.boot("kvm", 2, ENGINES[-1], "--record", recording)
        done = callgate("replay", recording, timeout=400)
        self.assertEqual(done.returncode, 0, done.stderr[-1000:])
        self.assertIn(f"the replay matched: {max(states)} instructions", done.stderr)
        self.assertIn(states[max(states)], done.stderr)

    def test_nothing_is_there_unasked(self):
        text, _ = self.boot("none", 1, ENGINES[-1])
        self.assertNotIn("Hypervisor detected", text)
        self.assertNotIn("kvm", text)


if __name__ == "__main__":
    unittest.main()
