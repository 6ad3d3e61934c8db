#!/usr/bin/env python3
"""Adds cases to a file of goldens: new_goldens.py FILE < CASES, then jit_goldens FOLDER --update for what they become. A case is a
line `name: instruction; instruction; ...` in the GNU assembler's Intel syntax; local labels are `1:`. `name [32-bit]: ...` is
32-bit code."""
import pathlib
import shutil
import subprocess
import sys
import tempfile


def assemble(text, bits):
    """The bytes of code at an address as in the tests, one item an instruction's listing line."""
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder)
        (at / "case.s").write_text(".intel_syntax noprefix\n" + text.replace(";", "\n") + "\n")
        tool = "x86_64-linux-gnu-" if shutil.which("x86_64-linux-gnu-as") else ""
        subprocess.run([tool + "as", f"--{bits}", "-o", at / "case.o", at / "case.s"], check=True)
        subprocess.run([tool + "objcopy", "-O", "binary", "-j", ".text", at / "case.o", at / "case.bin"], check=True)
        return (at / "case.bin").read_bytes()


def main():
    path = pathlib.Path(sys.argv[1])
    text = path.read_text() if path.exists() else ""
    for line in sys.stdin:
        if not line.strip():
            continue
        if line.startswith("#"):
            text += line
            continue
        name, code = line.split(":", 1)
        data = assemble(code.strip(), 32 if "[32-bit]" in name else 64)
        text += f"\n=== {name.strip()}\n  {data.hex(' ')}  \n"
    path.write_text(text)


main()
