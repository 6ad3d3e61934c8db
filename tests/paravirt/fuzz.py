#!/usr/bin/env python3
"""fuzz.py [--seeds N] [--first SEED] [--calls N] [--cpus N]: random calls of Callgate's port from inside a guest, for as long as asked. Each
seed runs twice on each engine; all must end well and in the same state. The program is $CALLGATE: give one with sanitizers
(docs/testing.md). Prints the seed that failed and how to run it."""
import argparse
import sys

from support_kernel import GOOD, end, engines, run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=20000)
    parser.add_argument("--cpus", type=int, default=0, help="0: 1 to 4 by turns")
    options = parser.parse_args()
    for seed in range(options.first, options.first + options.seeds):
        cpus = options.cpus or seed % 4 + 1
        append = f"test=fuzz seed={seed} calls={options.calls}"
        states = set()
        for engine in engines() * 2:
            done = run(append, engine, cpus, timeout=600)
            if done.returncode != GOOD:
                print(f'seed {seed}: status {done.returncode} on {engine} (--append "{append} cpus={cpus}" --smp {cpus} --paravirt callgate)')
                print(done.stdout[-1000:] + done.stderr[-3000:])
                return 1
            states.add(end(done))
        if len(states) != 1:
            print(f"seed {seed}, {cpus} processors: the runs differ: {sorted(states)}")
            return 1
        print(f"seed {seed}: {max(states)[0]} instructions", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
