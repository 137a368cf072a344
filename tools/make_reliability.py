"""Fills in what was measured last in the tables of docs/reliability.md.

Usage: make_reliability.py; run by `make reliability`, after `make faults`, `make overload` and `make fuzz`, whose figures lie in build/. A row of
which nothing was measured keeps its figure, and so does a fuzz target that was run for longer than what lies there.

With --check nothing is run or written: each row must name a test that exists, and each test of faults and of overload must have a row.
Run by ctest as `reliability_table_test`.
"""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
MEASURED = ROOT / "build"
SUITES = ("tests/faults/*_test.py", "tests/load/overload_test.py", "tests/load/at_once_test.py")
ROW = re.compile(r"`(test_\w+)`")
TARGET = re.compile(r"^`(\w+)`$")
SEEDS = re.compile(r"^Seeds: .*$", re.MULTILINE)  # the line that says which passed
RUN = re.compile(r"^(\w+) ([\d.]+) ([1-9]\d*) (\d+)$", re.MULTILINE)  # one that tried no input was none


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def named_tests():
    """Of the suites that print figures."""
    return {name for pattern in SUITES for path in ROOT.glob(pattern)
            for name in re.findall(r"^    def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)}


def tables(text):
    """The rows, as lines, of each table whose last column holds figures."""
    header = None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells(line)
        elif header[-1] in ("Last figure", "Edges") and not line.startswith("|---"):
            yield line


def figures():
    """The figures of each row, one for each run."""
    found = collections.defaultdict(list)
    for path in sorted([*MEASURED.glob("faults/*.txt"), *MEASURED.glob("load/*.txt")], key=lambda path: path.stat().st_mtime):
        for name, what in re.findall(r"^(test_\w+): (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            found[name].append(what)
    return found


def fuzzing():
    """Of each target: minutes of a processor, inputs, edges."""
    runs, sums = MEASURED / "fuzz" / "runs.txt", {}
    for target, seconds, inputs, edges in RUN.findall(runs.read_text(encoding="utf-8")) if runs.is_file() else ():
        had = sums.get(target, (0.0, 0, 0))
        sums[target] = had[0] + float(seconds), had[1] + int(inputs), max(had[2], int(edges))
    return {target: [f"{seconds / 60:.1f}", f"{inputs:,}", f"{edges:,}"] for target, (seconds, inputs, edges) in sums.items()}


def seeds():
    """Of `make faults`: which passed, and which were begun and did not."""
    ran = {int(path.stem.rpartition("_")[2]): path for path in MEASURED.glob("faults/seed_*.txt")}
    passed = {seed for seed, path in ran.items() if f"seed {seed} passed\n" in path.read_text(encoding="utf-8")}
    return sorted(passed), sorted(ran.keys() - passed)


def seeds_line(passed, failed):
    parts = [f"{', '.join(map(str, some))} {what}" for some, what in ((passed, "passed"), (failed, "did not pass")) if some]
    return f"Seeds: {'; '.join(parts)}."


def was_longer(row, fuzzed):
    return float(row[-3] or 0) > float(fuzzed[0])


def fill(text):
    measured, fuzzed, ran = figures(), fuzzing(), seeds()
    if any(ran):
        text = SEEDS.sub(seeds_line(*ran), text)
    for line in list(tables(text)):
        row, names = cells(line), ROW.findall(line)
        if (target := TARGET.match(row[0])) and target[1] in fuzzed:
            row[-3:] = row[-3:] if was_longer(row, fuzzed[target[1]]) else fuzzed[target[1]]
        elif names and measured[names[0]]:
            row[-1] = measured[names[0]][-1]
        text = text.replace(line, "| " + " | ".join(row) + " |")
    return text


def check(text):
    named = [name for line in tables(text) for name in ROW.findall(line)]
    exist = named_tests()
    errors = [f"docs/reliability.md names {name}, which does not exist" for name in named if name not in exist]
    errors += [f"docs/reliability.md has no row for {name}" for name in sorted(exist - set(named))]
    if not SEEDS.search(text):
        errors.append("docs/reliability.md has no line that begins with \"Seeds: \"")
    errors += [f"docs/reliability.md has no figure: {line}" for line in tables(text) if not cells(line)[-1]]
    print("\n".join(errors) or f"{len(named)} rows")
    return 1 if errors else 0


def main():
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        return check(text)
    PAGE.write_text(fill(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
