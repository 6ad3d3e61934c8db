#!/usr/bin/env python3
"""guest/linux in Debian's stock kernels: the module loads, each of its parts works, a panic ends the run; alike on both engines."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "guest"))
from guest import CACHE, REPO, command, hashes, initrd, kernel, program, run  # noqa: E402
from support_kernel import engines  # noqa: E402


def module(flavour):
    kernel(flavour)
    if os.uname().machine != "x86_64" or not shutil.which("gcc-12"):
        raise unittest.SkipTest("the module is built by GCC 12 on x86-64")
    built = subprocess.run([REPO / "guest/linux/build.sh", flavour], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if built.returncode != 0:
        if "does not build" in built.stderr:
            raise AssertionError(built.stderr)
        raise unittest.SkipTest(built.stderr.strip().splitlines()[-1])
    return built.stdout.strip()


class Module(unittest.TestCase):
    def check(self, flavour, cpus, engine_list):
        with tempfile.TemporaryDirectory(prefix="callgate-module-") as folder:
            at = pathlib.Path(folder)
            image = initrd(at / "initrd.img", HERE / "linux.script", [(module(flavour), "/callgate.ko")])
            ends = set()
            for engine in engine_list:
                log, figures = at / f"{engine}.log", at / f"{engine}.json"
                done = run(command(kernel(flavour), image, "--smp", cpus, "--paravirt", "callgate", "--engine", engine, "--idle", "skip",
                                   "--debugcon", f"file:{log}", "--stats", figures, append="clocksource=tsc"), timeout=600)
                text = done.stdout
                self.assertEqual(done.returncode, 77, text[-2000:] + done.stderr[-500:])
                parts = ["console", "clock", "idle", "device", "hooks", "ldt", "layout", "prefault", "intercept"]
                parts += ["ipi", "sched"] if cpus > 1 else []
                for line in [f"callgate: {part}" for part in parts] + [
                        "clock source callgate", "idle driver callgate", "slept 2", "idles by halt", "alarms come",
                        "a probe came and went", "a line by the port", "=" * (3 << 16),
                        "no input", "life 0: a new one", "life 1: a new one", "life 2: a new one", "nothing is kept there", "the end"]:
                    self.assertIn(line, text.splitlines())
                self.assertIn("a line in the log\n", log.read_text())
                self.assertIn("sysrq triggered crash", log.read_text())  # what the panic said
                self.hooks_are_used(text, json.loads(figures.read_text()), cpus)
                ends.add(max(hashes(done.stderr).items()))
            self.assertEqual(len(ends), 1)

    def hooks_are_used(self, text, figures, cpus):
        used = {h["kind"]: h["entered"] for h in figures["hooks"]}
        for kind in ["clear_page", "copy_page", "memcpy", "memset", "copy_user"]:
            self.assertGreater(used[kind], 10, kind)
        for name in ["copy_page", "memcpy", "native_set_ldt", "delay_tsc"] + (["native_queued_spin_lock_slowpath"] if cpus > 1 else []):
            self.assertIn(f"hooked {name}", text.splitlines())
        self.assertEqual(figures["hooks_refused"], 0)

    def test_faults_bring_pages_ahead(self):
        with tempfile.TemporaryDirectory(prefix="callgate-module-") as folder:
            at = pathlib.Path(folder)
            image = initrd(at / "initrd.img", HERE / "prefault.script", [(module("cloud"), "/callgate.ko")])
            faults, texts, ends = {}, set(), {}
            for pages in (0, 64):
                for engine in engines():
                    figures = at / f"{pages}-{engine}.json"
                    done = run(command(kernel("cloud"), image, "--paravirt", "callgate", "--engine", engine, "--idle", "skip",
                                       "--stats", figures, append=f"prefault={pages}"), timeout=600)
                    lines = done.stdout.splitlines()
                    self.assertIn("the end", lines, done.stdout[-2000:])
                    self.assertIn("callgate: prefault", lines)
                    texts.add(tuple(line.strip() for line in lines if line.rstrip().endswith("  -")))
                    faults[pages] = json.loads(figures.read_text())["faults"]
                    ends.setdefault(pages, set()).add(max(hashes(done.stderr).items()))
                self.assertEqual(len(ends[pages]), 1)
            self.assertEqual(len(texts), 1, texts)
            self.assertLess(faults[64], faults[0] - 500, faults)

    def programs(self, work, parameters, cpus=1, engine_list=None):
        """What programs.script prints for this work, with these parameters of the module, and the figures of --stats."""
        with tempfile.TemporaryDirectory(prefix="callgate-module-") as folder:
            at = pathlib.Path(folder)
            files = [(module("cloud"), "/callgate.ko"), *program(HERE / "program.c", at / "program", "/program")]
            image = initrd(at / "initrd.img", HERE / "programs.script", files)
            ends = set()
            for engine in engine_list or engines():
                figures = at / f"{engine}.json"
                done = run(command(kernel("cloud"), image, "--smp", cpus, "--paravirt", "callgate", "--engine", engine, "--idle", "skip",
                                   "--stats", figures, append=f"module={parameters} work={work}"), timeout=600)
                self.assertIn("the end", done.stdout.splitlines(), done.stdout[-2000:])
                self.assertNotIn("not used", done.stdout)
                ends.add(max(hashes(done.stderr).items()))
            self.assertEqual(len(ends), 1)
            return done.stdout, json.loads(figures.read_text())

    def shown(self, parameters, cpus=1, engine_list=None):
        """Where the program was eight times, with its shell's processor, and twice without randomness."""
        text, _ = self.programs("show", parameters, cpus, engine_list)
        lines = [dict(zip(words[::2], words[1::2])) for words in map(str.split, text.splitlines()) if words[:1] == ["main"]]
        for line, cpu in zip(lines, re.findall(r"^shell's cpu (\d+)$", text, re.MULTILINE)):
            line["shell's cpu"] = cpu
        self.assertEqual(len(lines), 10)
        return lines[:8], lines[8:]

    def test_programs_lie_where_they_lay(self):
        some, plain = self.shown("layout=1")
        others, plain_others = self.shown("layout=0", engine_list=engines()[:1])
        for what in ["main", "libc"]:
            self.assertEqual(len({line[what] for line in some}), 1, some)
            self.assertEqual(len({line[what] for line in others}), 8, others)
            # Without randomness there is none of ours.
            self.assertEqual(len({line[what] for line in plain}), 1, plain)
            self.assertNotEqual(some[0][what], plain[0][what])
        self.assertEqual(len({line["stack"] for line in some}), 8, some)
        self.assertEqual(plain[0], plain_others[0])

    def test_faults_bring_what_a_program_uses(self):
        text, with_it = self.programs("many", "working_set=1")
        text_without, without = self.programs("many", "working_set=0", engine_list=engines()[:1])
        for t in (text, text_without):
            self.assertIn("all ended", t.splitlines())
        self.assertLess(with_it["faults"], without["faults"] - 120 * 10)

    def test_new_pages_come_many_at_once(self):
        text, with_it = self.programs("fresh", "prefault=64")
        text_without, without = self.programs("fresh", "prefault=0", engine_list=engines()[:1])
        seen, seen_without = (re.findall(r"^(?:fresh|16M|9M|left|complaints).*", t, re.MULTILINE) for t in (text, text_without))
        self.assertEqual(seen, seen_without)
        self.assertEqual(len([line for line in seen if line.startswith("fresh") and line.endswith("accounts agree")]), 4, seen)
        for line in ["16M: killed 0", "9M: killed 1", "16M is gone", "9M is gone", "left 0", "complaints 0"]:
            self.assertIn(line, seen)
        resident, resident_without = ([int(n) for n in re.findall(r"^resident (\d+)", t, re.MULTILINE)] for t in (text, text_without))
        self.assertEqual(resident_without, [1500, 1470])
        for pages in resident:
            self.assertLessEqual(pages, 1500 + 64)
        self.assertLess(with_it["faults"], without["faults"] - 4 * 1400)

    def test_an_ldt_is_written_in_place(self):
        text, with_it = self.programs("ldt", "ldt=1")
        text_without, without = self.programs("ldt", "ldt=0", engine_list=engines()[:1])
        seen, seen_without = (re.findall(r"^ldt .*", t, re.MULTILINE) for t in (text, text_without))
        self.assertEqual(len(seen), 1)
        self.assertEqual(seen, seen_without)
        self.assertLess(with_it["instructions"], without["instructions"] - 100000 * 500)

    def test_programs_stay_where_they_are(self):
        engine = ["jit" if "jit" in engines() else "interp"]
        for sched in (0, 1):
            some, _ = self.shown(f"sched={sched}", cpus=2, engine_list=engine)
            stayed = [line["cpu"] == line["shell's cpu"] for line in some]
            self.assertTrue(all(stayed) if sched else not all(stayed), some)

    def test_the_cloud_kernel(self):
        self.check("cloud", 1, engines())

    def test_several_processors(self):
        self.check("cloud", 3, ["jit" if "jit" in engines() else "interp"])

    def test_the_kernel_for_any_machine(self):
        self.check("amd64", 2, ["jit" if "jit" in engines() else "interp"])


if __name__ == "__main__":
    unittest.main()
