#!/usr/bin/env python3
"""The command line's promises: exit statuses, one helpful sentence for every error, QEMU's spellings, nothing written over."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from support import (BAD_ARGUMENT, BAD_FILE, CACHE, CALLGATE, HALTED, MISSING_FILE, POWER_OFF, REPO, RESET, SLOWDOWN, TRIPLE_FAULT,
                     Guests, callgate, hashes)

guests = Guests()


class Endings(unittest.TestCase):
    def test_a_guest_that_powers_off_ends_the_run_with_0(self):
        run = callgate("run", "--kernel", guests["power_off"])
        self.assertEqual((run.returncode, run.stdout), (POWER_OFF, ""))

    def test_debug_exit_gives_the_guest_s_own_code(self):
        for value in (0, 1, 21, 127):
            run = callgate("run", "--kernel", guests["debug_exit"], "--append", value)
            self.assertEqual(run.returncode, value << 1 | 1)

    def test_debug_exit_keeps_the_low_eight_bits(self):
        self.assertEqual(callgate("run", "--kernel", guests["debug_exit"], "--append", 200).returncode, (200 << 1 | 1) & 0xFF)

    def test_a_processor_halted_for_good_is_told(self):
        run = callgate("run", "--kernel", guests["halt"])
        self.assertEqual(run.returncode, HALTED)
        self.assertIn("nothing can wake it", run.stderr)

    def test_a_reset_ends_the_run_only_with_no_reboot(self):
        run = callgate("run", "--kernel", guests["reset"], "--no-reboot", "--debugcon", "stdio")
        self.assertEqual((run.returncode, run.stdout), (RESET, "R"))
        self.assertIn("--no-reboot", run.stderr)
        again = callgate("run", "--kernel", guests["reset"], "--debugcon", "stdio", "--until", 1000)
        self.assertEqual(again.returncode, POWER_OFF)
        self.assertRegex(again.stdout, "^R{10,}$")

    def test_a_triple_fault_is_told_with_its_whole_chain(self):
        run = callgate("run", "--kernel", guests["triple_fault"])
        self.assertEqual(run.returncode, TRIPLE_FAULT)
        chain = [line.strip() for line in run.stderr.splitlines() if re.match(r" *#[A-Z]+.* \(count \d+\): ", line)]
        # First the reason that matters, then why no handler ran: error codes are selector or vector * 8 + IDT + EXT.
        self.assertEqual([line.split(" ")[0] for line in chain], ["#GP(0x28)", "#GP(0x6b)", "#DF(0x0)", "#GP(0x43)"])
        self.assertIn("data segment 0x28 has DPL 0 < CPL 3", chain[0])
        self.assertIn("limit 0x0", chain[1])
        self.assertRegex(run.stderr, r"callgate: triple fault: .*")
        self.assertRegex(run.stderr, r"rip [0-9a-f]{16}  rflags [0-9a-f]{8}  cpl 3")
        self.assertRegex(run.stderr, r"8e d8 +mov ds, eax")

    def test_the_run_ends_after_the_count_that_until_says(self):
        run = callgate("run", "--kernel", guests["spin"], "--until", 12345)
        self.assertEqual((run.returncode, list(hashes(run.stderr))), (POWER_OFF, [12345]))

    def test_every_engine_ends_alike(self):
        for name in ("power_off", "halt", "triple_fault", "hello", "debug_exit"):
            runs = [callgate("run", "--kernel", guests[name], "--engine", *engine.split())
                    for engine in ("interp", "jit", "jit --translator most-insns=1,passes=off,chaining=off,verify=on",
                                   "lockstep --compare-every 10")]
            if "no translator" in runs[1].stderr:
                self.skipTest("this host has no translator")
            with self.subTest(guest=name):
                # The instructions behind are shown as far as the engine noted them.
                self.assertEqual(len({(run.returncode, run.stdout, run.stderr.partition("The last instructions")[0])
                                      for run in runs}), 1, runs)


class Outputs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = pathlib.Path(folder.name)

    def test_the_serial_line_and_the_debug_console_are_where_they_are_sent(self):
        run = callgate("run", "--kernel", guests["hello"])
        self.assertEqual(run.stdout, "hello from COM1\n")
        run = callgate("run", "--kernel", guests["hello"], "--serial", "none", "--debugcon", "stdio")
        self.assertEqual(run.stdout, "hello from port 0xe9\n")
        run = callgate("run", "--kernel", guests["hello"], "--serial", f"file:{self.at}/serial", "--debugcon", f"file:{self.at}/debug")
        self.assertEqual((run.returncode, run.stdout), (POWER_OFF, ""))
        self.assertEqual((self.at / "serial").read_text(), "hello from COM1\n")
        self.assertEqual((self.at / "debug").read_text(), "hello from port 0xe9\n")

    def test_standard_input_is_the_serial_line_s(self):
        run = callgate("run", "--kernel", guests["echo"], input="ab\x01aq")
        self.assertEqual((run.returncode, run.stdout), (POWER_OFF, ">\n[a]\n[b]\n[\x01]\n[q]\n"))

    def test_hash_every_prints_at_exact_counts_and_once_at_the_end(self):
        run = callgate("run", "--kernel", guests["spin"], "--hash-every", 1000, "--until", 3500)
        self.assertEqual(list(hashes(run.stderr)), [1000, 2000, 3000, 3500])
        other = callgate("run", "--kernel", guests["spin"], "--hash-every", 700, "--until", 3500)
        self.assertEqual(hashes(other.stderr)[3500], hashes(run.stderr)[3500])
        for line in run.stderr.splitlines():
            self.assertRegex(line, r"^hash \d+ [0-9a-f]{16}$")

    def test_hash_at_prints_at_the_counts_of_a_list(self):
        run = callgate("run", "--kernel", guests["spin"], "--hash-at", "2500,1,777,2000000000", "--hash-every", 1000, "--until", 3500)
        self.assertEqual(list(hashes(run.stderr)), [1, 777, 1000, 2000, 2500, 3000, 3500])
        every = callgate("run", "--kernel", guests["spin"], "--hash-every", 7, "--until", 777)
        self.assertEqual(hashes(every.stderr)[777], hashes(run.stderr)[777])

    def test_every_run_ends_with_a_hash(self):
        for name in ("power_off", "halt", "triple_fault", "debug_exit"):
            self.assertEqual(len(hashes(callgate("run", "--kernel", guests[name]).stderr)), 1, name)

    def test_stats_are_json(self):
        run = callgate("run", "--kernel", guests["hello"], "--stats", self.at / "stats.json")
        self.assertEqual(run.returncode, POWER_OFF)
        stats = json.loads((self.at / "stats.json").read_text())
        self.assertIn(stats["engine"], ("interp", "jit"))
        self.assertEqual(stats["instructions"], max(hashes(run.stderr)))
        self.assertGreater(stats["mips"], 0)

    def test_stats_tell_what_the_translator_did(self):
        run = callgate("run", "--kernel", guests["rewrite"], "--engine", "jit", "--stats", self.at / "stats.json")
        if "no translator" in run.stderr:
            self.skipTest("there is no translator for this host")
        stats = json.loads((self.at / "stats.json").read_text())
        for figure in ("blocks_translated", "instructions_translated", "translation_seconds", "code_bytes", "entries", "interpreted",
                       "tlb_misses", "tlb_refills", "blocks_invalidated"):
            self.assertGreater(stats[figure], 0, figure)
        self.assertLess(stats["translation_seconds"], stats["host_seconds"])
        self.assertEqual(stats["handler_calls"], sum(row["calls"] for row in stats["handlers"]))
        counts = [row["calls"] + row["interpreted"] for row in stats["handlers"]]
        self.assertEqual(counts, sorted(counts, reverse=True))
        self.documented(stats)

    def documented(self, stats):
        text = (REPO / "docs/performance.md").read_text()
        self.assertEqual([figure for figure in stats if f"`{figure}`" not in text], [])

    def test_stats_tell_what_was_used_of_the_hypervisor(self):
        info = callgate("info").stdout
        names = re.search(r"^paravirt +(\S+)", info, re.MULTILINE)[1]
        run = callgate("run", "--kernel", guests["hello"], "--paravirt", names, "--stats", self.at / "stats.json")
        self.assertEqual(run.returncode, POWER_OFF)
        stats = json.loads((self.at / "stats.json").read_text())
        for name in names.split(","):
            self.assertTrue(any(figure.startswith(f"{name}_") for figure in stats), name)
        self.documented(stats)

    def test_a_perf_map_names_every_block_that_the_log_shows(self):
        log = self.at / "log"
        run = subprocess.Popen([CALLGATE, "run", "--kernel", guests["rewrite"], "--engine", "jit", "--perf-map", "--log", "jit",
                                "--log-file", log], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        _, errors = run.communicate(timeout=60 * SLOWDOWN)
        if "no translator" in errors:
            self.skipTest("there is no translator for this host")
        path = pathlib.Path(f"/tmp/perf-{run.pid}.map")
        self.addCleanup(path.unlink)
        lines = [line.split(" ", 2) for line in path.read_text().splitlines()]
        blocks = re.findall(r"block (0x[0-9a-f]+), \d+ instructions, (\d+) bytes of host code\n +(0x[0-9a-f]+)", log.read_text())
        self.assertGreater(len(blocks), 5)
        shared = [name for _, _, name in lines if not name.startswith("guest:")]
        self.assertIn("callgate:execute", shared)
        self.assertEqual([(int(at, 16), int(size, 16), re.sub("/(ungrouped|linked)", "", name)) for at, size, name in lines[len(shared):]],
                         [(int(at, 16), int(size), f"guest:{rip}/32") for rip, size, at in blocks])
        ends = [int(at, 16) + int(size, 16) for at, size, _ in lines]
        self.assertTrue(all(end <= int(at, 16) for end, (at, _, _) in zip(ends, lines[1:])), "blocks overlap")

    def test_a_perf_map_is_for_emitted_code(self):
        run = callgate("run", "--kernel", guests["hello"], "--engine", "interp", "--perf-map")
        self.assertEqual(run.returncode, BAD_ARGUMENT)
        self.assertIn("--engine jit", run.stderr)

    def test_nothing_is_written_over(self):
        (self.at / "mine").write_text("keep me")
        for option, value in (("--stats", self.at / "mine"), ("--log-file", self.at / "mine"), ("--serial", f"file:{self.at}/mine"),
                              ("--debugcon", f"file:{self.at}/mine")):
            run = callgate("run", "--kernel", guests["hello"], option, value)
            self.assertEqual(run.returncode, BAD_ARGUMENT)
            self.assertEqual(run.stderr.strip(), f"callgate: {self.at}/mine exists already: give {option} another file, or remove it first")
            self.assertEqual((self.at / "mine").read_text(), "keep me")

    def test_a_run_that_does_not_start_leaves_no_files(self):
        files = ("--log-file", self.at / "log", "--serial", f"file:{self.at}/serial", "--debugcon", f"file:{self.at}/debug")
        self.assertEqual(callgate("run", "--kernel", self.at / "none", *files, "--stats", self.at / "stats").returncode, MISSING_FILE)
        self.assertEqual(callgate("run", "--kernel", guests["hello"], *files, "--stats", "/nowhere/stats").returncode, MISSING_FILE)
        self.assertEqual(list(self.at.iterdir()), [])

    def test_faults_are_told_in_words(self):
        run = callgate("run", "--kernel", guests["triple_fault"], "--log", "faults", "--log-file", self.at / "log")
        self.assertEqual(run.returncode, TRIPLE_FAULT)
        self.assertIn("data segment 0x28 has DPL 0 < CPL 3", (self.at / "log").read_text())
        self.assertNotIn("[faults]", run.stderr)
        self.assertIn("[faults]", callgate("run", "--kernel", guests["triple_fault"], "--log", "faults").stderr)


class Errors(unittest.TestCase):
    """Each error is one sentence on standard error that names the file or the option, and nothing else."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = pathlib.Path(folder.name)

    def refused(self, status, sentence, *arguments):
        run = callgate(*arguments)
        self.assertEqual(run.stdout, "")
        self.assertRegex(run.stderr, rf"^callgate: [^\n]*\n$")
        self.assertIn(sentence, run.stderr)
        self.assertEqual(run.returncode, status)

    def bad_option(self, sentence, *arguments):
        self.refused(BAD_ARGUMENT, sentence, "run", "--kernel", guests["hello"], *arguments)

    def bad_kernel(self, sentence, data, *arguments):
        (self.at / "kernel").write_bytes(data)
        self.refused(BAD_FILE, f"{self.at}/kernel: {sentence}", "run", "--kernel", self.at / "kernel", *arguments)

    def test_commands(self):
        self.refused(BAD_ARGUMENT, "which command", )
        self.refused(BAD_ARGUMENT, 'no command "boot"', "boot")
        self.refused(BAD_ARGUMENT, "--kernel", "run")

    def test_options(self):
        self.refused(BAD_ARGUMENT, "--frobnicate", "run", "--frobnicate")
        self.bad_option("--frobnicate", "--frobnicate")
        self.bad_option("extra", "extra")
        self.bad_option("--kernel", "--kernel", guests["hello"])
        self.refused(BAD_ARGUMENT, "--kernel", "run", "--kernel")
        self.refused(BAD_ARGUMENT, "--hda", "run", "-kernel", guests["hello"], "--hda", "disk.img")

    def test_values(self):
        for size in ("12q", "-5", "M", "1.5G", "99999999999999999999"):
            self.bad_option(f'"{size}" is not a size', f"--mem={size}")
        for size in ("0", "512K", "65G", "1048577G"):
            self.bad_option("1 MiB to 64 GiB", "-m", size)
        self.bad_option("a multiple of 4 KiB", "-m", "1025K")
        for count in ("0", "65", "4000000000"):
            self.bad_option("1 to 64 processors", "--smp", count)
        for count in ("two", "-1", "99999999999999999999"):
            self.bad_option("is not a number of processors", f"--smp={count}")
        for option in ("--hash-every", "--until", "--compare-every"):
            for count in ("x", "-5", "10M", "99999999999999999999"):
                self.bad_option(f'{option}: "{count}" is not a count', f"{option}={count}")
        self.bad_option("--hash-every", "--hash-every", "0")
        self.bad_option("--hash-at", "--hash-at", "5,x")
        self.bad_option("--rtc", "--rtc", "noon")
        self.bad_option('no CPU model "486"', "--cpu", "486")
        self.bad_option("--engine", "--engine", "warp")
        for tuning in ("passes", "passes=maybe", "most-insns=65", "most-insns=x", "code-bytes=1Q", "speed=on"):
            self.bad_option(f'"{tuning}" does not tune the translator', "--translator", f"chaining=off,{tuning}")
        self.bad_option("--linux-entry", "--linux-entry", "door")
        self.bad_option("--idle", "--idle", "nap")
        self.bad_option("--display", "--display", "gtk")
        self.bad_option('"tcp:4444" is not an output', "--serial", "tcp:4444")
        self.bad_option('no channel "gossip"', "--log", "faults,gossip")

    def test_missing_files(self):
        self.refused(MISSING_FILE, f"{self.at}/none", "run", "--kernel", self.at / "none")
        self.refused(MISSING_FILE, f"{self.at}/none", "run", "--kernel", guests["hello"], "--initrd", self.at / "none")
        for option, value in (("--stats", "/nowhere/file"), ("--log-file", "/nowhere/file"), ("--serial", "file:/nowhere/file"),
                              ("--debugcon", "file:/nowhere/file")):
            self.refused(MISSING_FILE, f"/nowhere/file can't be written for {option}", "run", "--kernel", guests["hello"], option, value)
        self.bad_option("--kernel", "--kernel=")
        self.bad_option("--initrd", "--initrd=")
        self.bad_option("--serial", "--serial", "file:")
        self.bad_option("--stats", "--stats=")
        self.bad_option("--log-file", "--log-file=")

    def test_damaged_kernels(self):
        self.bad_kernel("the kernel is empty", b"")
        self.bad_kernel("not a kernel", b"#!/bin/sh\nexit\n" * 100)
        self.bad_kernel("", guests["hello"].read_bytes()[:60])
        self.bad_kernel("", guests["hello"].read_bytes()[:4200])
        self.refused(BAD_FILE, "a directory", "run", "--kernel", self.at)

    def test_damaged_linux_kernels(self):
        vmlinuz = CACHE / "kernels/cloud/vmlinuz"
        if not vmlinuz.exists():
            self.skipTest("no cloud kernel in the cache (scripts/fetch-kernel.sh cloud)")
        whole = vmlinuz.read_bytes()
        for size in (600, 5000, 100_000, len(whole) // 2, len(whole) - 4096):
            self.bad_kernel("", whole[:size])
        self.bad_kernel("", whole[:len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096:])
        self.refused(BAD_ARGUMENT, "give the guest more with -m", "run", "--kernel", vmlinuz, "-m", "16M")
        (self.at / "initrd").write_bytes(b"")
        self.refused(BAD_FILE, "the initrd is empty", "run", "--kernel", vmlinuz, "--initrd", self.at / "initrd")


class Spellings(unittest.TestCase):
    def test_a_command_line_as_for_qemu(self):
        run = callgate("run", "-kernel", guests["debug_exit"], "-append", "9", "-m", "64", "-smp", "1", "-cpu", "callgate", "-nographic",
                       "-no-reboot", "-serial", "mon:stdio", "-display", "none", "-monitor", "none", "-nodefaults", "-vga", "none")
        self.assertEqual((run.returncode, run.stdout), (19, ""))
        self.assertEqual(callgate("run", "-kernel", guests["hello"], "-serial", "stdio").stdout, "hello from COM1\n")
        self.assertEqual(callgate("run", "-kernel", guests["power_off"], "-smp", "cpus=2,sockets=1").returncode, POWER_OFF)

    def test_a_value_is_never_taken_for_a_spelling(self):
        run = callgate("run", "--kernel", guests["debug_exit"], "--append=-kernel")
        self.assertEqual(run.returncode, 1)

    def test_sizes(self):
        plain = hashes(callgate("run", "--kernel", guests["power_off"], "-m", "64").stderr)
        for size in ("64M", "64m", "64MiB", "65536K", "65536k"):
            self.assertEqual(hashes(callgate("run", "--kernel", guests["power_off"], "-m", size).stderr), plain, size)


class Telling(unittest.TestCase):
    def test_help_is_grouped_and_complete(self):
        run = callgate("run", "--help")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        for group in ("Guest:", "Machine:", "Console:", "Testing and debugging:", "Exit status"):
            self.assertIn(f"\n{group}\n", run.stdout)
        for option in ("--kernel", "--initrd", "--append", "--linux-entry", "--mem", "--smp", "--cpu", "--no-reboot", "--rtc", "--engine",
                       "--serial", "--debugcon", "--nographic", "--display", "--idle", "--hash-every", "--hash-at", "--until",
                       "--stats", "--perf-map", "--log", "--log-file"):
            self.assertRegex(run.stdout, rf"(?m)^  (-m,)?{option}\b")
        top = callgate("--help")
        self.assertEqual((top.returncode, top.stderr), (0, ""))
        for command in ("run", "info"):
            self.assertRegex(top.stdout, rf"(?m)^  {command} ")

    def test_info_tells_version_engines_host_and_guest(self):
        run = callgate("info")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertRegex(run.stdout, r"^callgate \d+\.\d+\.\d+\n")
        for line in ("engines", "host", "guest CPU", "features", "kernels"):
            self.assertRegex(run.stdout, rf"(?m)^{line} ")
        features = re.search(r"(?ms)^features +(.*?)^\w", run.stdout).group(1).split()
        for feature in ("fpu", "sse2", "nx", "syscall", "erms", "smap"):
            self.assertIn(feature, features)

    def test_version(self):
        self.assertRegex(callgate("--version").stdout, r"^callgate \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    unittest.main()
