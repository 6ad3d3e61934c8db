#!/usr/bin/env python3
"""The interfaces that stock kernels speak (--paravirt vmware, kvm, hyperv): Debian's cloud kernel finds each and uses it, alike on
both engines, recorded and replayed."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from guest import HERE, REPO, command, hashes, initrd, kernel, run
from support import callgate

ENGINES = ["interp", "jit"] if os.uname().machine == "x86_64" else ["interp"]
EVERY = 50_000_000


class Stock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="callgate-stock-")
        cls.addClassCleanup(folder.cleanup)
        cls.at = pathlib.Path(folder.name)
        if os.uname().machine != "x86_64" or not shutil.which("gcc"):
            raise unittest.SkipTest("no gcc to build the guest's work with")
        workloads = cls.at / "workloads"
        subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", workloads, REPO / "tests/paravirt/workloads.c"], check=True)
        cls.image = initrd(cls.at / "initrd.img", HERE / "paravirt_stock.script", [(workloads, "/workloads")])

    def boot(self, names, cpus, engine, *options, append=""):
        done = run(command(kernel("cloud"), self.image, "--smp", cpus, "--paravirt", names, "--engine", engine, "--idle", "skip",
                           "--hash-every", EVERY, "--stats", self.at / "stats", *options, append=append), timeout=400)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-1000:])
        self.stats = json.loads((self.at / "stats").read_text())
        (self.at / "stats").unlink()
        self.assertIn("the end", done.stdout)
        return done.stdout, hashes(done.stderr)

    def used(self, *figures):
        """What the last boot used, by its counters: not only found."""
        for figure in figures:
            with self.subTest(figure=figure):
                self.assertGreater(self.stats[figure], 0)

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
                  "Host bus clock speed read from hypervisor : 1000000000 Hz",
                  "clock sources tsc hpet")
        self.used("vmware_commands")

    def kvm(self, cpus, *lines):
        text = self.alike("kvm", cpus)
        self.says(text, "Hypervisor detected: KVM", "kvm-clock: Using msrs 4b564d01 and 4b564d00", "kvm-clock: using sched offset",
                  "clock sources tsc kvm-clock",
                  *lines)
        self.assertNotRegex(text, "clock sources.* hpet")  # that is a chip's
        return text

    def test_kvm_on_one_processor(self):
        self.kvm(1)
        self.used("kvm_eois_in_memory")

    def test_kvm_on_four_processors(self):
        text = self.kvm(4, "setup pv remote TLB flush", "setup PV IPIs", "PV spinlocks enabled", "setup PV sched yield")
        self.assertRegex(text, r"CAL: +[1-9]\d* +[1-9]")
        self.used("kvm_eois_in_memory", "kvm_ipi_calls", "kvm_ipi_destinations", "kvm_flushes_deferred", "kvm_yields", "kvm_kicks")

    def hyperv(self, cpus):
        text = self.alike("hyperv", cpus)
        self.says(text, "Hypervisor detected: Microsoft Hyper-V", "privilege flags low 0x8e72, high 0x0, hints 0xe2c, misc 0x120",
                  "Hyper-V: LAPIC Timer Frequency: 0x3d0900", "Hyper-V: Using hypercall for remote TLB flush", "Hyper-V: Using IPI hypercalls",
                  "Hyper-V: Using enlightened APIC (x2apic mode)", "clock source tsc", "hyperv_clocksource_tsc_page")
        self.used("hyperv_eois_in_memory")
        self.assertEqual(self.stats["hyperv_calls_refused"], 0)
        return text

    def test_hyperv_on_one_processor(self):
        self.hyperv(1)

    def test_hyperv_on_four_processors(self):
        text = self.hyperv(4)
        self.says(text, "Hyper-V: PV spinlocks enabled")
        self.used("hyperv_ipi_calls", "hyperv_ipi_destinations", "hyperv_flushes", "hyperv_flush_destinations", "hyperv_idles")
        self.assertRegex(text, r"TLB: +0 +0 +0 +0 ")  # not one interrupt for it

    def test_kvm_and_hyperv_replayed(self):
        for names in ("kvm", "hyperv"):
            with self.subTest(names=names):
                self.replayed(names)

    def replayed(self, names):
        recording = self.at / f"recording-{names}"
        _, states = self.boot(names, 2, ENGINES[-1], "--record", recording)
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
