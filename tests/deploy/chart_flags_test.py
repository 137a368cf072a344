"""What the chart takes as a process's flag, that process takes: a value that does not fit is told before anything is replaced.

Usage: chart_flags_test.py BIN_FOLDER; run by ctest as `chart_flags_test`. Skipped (77) without Helm's library, which scripts/setup.sh --tests fetches.
"""
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import unittest

import chart

BINARIES = pathlib.Path(sys.argv[1]).resolve()
SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
PROGRAMS = {"gateway": "gateway", "vision": "vision_service", "language": "language_service"}
# What is refused after all other flags were taken, so that no server starts.
LAST = {"gateway": ["--metrics_listen=nowhere"], **dict.fromkeys(("vision", "language"), [f"--model={chart.ROOT / 'models' / 'demo'}", "--memory_limit=1B"])}
OF_THE_MODEL = {"max_inflight_bytes", "memory_limit", "kv_cache_bytes"}  # what fits depends on model and machine: the process says it, with numbers
DURATIONS = ("0s", "1s", "8760h", "8761h")
TEXTS = {"bytes": (0, "1023B", "1KiB", "256MiB", "257MiB"), "cors_origins": ("*", "https://a.example.com"), "served_model_name": ("other",)}


def edges(name, node):
    """Values at the ends of what the schema takes, and beyond."""
    kind = node.get("$ref", "").rpartition("/")[2]
    if kind == "duration":
        return DURATIONS
    if kind in TEXTS or name in TEXTS:
        return TEXTS.get(name, TEXTS.get(kind))
    if "enum" in node:
        return node["enum"]
    return {"boolean": (True, False), "number": (0.01, node.get("maximum")), "integer": (node.get("minimum"), 8)}[node["type"]]


def refuses(*values):
    """Whether the chart refuses the (path, value)s."""
    import helm_python  # pylint: disable=import-outside-toplevel
    given = {}
    for path, value in values:
        for name in reversed(path.split(".")):
            value = {name: value}
        chart.merge(given, value)
    try:
        chart.template_of(given)
    except helm_python.HelmError:
        return True
    return False


def complaints(tier, flags):
    """What the process says of those of `flags`, name to value, that it does not take, as name to line; not always of all."""
    words = [f"--{flag}={str(value).lower() if isinstance(value, bool) else value}" for flag, value in flags.items()]
    done = subprocess.run([BINARIES / PROGRAMS[tier], "--listen=127.0.0.1:0", *words, *LAST[tier]], text=True, capture_output=True, timeout=60, check=False)
    return {flag: line for line in done.stderr.splitlines() for flag in flags if re.match(rf"{PROGRAMS[tier]}: .*--{flag}\b", line)}


def not_taken(tier, flags):
    """Names of `flags` that the process does not take, if only beside the others: all at once, then without those, for a start takes half a second."""
    flags, found = dict(flags), []
    while flags and (said := complaints(tier, flags)):
        found += said
        flags = {flag: value for flag, value in flags.items() if flag not in said}
    return found


class ChartFlagsTest(unittest.TestCase):
    def compare(self, tried):
        """(path, tier, flag, value)s: the first value of each flag together, then the second, and so on."""
        rounds = {}
        for path, tier, flag, value in tried:
            number = sum(flag in flags for (of, _), flags in rounds.items() if of == tier)
            rounds.setdefault((tier, number), {})[flag] = (path, value)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            said = pool.map(lambda key: not_taken(key[0], {flag: value for flag, (_, value) in rounds[key].items()}), rounds)
            for (tier, _), flags, complained in zip(rounds, rounds.values(), said):
                for flag in set(complained) - OF_THE_MODEL:
                    with self.subTest(flag=flag, value=flags[flag][1]):
                        alone = not refuses(flags[flag]) and complaints(tier, {flag: flags[flag][1]})
                        self.assertFalse(alone, "the chart takes it, and the process does not")

    def test_what_the_chart_takes_the_process_takes(self):
        tried = [(f"{tier}.flags.{flag}", tier, flag, value) for tier in PROGRAMS
                 for flag, node in SCHEMA["properties"][tier]["properties"]["flags"]["properties"].items() for value in edges(flag, node)]
        self.assertGreater(len(tried), 80)
        self.compare(tried)

    def test_so_with_the_flags_that_have_values_of_their_own(self):
        named = (("drain.delay", "gateway", "drain_delay"), ("drain.timeout", "vision", "drain_timeout"), ("maxConnectionAge", "language", "max_connection_age"))
        self.compare([(*one, value) for one in named for value in DURATIONS])
        self.compare([("tracing.sampleRatio", "gateway", "trace_sample_ratio", value) for value in (0, 0.5, 1, 1.1, -1)])

    def test_a_batch_that_a_pass_has_no_room_for(self):
        self.assertTrue(refuses(("language.flags.max_batch", 300)))
        self.assertTrue(refuses(("language.flags.max_batch", 65), ("language.flags.max_batched_tokens", 64)))
        self.assertFalse(refuses(("language.flags.max_batch", 300), ("language.flags.max_batched_tokens", 300)))
        self.assertFalse(refuses(("language.flags.max_batch", 300), ("language.device", "cuda")))


if __name__ == "__main__":
    if not chart.is_possible():
        print("skipped: Helm's library is not there; scripts/setup.sh --tests fetches it")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
