#!/usr/bin/env python3
"""callgate on a terminal: raw while it runs, given back as it was however it ends, and the keys behind Ctrl-A."""
import pathlib
import signal
import sys
import termios
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from support import POWER_OFF, TRIPLE_FAULT, Guests, Terminal

guests = Guests()
CTRL_A = b"\x01"
LOCAL_FLAGS = 3  # termios's list: iflag, oflag, cflag, lflag, ...


class Ends(unittest.TestCase):
    def run_guest(self, name, *arguments):
        return Terminal("run", "--kernel", guests[name], *arguments)

    def given_back(self, terminal):
        self.assertEqual(terminal.attributes(), terminal.before)

    def test_the_terminal_is_raw_while_the_guest_runs(self):
        with self.run_guest("spin") as t:
            t.wait_for(b">")
            self.assertFalse(t.attributes()[LOCAL_FLAGS] & (termios.ICANON | termios.ECHO | termios.ISIG))

    def test_the_user_s_end(self):
        for name in ("spin", "echo"):
            with self.run_guest(name) as t:
                t.wait_for(b">")
                t.type(CTRL_A + b"x")
                self.assertEqual(t.end(), POWER_OFF)
                self.given_back(t)

    def test_the_guest_s_end(self):
        with self.run_guest("echo") as t:
            t.wait_for(b">")
            t.type(b"q")
            self.assertEqual(t.end(), POWER_OFF)
            self.given_back(t)

    def test_a_triple_fault(self):
        with self.run_guest("triple_fault") as t:
            self.assertEqual(t.end(), TRIPLE_FAULT)
            self.given_back(t)
            # Printed after the terminal was given back, or with carriage returns of its own.
            t.wait_for(b"data segment 0x28 has DPL 0 < CPL 3\r\n")

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS,
                       signal.SIGFPE, signal.SIGILL, signal.SIGPIPE, signal.SIGALRM, signal.SIGUSR1, signal.SIGXCPU):
            with self.subTest(signal=number.name), self.run_guest("spin") as t:
                t.wait_for(b">")
                t.signal(number)
                self.assertEqual(t.end(), -number)
                self.given_back(t)

    def test_a_stop_gives_the_terminal_back_until_the_run_goes_on(self):
        with self.run_guest("echo") as t:
            t.wait_for(b">")
            raw = t.attributes()
            t.signal(signal.SIGTSTP)
            deadline = time.monotonic() + 10
            while t.attributes() != t.before and time.monotonic() < deadline:
                time.sleep(0.02)
            self.given_back(t)
            t.signal(signal.SIGCONT)
            while t.attributes() != raw and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertEqual(t.attributes(), raw)
            t.type(b"q")
            self.assertEqual(t.end(), POWER_OFF)
            self.given_back(t)


class Keys(unittest.TestCase):
    def test_keys_reach_the_guest_as_they_are(self):
        with Terminal("run", "--kernel", guests["echo"]) as t:
            t.wait_for(b">")
            for key in (b"a", b"\r", b"\x03", b"\x04", b"\x1a", b"\x1b", b"\x7f", b"\xff"):
                t.type(key)
                t.wait_for(b"[" + key + b"]")

    def test_help(self):
        with Terminal("run", "--kernel", guests["echo"]) as t:
            t.wait_for(b">")
            t.type(CTRL_A + b"h")
            t.wait_for(b"Ctrl-A x   end the run\r\n")

    def test_where(self):
        with Terminal("run", "--kernel", guests["spin"]) as t:
            t.wait_for(b">")
            t.type(CTRL_A + b"i")
            t.wait_for(b"rip 0x1000")

    def test_a_literal_ctrl_a(self):
        with Terminal("run", "--kernel", guests["echo"]) as t:
            t.wait_for(b">")
            t.type(CTRL_A + b"a")
            t.wait_for(b"[\x01]")
            t.type(CTRL_A + CTRL_A + b"b")
            t.wait_for(b"[b]")
            self.assertEqual(t.text.count(b"[\x01]"), 2)


if __name__ == "__main__":
    unittest.main()
