"""Every path, test and link target that a comment or a page names exists, and each decision has a number of its own.

Run by ctest as `named_paths_test`.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MADE = ("build/", ".deps/", "bin/", "docs/benchmarks/")
# A path: folders and a file with a known ending, below one of the repository's own folders.
PATH = re.compile(r"(?<![\w/.$:{-])((?:[\w.-]+/)+[\w.-]+\.(?:h|cc|py|mjs|js|sh|md|proto|json|yml|yaml|css|html|txt|cmake|\*))(?![\w/*])")
TEST = re.compile(r"`(\w+Test)\.(\w+)`")  # in pages
DECLARED = re.compile(r"^TEST(?:_F|_P)?\((\w+), *(\w+)\)", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")  # to a file or a heading, not to an address
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
PAGES = {".md"}
CODE = {".h", ".cc", ".py", ".sh", ".mjs", ".js", ".proto", ".txt", ".cmake"}


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [pathlib.PurePosixPath(line) for line in listed.stdout.splitlines()]
    return [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file() and path.parts[0] not in MADE]


def comment_of(path, line):
    """What of a line may name a path: all of a page, of code only the comment."""
    if path.suffix in PAGES:
        return line
    mark = "//" if path.suffix in {".h", ".cc", ".mjs", ".js", ".proto"} else "#"
    return line.partition(mark)[2] if mark in line else ""


def exists(name, path):
    return any(next(folder.glob(name), None) for folder in (ROOT, ROOT / path.parent, ROOT / "proto"))


def path_errors(files):
    folders = {path.parts[0] for path in files if len(path.parts) > 1}
    for path in files:
        skipped = str(path).startswith(("tests/data", "tests/goldens/", "docs/benchmarks/", "CHANGELOG"))
        if skipped or path.suffix not in PAGES | CODE or not (ROOT / path).is_file():
            continue
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
            for name in PATH.findall(comment_of(path, line)):
                if name.startswith("../"):
                    name = str((ROOT / path.parent / name).resolve().relative_to(ROOT))
                ours = name.split("/")[0] in folders
                if ours and not name.startswith(MADE) and not exists(name, path):
                    yield f"{path}:{number} names {name}, which does not exist"


def test_errors(files):
    declared = set()
    for path in files:
        if path.parts[0] == "tests" and path.suffix == ".cc":
            declared |= set(DECLARED.findall((ROOT / path).read_text(encoding="utf-8")))
    for path in files:
        if path.suffix in PAGES and not str(path).startswith("docs/benchmarks/"):
            for suite, test in TEST.findall((ROOT / path).read_text(encoding="utf-8")):
                if (suite, test) not in declared:
                    yield f"{path} names {suite}.{test}, which does not exist"


def anchor_of(heading):
    """The fragment by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def prose_of(page):
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def link_errors(files):
    for path in files:
        if path.suffix not in PAGES or not (ROOT / path).is_file():
            continue
        for target in LINK.findall(prose_of(ROOT / path)):
            name, _, anchor = target.partition("#")
            page = (ROOT / path).parent / name if name else ROOT / path
            if not page.exists():
                yield f"{path} links to {target}, which does not exist"
            elif anchor and page.suffix in PAGES and anchor not in map(anchor_of, HEADING.findall(prose_of(page))):
                yield f"{path} links to {target}, whose heading does not exist"


def decision_errors(files):
    numbers = {}
    for path in files:
        if str(path).startswith("docs/decisions/0"):
            numbers.setdefault(path.name[:4], []).append(path.name)
    for number, names in sorted(numbers.items()):
        if len(names) > 1:
            yield f"docs/decisions: {number} is given twice: {', '.join(names)}"


def main():
    files = tracked()
    found = [*path_errors(files), *test_errors(files), *link_errors(files), *decision_errors(files)]
    for error in found:
        print(error)
    print(f"{len(files)} files, {len(found)} errors")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
