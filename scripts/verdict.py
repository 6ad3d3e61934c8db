#!/usr/bin/env python3
"""The last lines of test.sh: verdict.py RESULTS.xml, the JUnit file that CTest wrote.

Counts test cases where a doctest or unittest program tells them, and one for every other test. Exit status 0 only if none failed.
"""
import re
import sys
import xml.etree.ElementTree

# Doctest's own summary line, and unittest's, at the end of a program's output.
DOCTEST = re.compile(r"\[doctest\] test cases: *(\d+) \| *(\d+) passed \| *(\d+) failed")
UNITTEST = re.compile(r"^Ran (\d+) tests? in .*\s+(?:OK|FAILED)(?: \((.*)\))?$", re.MULTILINE)
SKIPPED = re.compile(r"^skipped: .*", re.MULTILINE)


def cases(output):
    """(passed, failed, skipped) as the program itself tells, or None."""
    if found := DOCTEST.search(output):
        return int(found.group(2)), int(found.group(3)), 0
    if found := UNITTEST.search(output):
        count = {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", found.group(2) or "")}
        failed = count.get("failures", 0) + count.get("errors", 0)
        skipped = count.get("skipped", 0)
        return int(found.group(1)) - failed - skipped, failed, skipped
    return None


def main():
    try:
        tests = list(xml.etree.ElementTree.parse(sys.argv[1]).getroot().iter("testcase"))
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        print(f"verdict.py: no results: {error}")
        print("0 passed, 1 failed")
        return 1
    passed = failed = skipped = 0
    for test in tests:
        output = test.findtext("system-out") or ""
        status = test.get("status")
        good = status == "run" and test.find("failure") is None
        for line in SKIPPED.findall(output):
            print(f"{test.get('name')}: {line}")
        if status in ("notrun", "disabled") or test.find("skipped") is not None:
            skipped += 1
            print(f"{test.get('name')}: skipped")
            continue
        counted = cases(output) or (1 if good else 0, 0 if good else 1, 0)
        passed += counted[0]
        failed += counted[1]
        skipped += counted[2]
        if not good:
            # A program that crashed has told no failure; it is one all the same.
            failed += 0 if counted[1] else 1
            print(f"{test.get('name')}: FAILED")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
