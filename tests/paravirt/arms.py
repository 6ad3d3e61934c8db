#!/usr/bin/env python3
"""What cooperation buys a guest, in four arms of the same Debian kernel and the same work:

    A   no paravirtual interface, and a CPUID that says nothing of what makes a kernel quick (--cpu plain)
    B   our usual CPUID
    C   B with an interface that stock kernels speak (one arm for each: KVM's, Hyper-V's)
    D   C with our port and the module guest/linux

    tests/paravirt/arms.py --runs 10 --smp 4 > arms.md

Runs alternate: one of each arm, then again. What is measured is the host's CPU time of the emulator's process between two lines that the
guest prints: the guest's own clock is virtual, and wall time is the neighbours' too. The last workload, idle, has a run of its own which
waits for time to pass (--idle wait), and is CPU time by wall time. Judged against B: more is better, 1.0 is no difference. The
controls should be 1.0 in every arm but A."""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "guest"))
from guest import CALLGATE, REPO, initrd, kernel, program  # noqa: E402
from support_kernel import kernel as port_kernel  # noqa: E402

WORK = {  # name: (what it is, the floor of D against B)
    "boot": ("boot to the first line of /init's work", 1.0),
    "console": ("1 MiB to the console", 20),
    "ldt": ("modify_ldt, one thread", 1.5),
    "ldt_threads": ("modify_ldt, threads on all processors but one", None),
    "pipe": ("a byte to and fro, pipes", None),
    "forkexec": ("fork and exec, an ordinary program", 1.3),
    "forkexec_static": ("fork and exec, a static program", None),
    "fault": ("fresh pages touched", 1.3),
    "flush_threads": ("mprotect, threads on all processors but one", None),
    "lock_threads": ("a kernel spin lock that all want", None),
    "lock_held_threads": ("the same, held for long", None),
    "control_irq": ("control: interrupts off and on (sigprocmask)", None),
    "control_pte": ("control: page tables written (mprotect, one thread)", None),
    "control_lldt": ("control: LLDT (two processes with an LDT take turns)", None),
}
COUNTERS = ("instructions", "interrupts", "faults", "tlb_refills", "entries", "exits_budget", "exits_link", "exits_bail", "exits_done",
            "interpreted", "handler_calls")
CALLS = ("nothing", "probe", "now", "cpuid", "out", "msr")
MARK = re.compile(rb"BENCH-(BEGIN|END) (\w+)")


def arms(stock):
    yield "A", ["--cpu", "plain"], False
    yield "B", [], False
    for name in stock:
        yield f"C {name}", ["--paravirt", name], False
    for name in stock:
        yield f"D {name}", ["--paravirt", f"{name},callgate"], True


