#!/usr/bin/env python3
"""Every fault in cpu/ tells its reason by a format string: each placeholder has its argument, and each argument is shown."""
import pathlib
import re
import unittest

REPO = pathlib.Path(__file__).resolve().parent.parent
# What raises: how many arguments come before the reason, and how many the function gives to the reason itself.
RAISERS = {
    "raise": (2, 0),
    "raise_plain": (1, 0),
    "raise_segment": (1, 0),
    "raise_debug_fault": (2, 0),
    "fault_if": (2, 0),
    "divide_accumulator": (2, 0),
    "check_umip": (1, 1),
    "controlled_flag": (1, 2),
    "Reason": (0, 0),
}
CALL = re.compile(r"\b(" + "|".join(RAISERS) + r")\s*[({]")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
PLACEHOLDER = re.compile(r"\{(\d)(?::([^}]*))?\}")
PRESENTATION = re.compile(r"^(v|r|t|#x|#b|d|c|0\d+x|#0\d+x)?$")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
MOST_ARGUMENTS = 3


def arguments(code, start):
    """The arguments of a call whose bracket opens before `start`, split at the top level."""
    depth, text, parts, at = 1, False, [""], start
    while depth > 0:
        c = code[at]
        if c == "\\" and text:
            parts[-1] += c
            at += 1
            c = code[at]
        elif c == '"':
            text = not text
        elif not text:
            depth += (c in "([{") - (c in ")]}")
            if depth == 0:
                break
            if c == "," and depth == 1:
                parts.append("")
                at += 1
                continue
        parts[-1] += c
        at += 1
    return [part.strip() for part in parts]


def reasons_in(code):
    """(reason, number of its arguments) of each call that has a literal reason."""
    for call in CALL.finditer(code):
        before, implicit = RAISERS[call.group(1)]
        parts = arguments(code, call.end())
        if len(parts) <= before or '"' not in parts[before]:
            continue  # a declaration, or a reason that a caller gave
        given = parts[before + 1:]
        if call.group(1) == "Reason":
            given = arguments(given[0], 1) if given else []
        # A choice of two literals is two reasons; adjacent literals are one.
        for choice in parts[before].split(" : ") if "?" in LITERAL.sub("", parts[before]) else [parts[before]]:
            yield "".join(LITERAL.findall(choice)), implicit + len(given)


def wrong(reason, given):
    """What is wrong with a reason, or an empty string."""
    used = {int(number) for number, _ in PLACEHOLDER.findall(reason)}
    if re.search(r"[{}]", PLACEHOLDER.sub("", reason)):
        return "a bracket that belongs to no placeholder"
    if not all(PRESENTATION.match(form or "") for _, form in PLACEHOLDER.findall(reason)):
        return "an unknown presentation"
    if given > MOST_ARGUMENTS:
        return "more than three arguments"
    if used != set(range(given)):
        return f"{given} arguments, but it shows {sorted(used)}"
    return ""


class Reasons(unittest.TestCase):
    def test_every_reason_shows_what_it_is_given(self):
        found, bad = 0, []
        for path in sorted((REPO / "cpu").rglob("*")):
            if path.suffix not in (".h", ".cpp") or path.name.endswith("_test.cpp"):
                continue
            code = COMMENT.sub("", path.read_text(encoding="utf-8"))
            for reason, given in reasons_in(code):
                found += 1
                if problem := wrong(reason, given):
                    bad.append(f'{path.relative_to(REPO)}: "{reason}": {problem}')
        self.assertEqual(bad, [])
        self.assertGreater(found, 150)

    def test_the_check_sees_what_it_forbids(self):
        self.assertEqual(list(reasons_in('raise(Vector::GP, f(1, 2), "a {0} b {1:#x}", x, g(y, z));')), [("a {0} b {1:#x}", 2)])
        self.assertEqual(list(reasons_in('raise_segment(seg, c ? "a {0}" : "b", x);')), [("a {0}", 1), ("b", 1)])
        self.assertEqual(list(reasons_in('Reason{"{0:v}", {a, b}}')), [("{0:v}", 2)])
        self.assertEqual(wrong("a {0} b {1:#x}", 2), "")
        for reason, given in (("{0}", 0), ("{1}", 1), ("none", 1), ("{0:q}", 1), ("{}", 1), ("{0}{1}{2}{3}", 4)):
            self.assertNotEqual(wrong(reason, given), "", reason)


if __name__ == "__main__":
    unittest.main()
