"""Measures engines in turn and writes a report: scripts/rivals.sh MODEL [--rounds N] [--engines …]"""
import argparse
import datetime
import itertools
import os
import platform
import statistics
import subprocess
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

from .cpu import Foreign, available_gigabytes, peak_gigabytes
from .engines import CTranslate2, Ours, Transformers, Vllm
from .questions import LONG, SHORT, about_an_image, text_alone

_ENGINES = {f"{kind}-{dtype}": (engine, dtype) for kind, engine, dtypes in
            (("transformers", Transformers, ("float32", "bfloat16")), ("vllm", Vllm, ("bfloat16",)), ("ctranslate2", CTranslate2, ("int8",)),
             ("ours", Ours, ("float32", "bfloat16", "int8", "int4"))) for dtype in dtypes}
_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1.25, "int4": 0.8}  # of a parameter, about
_AT_ONCE = 8
_TEXTS = 16
_GAPS = """Not measured: transformers in batches. CTranslate2 serves the language half alone."""
_RIVALS = {Vllm: "vllm", CTranslate2: "ctranslate2"}  # that may be missing

_START = "start"
_ROWS = {"one": f"one question, new image, {LONG} tokens", "again": "a second question, same image", "short": f"new image, {SHORT} tokens",
         "fresh": f"{_AT_ONCE} at once, new images", "same": f"{_AT_ONCE} at once, one new image",
         "text": f"text alone, {LONG} tokens", "text_short": f"text alone, {SHORT} tokens", "texts": f"{_TEXTS} texts at once, {LONG} tokens"}
_COUNTS = {"fresh": _AT_ONCE, "same": _AT_ONCE, "texts": _TEXTS}  # of questions in a row; elsewhere one
_seeds = itertools.count(int(time.time()))


def _questions(case, first) -> list:
    """Those of a row; `first` was asked before."""
    if case.startswith("text"):
        return [text_alone(next(_seeds)) for _ in range(_COUNTS.get(case, 1))]
    if case == "same":
        return [about_an_image(next(_seeds))] * _AT_ONCE
    return [first] if case in ("one", "again") else [about_an_image(next(_seeds)) for _ in range(_COUNTS.get(case, 1))]


def _can(engine, case) -> bool:
    return (engine.sees or case.startswith("text")) and (engine.parallel or case not in ("again", *_COUNTS))


def _warm_up(engine) -> None:
    """What only a first question pays."""
    engine.ask([about_an_image(next(_seeds)) if engine.sees else text_alone(next(_seeds))], 2)


def _measure(engine, cases, results) -> None:
    """Adds to results[name][row]: seconds and foreign processor seconds."""
    first = about_an_image(next(_seeds))
    for case in filter(lambda case: _can(engine, case), cases):
        questions, tokens = _questions(case, first), SHORT if case.endswith("short") else LONG
        foreign, begin = Foreign(engine.pids), time.monotonic()
        engine.ask(questions, tokens)
        results[engine.name][case].append((time.monotonic() - begin, foreign.seconds()))
        print(f"{engine.name}: {_ROWS[case]}: {results[engine.name][case][-1][0]:.2f} s", flush=True)


def _cell(times, baseline, count) -> str:
    """Median, spread and, against the baseline's median of one question, how many times as fast."""
    if not times:
        return "–"
    seconds = [second for second, _ in times]
    text = f"{statistics.median(seconds):.2f} s"
    if len(seconds) > 1:
        text += f" ({min(seconds):.2f}–{max(seconds):.2f})"
    if baseline:
        text += f", {count * baseline / statistics.median(seconds):.1f} ×"
    return text + f"; foreign {statistics.median(foreign for _, foreign in times):.0f} s"


def _report(model, results, memory) -> str:
    baseline_name = next(iter(results))
    baseline = {row: statistics.median(second for second, _ in times) for row, times in results[baseline_name].items()}
    baseline.setdefault("again", baseline.get("one"))
    lines = [f"| | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for row, title in {_START: "start", **_ROWS}.items():
        base = baseline.get({"fresh": "one", "same": "one", "texts": "text"}.get(row, row))
        lines.append(f"| {title} | " + " | ".join(_cell(results[name].get(row), base, _COUNTS.get(row, 1)) for name in results) + " |")
    lines.append("| peak memory | " + " | ".join(f"{memory[name]:.1f} GB" for name in results) + " |")
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    facts = dict(line.split(":", 1) for line in reversed(open("/proc/cpuinfo", encoding="utf-8").read().splitlines()) if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    cpu, flags = facts.get("model name", platform.machine()), facts.get("flags", "").split()
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if name in flags]
    versions = ", ".join(f"{name} {version(name)}" for name in ("transformers", "torch"))
    return "\n".join([
        f"# Diptych beside other engines, {datetime.datetime.now(datetime.timezone.utc):%F %R} UTC", "",
        f"{os.cpu_count()} cores of {cpu} ({', '.join(sets)}); commit {commit}; {versions}; model {model.name}. Engines took turns. Each cell: median,",
        f"(least–most), how many times as fast as {baseline_name} at one question after the other, processor seconds of other programs meanwhile.", "",
        *lines, "", _GAPS, ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/rivals.sh", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1, help="of all rows in a round, before the next engine's turn")
    parser.add_argument("--engines", default=",".join(_ENGINES), help=",".join(_ENGINES))
    parser.add_argument("--cases", default=",".join(_ROWS), help=",".join(_ROWS))
    parser.add_argument("--out", type=Path, default=Path(f"build/bench/{datetime.date.today()}-rivals.md"))
    options = parser.parse_args()
    parameters = sum(file.stat().st_size for file in options.model.glob("*.safetensors")) / 2e9  # at most, 10⁹
    results, memory = {}, defaultdict(float)
    for _ in range(options.rounds):
        for name in options.engines.split(","):
            kind, dtype = _ENGINES[name]
            engine = kind(options.model, dtype)
            if kind in _RIVALS and not kind.installed():
                print(f"{engine.name}: left out, it is not installed (scripts/rivals.sh --install-{_RIVALS[kind]})", flush=True)
                continue
            if available_gigabytes() < parameters * _BYTES[dtype] + 1:
                print(f"{engine.name}: left out, there is no memory for it", flush=True)
                continue
            results.setdefault(engine.name, defaultdict(list))
            foreign, begin = Foreign([]), time.monotonic()
            with engine:
                results[engine.name][_START].append((time.monotonic() - begin, foreign.seconds()))
                _warm_up(engine)
                for _ in range(options.repeats):
                    _measure(engine, options.cases.split(","), results)
                memory[engine.name] = max(memory[engine.name], peak_gigabytes(engine.pids))
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(_report(options.model, results, memory), encoding="utf-8")
    print(f"the report is {options.out}")


if __name__ == "__main__":
    main()