def cpu_seconds(pid):
    """CPU time of a process, all threads: its own clock (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


class Bench:
    def __init__(self, folder, options):
        self.at = pathlib.Path(folder)
        self.options = options
        subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", self.at / "workloads", HERE / "workloads.c"], check=True)
        built = subprocess.run([REPO / "guest/linux/build.sh", "cloud"], stdout=subprocess.PIPE, text=True, check=True)
        files = [(self.at / "workloads", "/workloads"), (built.stdout.strip(), "/callgate.ko"),
                 *program(HERE / "program.c", self.at / "program", "/program")]
        self.image = initrd(self.at / "initrd.img", HERE / "arms.script", files)

    def boot(self, arm, module, work, idle, scale):
        """One boot. Seconds of CPU time by workload, the last one's share of the wall's, and the counters."""
        stats = self.at / "stats"
        append = f"console=ttyS0 panic=-1 quiet arms_module={int(module)} arms_scale={scale} arms_work={','.join(work)}"
        if self.options.parameters:
            append += " arms_parameters=" + self.options.parameters.replace(" ", "+")
        run = subprocess.Popen([CALLGATE, "run", "--kernel", kernel("cloud"), "--initrd", self.image, "--append", append, "--mem", "512M",
                                "--smp", str(self.options.smp), "--no-reboot", "--idle", idle, "--stats", stats, *arm],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        errors = []
        reader = threading.Thread(target=lambda: errors.append(run.stderr.read()))
        reader.start()
        begun, seconds, share, kept, text = {"boot": (0.0, time.monotonic())}, {}, 0.0, b"", b""
        while piece := os.read(run.stdout.fileno(), 1 << 20):
            now = cpu_seconds(run.pid), time.monotonic()
            kept, text = kept + piece, (text + piece)[-2000:]
            end = kept.rfind(b"\n") + 1  # whole lines only
            for kind, name in MARK.findall(kept[:end]):
                name = name.decode()
                if kind == b"BEGIN":
                    begun[name] = now
                else:
                    seconds[name] = now[0] - begun[name][0]
                    share = seconds[name] / (now[1] - begun[name][1])
            kept = kept[end:][-1000:]
        run.wait()
        reader.join()
        missing = [name for name in work if name not in seconds]
        if run.returncode != 0 or missing or b"ARMS no module" in text:
            sys.exit(f"arms.py: {' '.join(arm) or 'B'}: no {missing}\n{text.decode(errors='replace')}{errors[0].decode()[-500:]}")
        figures = json.loads(stats.read_text())
        stats.unlink()
        figures.update({f"hook: {hook['kind']}": hook["entered"] for hook in figures.get("hooks", []) if hook["entered"]})
        return seconds, share, figures

    def call_costs(self):
        """Nanoseconds of CPU time for one of each of CALLS, less the loop's, in guest/kernel."""
        count, cost = 4_000_000, {}
        for what in CALLS:
            before = os.times()
            subprocess.run([CALLGATE, "run", "--kernel", str(port_kernel), "--append", f"test=bench what={what} count={count}", "--paravirt",
                            "callgate", "-m", "64M", "--idle", "skip"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            after = os.times()
            spent = after.children_user + after.children_system - before.children_user - before.children_system
            cost[what] = spent / count * 1e9
        return {what: cost[what] - cost["nothing"] for what in CALLS[1:]}


def spread(values, form):
    return f"{format(statistics.median(values), form)} ({format(min(values), form)}..{format(max(values), form)})"


def table(heads, rows):
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def report(options, names, work, seconds, idle, counters, calls):
    print(f"Debian's cloud kernel, {options.smp} processor{'s' * (options.smp > 1)}, {options.runs} runs. Milliseconds of host CPU time: "
          "median (least..most), and B's by it: of the medians, which is what is judged, and of the least ones, which a busy host disturbs "
          "less.\n")
    rows = []
    for name in ["boot", *work]:
        base, best = statistics.median(seconds["B"][name]), min(seconds["B"][name])
        cells = []
        for arm in names:
            mine = [1e3 * s for s in seconds[arm][name]]
            against = "" if arm == "B" else f" **{1e3 * base / statistics.median(mine):.2f}x** / {1e3 * best / min(mine):.2f}x"
            cells.append(spread(mine, ".0f") + against)
        floor = WORK[name][1]
        rows.append([WORK[name][0], *cells, f"{floor}x" if floor else ""])
    if idle["B"]:
        rows.append(["idle: % of a host CPU"] + [spread([100 * s for s in idle[arm]], ".2f") for arm in names] + [""])
    table(["", *names, "floor of D"], rows)
    if calls:
        print("One call, nanoseconds of host CPU time (guest/kernel, one processor):\n")
        table(["", "median (least..most)"], [[what, spread([c[what] for c in calls], ".1f")] for what in CALLS[1:]])
    print("Counters of one run (`--stats`):\n")
    extra = [c for c in dict.fromkeys(c for arm in names for c in counters[arm]) if re.match(r"(kvm|hyperv|callgate)_|hook: ", c)]
    table(["", *names], [[f"`{c}`"] + [f"{counters[arm].get(c, ''):,}" if c in counters[arm] else "" for arm in names]
                         for c in (*COUNTERS, *extra)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--smp", type=int, default=4)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each work")
    parser.add_argument("--stock", default="kvm,hyperv", help="the stock interfaces of arms C and D")
    parser.add_argument("--parameters", default="", help="the module's, as \"hooks=0 ipi=0\"")
    parser.add_argument("--only", default="", help="some of the arms, as A,B,C kvm")
    parser.add_argument("--work", default="", help="some of the workloads")
    parser.add_argument("--no-idle", action="store_true")
    parser.add_argument("--no-calls", action="store_true")
    options = parser.parse_args()
    chosen = [a for a in arms(options.stock.split(",")) if not options.only or a[0] in options.only.split(",") + ["B"]]
    work = [w for w in WORK if w != "boot" and (not options.work or w in options.work.split(","))]
    names = [a[0] for a in chosen]
    seconds = {arm: {w: [] for w in ["boot", *work]} for arm in names}
    idle = {arm: [] for arm in names}
    counters, calls = {}, []
    with tempfile.TemporaryDirectory(prefix="callgate-arms-") as folder:
        bench = Bench(folder, options)
        for n in range(options.runs):
            for arm, arguments, module in chosen:
                print(f"run {n + 1}: {arm}", file=sys.stderr)
                took, _, counters[arm] = bench.boot(arguments, module, work, "skip", options.scale)
                for w in ["boot", *work]:
                    seconds[arm][w].append(took[w])
                if not options.no_idle:
                    idle[arm].append(bench.boot(arguments, module, ["idle"], "wait", 2)[1])
            if not options.no_calls:
                calls.append(bench.call_costs())
    report(options, names, work, seconds, idle, counters, calls)


if __name__ == "__main__":
    main()
