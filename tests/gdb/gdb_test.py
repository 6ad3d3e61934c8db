#!/usr/bin/env python3
"""Sessions of a real GDB. What it prints is compared with a transcript that people have read; both engines must give the same.
`gdb_test.py --update` writes the transcripts anew."""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from support import CACHE, CALLGATE, SLOWDOWN, callgate, hashes, x86_tool

GDB = os.environ.get("CALLGATE_GDB") or shutil.which("gdb") or shutil.which("gdb-multiarch")
LLDB = shutil.which("lldb")
UPDATE = "--update" in sys.argv


def modes():
    """The bare-metal kernel: what boots, and the same with symbols for 64 bits."""
    tools = [x86_tool(name) for name in ("as", "ld", "objcopy")]
    if not all(tools):
        raise unittest.SkipTest("no x86 assembler (the package binutils-x86-64-linux-gnu has one)")
    assembler, linker, objcopy = tools
    made, elf, boot = FOLDER / "modes.o", FOLDER / "modes.elf", FOLDER / "modes.boot"
    subprocess.run([assembler, "--64", "-o", made, HERE / "modes.S"], check=True)
    subprocess.run([linker, "-m", "elf_x86_64", "-z", "max-page-size=4096", "--no-warn-rwx-segments", "-T", HERE / "modes.ld",
                    "-o", elf, made], check=True)
    subprocess.run([objcopy, "-O", "elf32-i386", elf, boot], check=True)
    return elf, boot


