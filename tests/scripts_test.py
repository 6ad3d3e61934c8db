#!/usr/bin/env python3
"""The scripts that people and CI run: what they make is reproducible, and what goes wrong is told in words."""
import os
import pathlib
import subprocess
import tempfile
import unittest

REPO = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = REPO / "scripts"


def run(*command, **options):
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, **options)


class Initrd(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.at = pathlib.Path(self.folder.name)
        (self.at / "tool").write_bytes(b"\x7fELF and so on")
        (self.at / "tool").chmod(0o755)
        (self.at / "text").write_text("hello")

    def pack(self, *arguments):
        return run(SCRIPTS / "pack_initrd.py", *arguments)

    def test_the_same_files_give_the_same_bytes_at_another_time_and_in_another_order(self):
        first = self.pack(self.at / "a", f"{self.at}/tool=/bin/tool", f"{self.at}/text=/etc/text")
        os.utime(self.at / "tool", (1, 1))
        (self.at / "text").chmod(0o600)
        second = self.pack(self.at / "b", f"{self.at}/text=/etc/text", f"{self.at}/tool=/bin/tool")
        self.assertEqual((first.returncode, second.returncode), (0, 0))
        self.assertEqual((self.at / "a").read_bytes(), (self.at / "b").read_bytes())

    def test_cpio_reads_the_archive_back(self):
        try:
            run("cpio", "--version")
        except FileNotFoundError:
            self.skipTest("cpio is not installed")
        self.assertEqual(self.pack(self.at / "a", f"{self.at}/tool=/opt/x/tool").returncode, 0)
        listing = run("cpio", "-itv", "-F", self.at / "a").stdout
        for line in ("drwxr-xr-x   2 root     root", "opt/x\n", "-rwxr-xr-x   1 root     root", "opt/x/tool\n",
                     "crw-------   1 root     root", "dev/console\n"):
            self.assertIn(line, listing)

    def test_a_missing_file_is_named_and_nothing_is_written_over(self):
        (self.at / "out").write_text("precious")
        result = self.pack(self.at / "out", "/nowhere/at/all=/x")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("/nowhere/at/all: No such file or directory", result.stderr)
        self.assertEqual((self.at / "out").read_text(), "precious")

    def test_a_place_outside_of_the_archive_is_refused(self):
        self.assertIn("outside of the archive", self.pack(self.at / "out", f"{self.at}/text=/../../x").stderr)


class Smoke(unittest.TestCase):
    """smoke.py against guests that are shell scripts."""

    PROMPT = "printf 'boot...\\r\\ncallgate:/# \\033[6n'; read -r x; "
    ANSWER = "echo 'Linux callgate 6.1.0 #1 SMP x86_64 GNU/Linux'; printf 'callgate:/# '; read -r y; "

    def smoke(self, script, *options):
        return run(SCRIPTS / "smoke.py", "--timeout", "5", *options, "--", "sh", "-c", script)

    def test_a_guest_that_answers_and_ends_is_good(self):
        result = self.smoke(self.PROMPT + self.ANSWER + "[ \"$y\" = 'poweroff -f' ]")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_guest_that_dies_before_its_prompt_is_told_with_its_last_words(self):
        result = self.smoke("echo 'Kernel panic'; exit 3")
        self.assertEqual(result.returncode, 1)
        self.assertIn("ended (exit status 3) before the shell prompt", result.stderr)
        self.assertIn("| Kernel panic", result.stderr)

    def test_an_emulator_killed_by_a_signal_is_told(self):
        self.assertIn("killed by SIGSEGV", self.smoke("kill -SEGV $$").stderr)

    def test_the_echo_of_the_typed_command_is_no_answer(self):
        result = self.smoke(self.PROMPT + "printf 'callgate:/# '; sleep 9", "--timeout", "2")
        self.assertIn("no answer to uname -a after 2 s", result.stderr)

    def test_a_guest_that_does_not_power_off_is_a_failure(self):
        result = self.smoke(self.PROMPT + self.ANSWER + "sleep 9", "--timeout", "2")
        self.assertIn("no end of the emulator after poweroff", result.stderr)

    def test_another_exit_status_after_poweroff_is_a_failure(self):
        self.assertIn("ended with exit status 4", self.smoke(self.PROMPT + self.ANSWER + "exit 4").stderr)


class Verdict(unittest.TestCase):
    def verdict(self, *cases):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write("<testsuite>" + "".join(cases) + "</testsuite>")
            file.flush()
            result = run(SCRIPTS / "verdict.py", file.name)
        return result.stdout.splitlines()[-1], result.returncode

    @staticmethod
    def case(status, output="", inner=""):
        return f'<testcase name="t" status="{status}">{inner}<system-out>{output}</system-out></testcase>'

    def test_doctest_programs_count_by_their_cases(self):
        program = self.case("run", "[doctest] test cases:  12 |  12 passed | 0 failed | 0 skipped")
        self.assertEqual(self.verdict(program, self.case("run")), ("13 passed, 0 failed, 0 skipped", 0))

    def test_unittest_programs_count_by_their_tests(self):
        program = self.case("fail", "Ran 9 tests in 1.5s\n\nFAILED (failures=2, errors=1, skipped=1)", "<failure/>")
        self.assertEqual(self.verdict(program), ("5 passed, 3 failed, 1 skipped", 1))

    def test_failures_are_counted_and_give_the_exit_status(self):
        program = self.case("fail", "[doctest] test cases: 5 | 3 passed | 2 failed | 0 skipped", "<failure/>")
        self.assertEqual(self.verdict(program), ("3 passed, 2 failed, 0 skipped", 1))

    def test_a_program_that_crashed_counts_as_one_failure(self):
        self.assertEqual(self.verdict(self.case("fail", "", "<failure/>"), self.case("run")),
                         ("1 passed, 1 failed, 0 skipped", 1))

    def test_skipped_tests_are_no_passes_and_nothing_passed_is_no_success(self):
        self.assertEqual(self.verdict(self.case("notrun", "", "<skipped/>")), ("0 passed, 0 failed, 1 skipped", 1))

    def test_missing_results_are_a_failure(self):
        result = run(SCRIPTS / "verdict.py", "/nowhere.xml")
        self.assertEqual((result.stdout.splitlines()[-1], result.returncode), ("0 passed, 1 failed", 1))


class Arguments(unittest.TestCase):
    def test_wrong_arguments_get_a_sentence(self):
        for command, words in ((["install-deps.sh", "everything"], "no such group: everything"),
                               (["fetch-kernel.sh", "bsd"], "Give cloud or amd64"),
                               (["make-initrd.sh"], "where to?")):
            result = run(SCRIPTS / command[0], *command[1:])
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(words, result.stderr)


if __name__ == "__main__":
    unittest.main()
