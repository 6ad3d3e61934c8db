#!/usr/bin/env python3
"""Boots a guest without a person: smoke.py [options] -- COMMAND...

Runs COMMAND (an emulator with the guest's console on standard input and output) on a terminal of its own, waits for the
shell's prompt, types `uname -a` and further commands, then `poweroff -f`. Exit status 0 only if the guest answered and
COMMAND then ended by itself with status 0. Anything else gives a sentence and the console's last lines.
"""
import argparse
import os
import pty
import re
import select
import signal
import sys
import time

# Terminal control sequences, among them the cursor query that the guest's shell sends after its prompt.
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Za-z0-9]|\x1b[=>78]|\r")
PROMPT = rb"callgate:[^\n#]*# $"
ANSWER = rb"\nLinux callgate \S+ .*x86_64 GNU/Linux\n"
TAIL_LINES = 25


class Failure(Exception):
    pass


class Console:
    """A command on a pseudo-terminal, what it has printed so far, and how far that has been matched."""

    def __init__(self, command, deadline, echo):
        self.deadline = deadline
        self.echo = echo
        self.raw = b""
        self.matched = 0
        self.status = None
        self.started = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execvp(command[0], command)
            except OSError as error:
                os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(127)

    def text(self):
        return CONTROL.sub(b"", self.raw)

    def read(self, what):
        """More output, or False at its end. Fails at the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Failure(f"no {what} after {time.monotonic() - self.started:.0f} s")
        if not select.select([self.fd], [], [], min(left, 1.0))[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # Linux reports EIO when the last writer of a pseudo-terminal has gone
            data = b""
        self.raw += data
        if self.echo and data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        return bool(data)

    def wait_for(self, pattern, what):
        expression = re.compile(pattern)
        while True:
            found = expression.search(self.text(), self.matched)
            if found:
                self.matched = found.end()
                return found
            if not self.read(what):
                raise Failure(f"the emulator ended ({self.ending()}) before the {what}")

    def type(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def wait_for_end(self):
        while self.read("end of the emulator after poweroff"):
            pass

    def ending(self):
        """How the command ended, in words. Waits for it within the deadline."""
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
            elif time.monotonic() > self.deadline:
                raise Failure("the emulator closed its console but does not end")
            else:
                time.sleep(0.02)
        if os.WIFSIGNALED(self.status):
            return f"killed by {signal.Signals(os.WTERMSIG(self.status)).name}"
        return f"exit status {os.WEXITSTATUS(self.status)}"

    def kill(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def converse(console, commands):
    console.wait_for(PROMPT, "shell prompt")
    print(f"\nsmoke: prompt after {time.monotonic() - console.started:.1f} s", flush=True)
    console.type("uname -a")
    console.wait_for(ANSWER, "answer to uname -a")
    console.wait_for(PROMPT, "prompt after uname -a")
    for command in commands:
        line, _, pattern = command.partition(" => ")
        console.type(line)
        if pattern:
            console.wait_for(pattern.encode(), f"{pattern!r} from {line!r}")
        console.wait_for(PROMPT, f"prompt after {line!r}")
    console.type("poweroff -f")
    console.wait_for_end()
    ending = console.ending()
    if ending != "exit status 0":
        raise Failure(f"after poweroff the emulator ended with {ending}")
    print(f"\nsmoke: the guest answered and powered off after {time.monotonic() - console.started:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for everything together")
    parser.add_argument("--echo", action="store_true", help="show the console")
    parser.add_argument("--type", action="append", default=[], metavar="'LINE => PATTERN'",
                        help="another command to type, and a regular expression that its output must match")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    arguments = parser.parse_args()
    console = Console(arguments.command, time.monotonic() + arguments.timeout, arguments.echo)
    try:
        converse(console, arguments.type)
    except Failure as failure:
        tail = console.text().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
        print(f"\nsmoke: {failure}. The console's last lines:", file=sys.stderr)
        for line in tail or ["(nothing)"]:
            print("  | " + line, file=sys.stderr)
        return 1
    finally:
        console.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