class Debugged:
    """callgate with a debugger's socket."""

    def __init__(self, *arguments, view="x86-64"):
        self.socket = FOLDER / f"socket{time.monotonic_ns()}"
        self.process = subprocess.Popen([CALLGATE, *map(str, arguments), "--gdb", f"unix:{self.socket},view={view}", "-S"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        deadline = time.monotonic() + 60 * SLOWDOWN
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("callgate does not listen: " + self.process.stderr.read())
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def session(self, commands, elf=None, architecture="i386:x86-64"):
        """Types the commands into GDB: everything that it printed, with the commands."""
        script = FOLDER / "session.gdb"
        start = ["set width 0", "set height 0", "set confirm off", "set style enabled off", f"set architecture {architecture}", "set osabi none",
                 "set trace-commands on"]
        lines = [line.replace("SOCKET", str(self.socket)).replace("ELF", str(elf)) for line in commands]
        script.write_text("\n".join(start + lines) + "\n")
        run = subprocess.run([GDB, "-nx", "-q", "-batch", *(["-ex", f"file {elf}"] if elf else []), "-x", script],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", timeout=800 * SLOWDOWN)
        # How long a search takes is the host's business.
        text = re.sub(r"callgate: at count .*\n", "", run.stdout)
        return text.replace(str(self.socket), "SOCKET").replace(str(FOLDER), "FOLDER")


@unittest.skipUnless(GDB, "there is no gdb (scripts/install-deps.sh installs it)")
class Sessions(unittest.TestCase):
    maxDiff = None

    def transcript(self, name, text):
        expected = HERE / f"{name}.expected"
        if UPDATE:
            expected.write_text(text)
        version = subprocess.run([GDB, "--version"], stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]
        if not re.search(r"\) 13\.|\b13\.\d", version):
            self.skipTest(f"the transcripts are of GDB 13, this is {version}")
        self.assertEqual(text, expected.read_text())

    def test_every_mode_of_the_processor_forward_and_back(self):
        elf, boot = modes()
        commands = [line for line in (HERE / "modes.gdb").read_text().splitlines() if line and not line.startswith("#")]
        for engine in ("interp", "jit"):
            with self.subTest(engine), Debugged("run", "--kernel", boot, "--engine", engine, "-m", "16M") as machine:
                text = machine.session(commands, elf)
                text = re.sub(r", \d+ checkpoints, \d+ MiB", ", some checkpoints", text)
                self.transcript("modes", text)

    def test_real_mode_with_linear_addresses(self):
        _, boot = modes()
        commands = ["target remote SOCKET", "break real16", "continue", "p/x $cs", "x/4i $pc", "stepi 5", "break real_function",
                    "continue", "p $pc", "p $sp", "x/1hx $sp", "stepi 2", "p/x *(short *) &real_word", "reverse-stepi", "p $pc",
                    "monitor registers", "kill"]
        with Debugged("run", "--kernel", boot, "-m", "16M", view="i8086") as machine:
            self.transcript("real", machine.session(commands, boot, architecture="i8086"))

    def test_a_debugger_changes_no_hash(self):
        elf, boot = modes()
        plain = callgate("run", "--kernel", boot, "-m", "16M", "--hash-every", 500)
        commands = ["target remote SOCKET", "break *(0xffff800000000000 + (long) &work)", "watch *(int *) &counter", "continue",
                    "info registers all", "x/64xb $rsp", "continue", "stepi 20", "info all-registers", "delete", "continue", "kill"]
        with Debugged("run", "--kernel", boot, "-m", "16M", "--hash-every", 500) as machine:
            machine.session(commands, elf)
            _, errors = machine.process.communicate(timeout=60 * SLOWDOWN)
        want = hashes(plain.stderr)
        self.assertGreater(len(want), 2)
        got = hashes(errors)
        self.assertGreater(len(set(got) & set(want)), 2)
        self.assertEqual({n: got[n] for n in got if n in want}, {n: want[n] for n in got if n in want})


@unittest.skipUnless(GDB, "there is no gdb (scripts/install-deps.sh installs it)")
class Recorded(unittest.TestCase):
    def test_a_run_with_a_debugger_that_goes_back_and_writes_replays(self):
        elf, boot = modes()
        recording = FOLDER / "debugged.rec"
        commands = ["target remote SOCKET", "break *(0xffff800000000000 + (long) &work)", "continue", "continue", "set var $edi = 3",
                    "stepi 7", "monitor when", "reverse-stepi", "set var *(int *) 0xffff800000200000 = 77", "continue",
                    "reverse-continue", "x/dw 0xffff800000200000", "delete", "continue", "x/dw 0xffff800000200000", "kill"]
        with Debugged("run", "--kernel", boot, "-m", "16M", "--record", recording, "--bundle") as machine:
            text = machine.session(commands, elf)
            machine.process.communicate(timeout=60 * SLOWDOWN)
        self.assertRegex(text, r"(?s):\t0\n.*:\t77\n")  # before the write, and at the end
        for engine in ("interp", "jit"):
            again = callgate("replay", recording, "--engine", engine, "--serial", "none")
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertIn("the replay matched", again.stderr)
        self.assertRegex(callgate("info", recording).stdout, r"changes +\d+ by a debugger")
        # What is recorded can be debugged again, and holds what was written.
        commands = ["target remote SOCKET", "continue",
                    "x/dw 0xffff800000200000", "kill"]
        with Debugged("replay", recording, "--serial", "none") as machine:
            self.assertRegex(machine.session(commands, elf), r":\t77\n")

    def test_without_history_it_is_refused(self):
        _, boot = modes()
        run = callgate("run", "--kernel", boot, "--gdb", "0", "--history", "0", "--record", FOLDER / "refused.rec")
        self.assertEqual(run.returncode, 2)
        self.assertIn("--history 0", run.stderr)
        self.assertFalse((FOLDER / "refused.rec").exists())


@unittest.skipUnless(LLDB, "there is no lldb (the package lldb has it)")
class Lldb(unittest.TestCase):
    """How far LLDB goes: docs/debugging.md says it, too."""

    def session(self, *commands):
        elf, boot = modes()
        run = subprocess.Popen([CALLGATE, "run", "--kernel", boot, "-m", "16M", "--gdb", "0", "-S"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            port = re.search(r"127\.0\.0\.1:(\d+)$", run.stderr.readline()).group(1)
            script = FOLDER / "session.lldb"
            script.write_text("\n".join(["settings set auto-confirm true", f"target create {elf}", f"gdb-remote 127.0.0.1:{port}",
                                         f"target modules load -f {elf.name} -s 0xffff800000000000", *commands, "process kill", "quit"]) + "\n")
            lldb = subprocess.run([LLDB, "--no-lldbinit", "--no-use-colors", "-s", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", timeout=120 * SLOWDOWN)
            run.wait(60 * SLOWDOWN)
            return lldb.stdout
        finally:
            run.kill()
            run.communicate()

    def test_registers_memory_stops_steps_and_symbols(self):
        text = self.session("register read rip cr0", "breakpoint set -n work", "continue", "register read rip efer cs_attr", "thread backtrace",
                            "stepi", "register read rip", "memory read -s 1 -c 4 0xffff800000100000", "register write rbx 0x1234",
                            "register read rbx", "memory write -s 1 0xffff800000200000 0x5a", "memory read -s 1 -c 1 0xffff800000200000",
                            "breakpoint delete 1", "watchpoint set expression -w write -s 4 -- (int*)&total", "continue", "expression -- $rip > 5",
                            "memory region 0x100000", "process plugin packet monitor when", "thread list")
        for pattern in (r"rip = 0x0000000000100000 .*\n +cr0 = 0x0000000000000011", r"stop reason = breakpoint 1\.1",
                        r"rip = 0xffff800000100[0-9a-f]{3}  modes\.elf`work\n +efer = 0x0000000000000500\n +cs_attr = 0x0000a09b",
                        r"frame #1: 0xffff8000001000[0-9a-f]{2} modes\.elf`loop64", r"stop reason = instruction step into",
                        r"0xffff800000100000: bc 00 53 10", r"rbx = 0x0000000000001234", r"0xffff800000200000: 5a",
                        r"stop reason = watchpoint 1", r"= true", r"\[0x0000000000100000-0x00000000[0-9a-f]{8}\) rwx", r"count \d+, guest time",
                        r"\* thread #1: tid = 0x0001", r"Process 1 exited with status = 9"):
            self.assertRegex(text, pattern)


class Wire:
    """The protocol by hand, on TCP."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60 * SLOWDOWN)
        self.bytes = b""

    def ask(self, packet):
        self.socket.sendall(b"$%s#%02x" % (packet, sum(packet) & 255))
        return self.answer()

    def answer(self):
        while not (found := re.search(rb"\$([^#]*)#..", self.bytes)):
            got = self.socket.recv(65536)
            if not got:
                return None
            self.bytes += got
        self.bytes = self.bytes[found.end():]
        self.socket.sendall(b"+")
        return found.group(1)

    def close(self):
        self.socket.close()


class Connections(unittest.TestCase):
    def test_debuggers_come_and_go(self):
        _, boot = modes()
        run = subprocess.Popen([CALLGATE, "run", "--kernel", boot, "-m", "16M", "--gdb", "0", "-S"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            port = int(re.search(r"target remote 127\.0\.0\.1:(\d+)$", run.stderr.readline()).group(1))
            first = Wire(port)
            self.assertTrue(first.ask(b"?").startswith(b"T05"))
            self.assertEqual(first.ask(b"Z0,100000,1"), b"OK")
            second = Wire(port)
            time.sleep(0.2)
            self.assertEqual(first.ask(b"qC"), b"QC1")  # the first one is served, the second one sent away
            first.socket.sendall(b"\x00\xff$" + b"z" * 100000 + b"#00$m0,#zz+++")
            self.assertEqual(first.ask(b"vCont;s:1")[:3], b"T05")
            first.close()
            second.close()
            third = Wire(port)
            self.assertTrue(third.ask(b"?").startswith(b"T05"))
            third.socket.sendall(b"$c#63")  # runs to the guest's own break
            self.assertEqual(third.answer()[:3], b"T05")
            self.assertEqual(third.ask(b"D"), b"OK")
            third.close()
            self.assertEqual(run.wait(60 * SLOWDOWN), 0)
        finally:
            run.kill()
            run.communicate()

    def test_what_is_no_place_to_listen_is_refused_in_a_sentence(self):
        _, boot = modes()
        for where in ("", "x", "99999", "1234,view=arm", "unix:/nowhere/at/all"):
            run = callgate("run", "--kernel", boot, "--gdb", where)
            self.assertIn(run.returncode, (2, 12), where)
            self.assertRegex(run.stderr, r"^callgate: [^\n]*\n$")


@unittest.skipUnless(GDB, "there is no gdb (scripts/install-deps.sh installs it)")
class DebianKernel(unittest.TestCase):
    """A distribution's kernel, without symbols: from its first instruction to user space, and back."""

    def test_from_the_first_instruction_to_user_space_and_back(self):
        kernel, initrd = CACHE / "kernels/cloud/vmlinuz", CACHE / "demo-initrd.img"
        if not kernel.exists() or not initrd.exists():
            self.skipTest("no kernel in the cache (scripts/fetch-guests.sh fetches it)")
        commands = [
            "target remote SOCKET", "p $efer", "stepi 3", "monitor when", "monitor find-kernel", "monitor goto 900000000",
            "maintenance flush register-cache", "monitor find-kernel",
            # The first system call of the first process.
            "hbreak *$lstar", "continue", "p $cpl", "p/x $rcx", "reverse-stepi", "p $cpl", "x/i $pc", "stepi", "p/x $rip - $lstar",
            "reverse-stepi", "p/x $rcx", "monitor mark user", "monitor last-write $rsp", "delete", "monitor goto 0",
            "maintenance flush register-cache", "monitor when", "monitor goto user", "maintenance flush register-cache", "x/i $pc",
            "kill"]
        with Debugged("run", "--kernel", kernel, "--initrd", initrd, "--append", "console=ttyS0", "--serial", "none", "--linux-entry",
                      "64bit") as machine:
            text = machine.session(commands)
        self.assertIn("count 3,", text)
        self.assertRegex(text, r"Linux version \d+\.\d+")
        offset = re.search(r"KASLR offset (0x[0-9a-f]+)\ntype: symbol-file -o \1 vmlinux", text)
        self.assertTrue(offset, text)
        self.assertEqual(int(offset.group(1), 16) % (2 << 20), 0)
        self.assertNotEqual(int(offset.group(1), 16), 0)
        # At the entry of the first system call; before it, the SYSCALL in ring 3 whose next instruction RCX has.
        self.assertRegex(text, r"(?s)\+p \$cpl\n\$\d+ = 0\n.*\+reverse-stepi.*\+p \$cpl\n\$\d+ = 3\n\+x/i \$pc\n=> 0x[0-9a-f]+:\tsyscall")
        self.assertRegex(text, r"\+p/x \$rip - \$lstar\n\$\d+ = 0x0\n")
        self.assertRegex(text, r"was last written by the instruction that ends at count \d+|nobody wrote")
        self.assertRegex(text, r"count 0, guest time 0")
        self.assertRegex(text, r"(?s)\+monitor goto user.*\+x/i \$pc\n=> 0x[0-9a-f]+:\tsyscall")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="callgate-gdb-") as folder:
        FOLDER = pathlib.Path(folder)
        unittest.main(argv=[a for a in sys.argv if a != "--update"])
