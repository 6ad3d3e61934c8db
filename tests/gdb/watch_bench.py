#!/usr/bin/env python3
"""What watchpoints cost: boots Debian's cloud kernel under the stub up to a count, with a watchpoint on pages of several kinds,
and tells the processor time of the stretch beside that without one. Then the worst case: a loop that does nothing but write to the
watched page.
  watch_bench.py [FROM [TO]]       counts of instructions (default: 800 and 1200 million)"""
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from gdb_test import Wire
from support import CACHE, CALLGATE

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def monitor(wire, line):
    wire.socket.sendall(b"$%s#%02x" % (p := b"qRcmd," + line.encode().hex().encode(), sum(p) & 255))
    text = ""
    while (answer := wire.answer()) != b"OK":
        text += bytes.fromhex(answer[1:].decode()).decode()
    return text


def register(wire, name, names):
    return int.from_bytes(bytes.fromhex(wire.ask(b"p%x" % names.index(name)).decode()), "little")


def names_of(wire):
    text, at = "", 0
    while True:
        part = wire.ask(b"qXfer:features:read:target.xml:%x,4000" % at)
        part = re.sub(rb"}(.)", lambda m: bytes([m.group(1)[0] ^ 0x20]), part, flags=re.S)
        text += part[1:].decode()
        at += len(part) - 1
        if part[:1] == b"l":
            return re.findall(r'<reg name="(\w+)"', text)


BOOT = ["--kernel", CACHE / "kernels/cloud/vmlinuz", "--initrd", CACHE / "demo-initrd.img", "--append", "console=ttyS0 panic=-1 quiet"]


def loop_kernel(folder):
    """A Multiboot kernel: mov ecx, 10000000; again: inc dword [0x300000]; dec ecx; jnz again; then it powers off."""
    code = bytes.fromhex("b980969800 ff0500003000 49 75f7 66ba0406 66b80020 66ef ebfe")
    words = [0x1BADB002, 1 << 16, -(0x1BADB002 + (1 << 16)) & 0xFFFFFFFF, 0x100000, 0x100000, 0, 0, 0x100020]
    path = pathlib.Path(folder) / "loop"
    path.write_bytes(struct.pack("<8I", *words) + code)
    return ["--kernel", path]


def run(what, start, end, guest=BOOT):
    """Processor seconds from `start` to `end`, and the number of stops."""
    run = subprocess.Popen([CALLGATE, "run", *guest, "--serial", "none", "--gdb", "0", "-S", "--until", str(end)],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wire = Wire(int(re.search(r"127\.0\.0\.1:(\d+)$", run.stderr.readline()).group(1)))
    monitor(wire, f"goto {start}")
    names = names_of(wire)
    stack, per_cpu = register(wire, "rsp", names), register(wire, "gs_base", names) or register(wire, "k_gs_base", names)
    place = {"nothing": None, "a page that nobody uses": 0xFFFF_8880_0000_0008, "the stack's page": (stack & ~0xFFF) + 8,
             "the processor's own page": (per_cpu & ~0xFFF) + 0x18, "the page of the loop's counter": 0x300800}[what]
    if place is not None:
        wire.ask(b"Z2,%x,1" % place)
    before, stops = cpu_seconds(run.pid), 0
    began = time.monotonic()
    wire.socket.sendall(b"$c#63")
    after = before
    while True:
        answer = wire.answer()
        if answer is None or answer[:1] in (b"W", b"X"):
            break
        stops += 1
        wire.socket.sendall(b"$c#63")
    run.stderr.read()
    _, _, usage = os.wait4(run.pid, 0)
    run.returncode = 0
    return usage.ru_utime + usage.ru_stime - before, stops, time.monotonic() - began


if __name__ == "__main__":
    start, end = (int(sys.argv[i + 1]) if len(sys.argv) > i + 1 else (800_000_000, 1_200_000_000)[i] for i in range(2))
    with tempfile.TemporaryDirectory() as folder:
        for title, guest, places, first, last in (
                (f"A boot, from count {start} to {end}", BOOT, ("nothing", "a page that nobody uses", "the stack's page", "the processor's own page"), start, end),
                ("A loop of writes", loop_kernel(folder), ("nothing", "the page of the loop's counter"), 1000, 10**10)):
            print(title)
            plain = None
            for what in places:
                seconds, stops, wall = min(run(what, first, last, guest) for _ in range(3))
                plain = plain or seconds
                print(f"  {what:32} {seconds:6.2f} s   {seconds / plain:5.2f} times   {stops} stops   ({wall:.2f} s by the clock)")
