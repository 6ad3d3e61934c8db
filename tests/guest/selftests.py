#!/usr/bin/env python3
"""Linux's own x86 selftests (scripts/build-selftests.sh) in a guest that runs Debian's amd64 kernel, in one boot.

What passed once must pass again: selftests.expected tells each test's result here and under QEMU, and the cause of each that
does not pass. With --document the results of this run, and of QEMU's (on an idle host: its guests measure time), are written there and to
docs/selftests.md. With --both-engines they run on the translator and on the interpreter (a minute
or two of it), which must end in the same state.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from guest import CACHE, HERE, REPO, command, hashes, initrd, kernel, run, sections

EXPECTED = HERE / "selftests.expected"
DOCUMENT = REPO / "docs/selftests.md"
RANK = {"hang": 0, "fail": 0, "skip": 1, "pass": 2}  # what may not go down
# Two processors, so that the tests that move between them can.
OPTIONS = ["--smp", "2", "--idle", "skip"]


def binaries():
    """The selftests as built."""
    folder = CACHE / "selftests/bin"
    if not folder.is_dir() or not any(folder.iterdir()):
        raise unittest.SkipTest("the selftests are not built (scripts/build-selftests.sh)")
    return sorted(folder.iterdir())


def image(at):
    return initrd(at / "initrd.img", HERE / "selftests.script", [(path, f"/selftests/{path.name}") for path in binaries()])


def result(status, output):
    """pass, fail, hang or skip. Most tests exit with 0 also where they could test nothing."""
    if status == 4:  # KSFT_SKIP
        return "skip"
    if status in (None, 137):  # killed after its time
        return "hang"
    if status != 0 or "[FAIL]" in output:
        return "fail"
    return "skip" if "[SKIP]" in output and "[OK]" not in output else "pass"


def results(text):
    return {name: result(*section) for name, section in sections(text).items()}


def expected():
    """{test: {column: value}} of the committed file."""
    rows = {}
    for line in EXPECTED.read_text().splitlines():
        if line and not line.startswith("#"):
            name, here, qemu_max, qemu64, cause = line.split(None, 4) if len(line.split(None, 4)) == 5 else [*line.split(), ""]
            rows[name] = {"callgate": here, "max": qemu_max, "qemu64": qemu64, "cause": cause}
    return rows


class Selftests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="callgate-selftests-")
        cls.addClassCleanup(folder.cleanup)
        cls.done = run(command(kernel("amd64"), image(pathlib.Path(folder.name)), *OPTIONS, append="guest_timeout=5"), timeout=850)
        cls.results = results(cls.done.stdout)

    def test_the_amd64_kernel_boots_and_powers_off(self):
        self.assertEqual(self.done.returncode, 0, self.done.stdout[-2000:] + self.done.stderr[-2000:])
        self.assertIn("@done", self.done.stdout)

    def test_what_passed_once_passes_again(self):
        worse = []
        for name, row in expected().items():
            now = self.results.get(name, "fail")
            if RANK[now] < RANK[row["callgate"]]:
                status, output = sections(self.done.stdout).get(name, (None, "it did not start"))
                worse.append(f"{name}: {row['callgate']} before, now {now} (status {status})\n{output[-1500:]}")
            elif RANK[now] > RANK[row["callgate"]]:
                print(f"{name}: better than expected: {row['callgate']} before, now {now} (selftests.py --document keeps it)")
        self.assertEqual(worse, [], "\n".join(worse))

    def test_every_test_is_in_the_table(self):
        self.assertEqual(sorted(self.results), sorted(expected()))
        document = DOCUMENT.read_text()
        for name, row in expected().items():
            self.assertIn(f"\n| {name[:-3]} | {name[-2:]} | {row['callgate']} |", document)
            if row["callgate"] != "pass":
                self.assertTrue(row["cause"], f"{name} has no cause")


def on_both_engines():
    """The long run: everything on each engine. 0: no test is worse than the table says, and both machines end in one state."""
    ends, bad = set(), []
    with tempfile.TemporaryDirectory() as folder:
        initrd_file = image(pathlib.Path(folder))
        for engine in ("jit", "interp"):
            print(f"{engine} ...", flush=True)
            done = run(command(kernel("amd64"), initrd_file, *OPTIONS, "--engine", engine, append="guest_timeout=5"), timeout=3600)
            now = results(done.stdout)
            bad += [f"{engine}: {name}: {now.get(name, 'none')}" for name, row in expected().items() if RANK[now.get(name, "fail")] < RANK[row["callgate"]]]
            ends.add(max(hashes(done.stderr).items()))
    print("\n".join(bad) or "all as in the table", f"the states at the end: {sorted(ends)}", sep="\n")
    return 0 if not bad and len(ends) == 1 else 1


def under_qemu(cpu, initrd_file):
    print(f"QEMU, -cpu {cpu} ...", flush=True)
    done = run(["qemu-system-x86_64", "-accel", "tcg", "-cpu", cpu, "-smp", "2", "-m", "512", "-display", "none", "-serial", "stdio",
                "-monitor", "none", "-no-reboot", "-kernel", str(kernel("amd64")), "-initrd", str(initrd_file), "-append",
                "console=ttyS0 panic=-1 quiet guest_timeout=60"], timeout=3600)
    return results(done.stdout)


def write_expected():
    """Runs here and under QEMU, and writes the results down. Causes stay as they are."""
    if not shutil.which("qemu-system-x86_64"):
        sys.exit("selftests.py --document needs qemu-system-x86_64 (the package qemu-system-x86)")
    with tempfile.TemporaryDirectory() as folder:
        initrd_file = image(pathlib.Path(folder))
        print("Callgate ...", flush=True)
        here = results(run(command(kernel("amd64"), initrd_file, *OPTIONS, append="guest_timeout=5"), timeout=1800).stdout)
        qemu = {cpu: under_qemu(cpu, initrd_file) for cpu in ("max", "qemu64")}
    causes = {name: row["cause"] for name, row in expected().items()} if EXPECTED.exists() else {}
    rows = {name: (here[name], qemu["max"].get(name, "none"), qemu["qemu64"].get(name, "none"), causes.get(name, "")) for name in sorted(here)}
    EXPECTED.write_text("# Results of Linux's x86 selftests: test, here, QEMU -cpu max, QEMU -cpu qemu64, cause of what does not pass here.\n"
                        "# Written by selftests.py --document; the causes by hand.\n" +
                        "".join(" ".join(f"{word:<{width}}" for word, width in zip((name, *row), (26, 4, 4, 4, 0))).rstrip() + "\n"
                                for name, row in rows.items()))


def write_document():
    rows = expected()
    package = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "linux-source-6.1"], stdout=subprocess.PIPE, text=True).stdout
    image_name = (CACHE / "kernels/amd64/package").read_text().strip()
    passed = {column: sum(row[column] == "pass" for row in rows.values()) for column in ("callgate", "max", "qemu64")}
    lines = [
        "# Linux's x86 selftests in the guest", "",
        f"The programs of `tools/testing/selftests/x86` in Debian's `linux-source-6.1` ({package}), built by",
        f"`scripts/build-selftests.sh` for 32 and 64 bits, run in a guest with two processors on Debian's kernel `{image_name}`.",
        "`tests/guest/selftests.py` runs them in one boot and fails when one that passed no longer does; `selftests.py --document`",
        "writes this page. QEMU's columns are its TCG with the same kernel and initramfs: they tell what is our fault from what no",
        "processor of such a model can pass. \"skip\": the program found nothing that it could test. \"hang\": it had to be killed.", "",
        f"Of {len(rows)} programs {passed['callgate']} pass here, {passed['max']} under QEMU with `-cpu max`, {passed['qemu64']} with "
        "`-cpu qemu64`.", "",
        "| test | bits | here | QEMU max | QEMU qemu64 | why it does not pass here |", "|---|---|---|---|---|---|"]
    lines += [f"| {name[:-3]} | {name[-2:]} | " + " | ".join(row.values()) + " |" for name, row in rows.items()]
    DOCUMENT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--document"]:
        write_expected()
        write_document()
    elif sys.argv[1:] == ["--both-engines"]:
        sys.exit(on_both_engines())
    else:
        unittest.main()
