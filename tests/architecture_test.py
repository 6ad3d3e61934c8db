#!/usr/bin/env python3
"""The rules of the house that docs/design.md states: includes go downwards only, and nothing below machine/ can see the
host (its clocks, its random numbers, its files, its network). Test programs are free to."""
import pathlib
import re
import unittest

REPO = pathlib.Path(__file__).resolve().parent.parent

# What each folder may include besides itself.
MAY_INCLUDE = {
    "base": set(),
    "mmu": {"base"},
    "devices": {"base"},
    "cpu": {"mmu", "base"},
    "jit": {"cpu", "mmu", "base"},
    "paravirt": {"cpu", "mmu", "devices", "base"},
    "machine": {"jit", "paravirt", "cpu", "devices", "mmu", "base"},
    "frontend": {"machine", "base"},
}
BELOW_MACHINE = ("mmu", "devices", "cpu", "jit", "paravirt")

MOST_LINES = 600

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
# Headers through which a host's time, randomness, files, processes, threads or network can be reached.
HOST_HEADERS = re.compile(
    r"^\s*#\s*include\s+<(chrono|ctime|time\.h|random|fstream|filesystem|thread|mutex|future|fcntl\.h|unistd\.h|dirent\.h|"
    r"sys/(?!mman\.h)[a-z/]+\.h|netinet/.*|arpa/.*|poll\.h|pthread\.h|signal\.h)>", re.MULTILINE)
HOST_CALLS = re.compile(
    r"\b(rand|srand|random|getenv|fopen|gettimeofday|clock_gettime|getrandom|getentropy|__rdtsc|_rdtsc|__builtin_ia32_rdtsc)\s*\(")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def sources(folder, tests=True):
    for path in sorted((REPO / folder).rglob("*")):
        if path.suffix in (".h", ".cpp", ".inc") and (tests or not re.search(r"(_test|_fuzz)\.cpp$|test_.*\.h$", path.name)):
            yield path


def code_of(path):
    return COMMENT.sub("", path.read_text(encoding="utf-8"))


class House(unittest.TestCase):
    def test_includes_go_downwards_only(self):
        wrong = []
        for folder, allowed in MAY_INCLUDE.items():
            for path in sources(folder):
                for included in INCLUDE.findall(path.read_text(encoding="utf-8")):
                    floor = included.split("/")[0]
                    if floor != folder and floor not in allowed:
                        wrong.append(f"{path.relative_to(REPO)} includes {included}")
        self.assertEqual(wrong, [])

    def test_includes_are_written_from_the_root(self):
        wrong = [f"{path.relative_to(REPO)}: {included}" for folder in MAY_INCLUDE for path in sources(folder)
                 for included in INCLUDE.findall(path.read_text(encoding="utf-8")) if not (REPO / included).is_file()]
        self.assertEqual(wrong, [])

    def test_nothing_below_the_machine_can_see_the_host(self):
        wrong = []
        for folder in BELOW_MACHINE:
            for path in sources(folder, tests=False):
                code = code_of(path)
                wrong += [f"{path.relative_to(REPO)}: <{m.group(1)}>" for m in HOST_HEADERS.finditer(code)]
                wrong += [f"{path.relative_to(REPO)}: {m.group(1)}()" for m in HOST_CALLS.finditer(code)]
        self.assertEqual(wrong, [])

    def test_files_stay_readable(self):
        # Tables and tests may be long: they are looked up, not read.
        long = [f"{path.relative_to(REPO)}: {lines} lines" for folder in MAY_INCLUDE for path in sources(folder, tests=False)
                if "table" not in path.parts and (lines := path.read_text(encoding="utf-8").count("\n")) > MOST_LINES]
        self.assertEqual(long, [])

    def test_the_rules_see_what_they_forbid(self):
        self.assertTrue(HOST_HEADERS.search("#include <chrono>\n"))
        self.assertTrue(HOST_HEADERS.search("#include <sys/socket.h>\n"))
        self.assertFalse(HOST_HEADERS.search("#include <sys/mman.h>\n"))
        self.assertTrue(HOST_CALLS.search("x = __rdtsc();"))
        self.assertFalse(HOST_CALLS.search(COMMENT.sub("", "// never calls rand()")))


if __name__ == "__main__":
    unittest.main()
