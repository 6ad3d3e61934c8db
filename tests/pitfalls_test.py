#!/usr/bin/env python3
"""docs/pitfalls.md names a test for each rule that emulators get wrong: each of them exists in the file that is named."""
import pathlib
import re
import unittest

REPO = pathlib.Path(__file__).resolve().parent.parent
ROW = re.compile(r'^\| (.+?) \| (\S+): "(.+)" \|$')
TEST_NAME = re.compile(r'TEST_CASE(?:_FIXTURE\s*\(\s*\w+\s*,|\s*\()\s*"((?:[^"\\]|\\.)*)"')


def rows():
    """The lines of the tables, without their heads."""
    lines = (REPO / "docs" / "pitfalls.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("|") and line not in ("| pitfall | test |", "|---|---|")]


class Pitfalls(unittest.TestCase):
    def test_every_row_names_a_test(self):
        self.assertEqual([line for line in rows() if not ROW.match(line)], [])
        self.assertGreater(len(rows()), 80)

    def test_every_named_test_exists(self):
        missing = []
        for _, path, name in (ROW.match(line).groups() for line in rows()):
            file = REPO / path
            if not file.is_file():
                missing.append(f"{path} doesn't exist")
            elif name not in TEST_NAME.findall(file.read_text(encoding="utf-8")):
                missing.append(f'{path} has no test "{name}"')
        self.assertEqual(missing, [])

    def test_no_pitfall_is_named_twice(self):
        tests = [ROW.match(line).groups()[1:] for line in rows()]
        self.assertEqual([test for test in set(tests) if tests.count(test) > 1], [])


if __name__ == "__main__":
    unittest.main()
