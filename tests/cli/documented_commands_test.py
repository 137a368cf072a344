"""Every command that the pages show has the options that they give it.

Usage: documented_commands_test.py BIN_FOLDER; run by ctest as `documented_commands_test`.
"""
import functools
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(sys.argv[1]).resolve()
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/benchmarks/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("examples/*.md"),
         ROOT / "deploy/helm/diptych/templates/NOTES.txt"]
PROGRAMS = ("diptych", "gateway", "vision_service", "language_service")
WITH_ACTIONS = ("bench", "models")  # whose next word is a command, too


@functools.cache
def options_of(words):
    said = subprocess.run([BINARIES / words[0], *words[1:], "--help"], text=True, capture_output=True, check=False).stdout
    return set(re.findall(r"--([a-z]\w*)", said))


@functools.cache
def commands():
    said = subprocess.run([BINARIES / "diptych", "--help"], text=True, capture_output=True, check=True).stdout
    return set(re.findall(r"^  ([a-z][\w-]*) ", said, re.MULTILINE))


def command_of(program, rest):
    """The program and the words of a command, or None where the text only speaks of it."""
    if program != "diptych":
        return (program,)
    words = re.match(r"(?:[a-z][\w-]* ?){0,2}", rest)[0].split()
    if not words or words[0] not in commands():
        return None
    return (program, *words[:2 if words[0] in WITH_ACTIONS else 1])


def shown(text):
    """(program, what follows it) of each command between backquotes or on a line of its own."""
    text = text.replace("\\\n", " ")
    for line in re.findall(r"`([^`\n]+)`", text) + text.splitlines():
        for program, rest in re.findall(rf"(?:^|[|&;] )\s*(?:\$ )?(?:\w+=\S+ )*({'|'.join(PROGRAMS)}) ([^`#|…]*)", line):
            yield program, rest


class DocumentedCommandsTest(unittest.TestCase):
    def test_their_options_exist(self):
        checked, wrong = 0, []
        for page in PAGES:
            for program, rest in shown(page.read_text(encoding="utf-8")):
                command, options = command_of(program, rest), re.findall(r"(?<![\w-])--([a-z]\w*)", rest)
                if command is None:
                    continue
                wrong += [f"{page.name}: --{option} in {program} {rest}" for option in options if option not in options_of(command)]
                checked += len(options)
        self.assertEqual(wrong, [])
        self.assertGreater(checked, 60)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
