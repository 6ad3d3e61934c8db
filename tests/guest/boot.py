#!/usr/bin/env python3
"""Debian's cloud kernel, unmodified, boots to the shell, answers and powers off: as a user types it. (The amd64 kernel boots
in selftests.py.) Both ways into a bzImage: PVH after unpacking on the host, and the 64-bit entry."""
import subprocess
import unittest

from guest import CACHE, CALLGATE, REPO, SLOWDOWN, kernel


class Boot(unittest.TestCase):
    def boot(self, *options, checks=()):
        initrd = CACHE / "demo-initrd.img"
        if not initrd.exists():
            self.skipTest("no initrd in the cache (scripts/make-initrd.sh cache/demo-initrd.img)")
        run = subprocess.run([REPO / "scripts/smoke.py", "--timeout", str(300 * SLOWDOWN), *(word for check in checks for word in ("--type", check)), "--",
                              CALLGATE, "run", "--kernel", kernel("cloud"), "--initrd", initrd, "--append", "console=ttyS0 panic=-1",
                              "-m", "512M", "-no-reboot", *options],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(run.returncode, 0, run.stdout)

    def test_the_shell_answers_and_the_machine_powers_off(self):
        self.boot(checks=["cat /proc/interrupts => ttyS0", "cat /sys/devices/system/clocksource/clocksource0/current_clocksource => tsc",
                          r"dmesg | grep -cE 'BUG:|WARNING:|Oops|unchecked MSR|Firmware Bug' => \n0\n"])

    def test_two_processors_by_the_64_bit_entry(self):
        self.boot("-smp", "2", "--linux-entry", "64bit", checks=[r"grep -c ^processor /proc/cpuinfo => \n2\n"])


if __name__ == "__main__":
    unittest.main()
