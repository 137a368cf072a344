"""A full-size checkpoint in float32: greedy tokens against transformers, and what ours needs.

Each side runs in a process of its own, one after the other, so that only one model is in memory.
"""
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from . import ours
from .drawn_images import write_golden_images
from .report import Report

_NEW_TOKENS = 12
_STAGES = ("image", "vision", "qformer", "prefill", "decode")


def _cases(folder: Path):
    """Imported here, since Case's module imports transformers, which the parent process need not hold."""
    from .reference import Case
    write_golden_images(folder)
    return [Case(folder / "photo.jpg", None, max_new_tokens=_NEW_TOKENS),
            Case(folder / "waves.png", "Question: what color is the circle? Answer:", max_new_tokens=_NEW_TOKENS),
            Case(folder / "grey.png", "a photo of", max_new_tokens=_NEW_TOKENS),
            Case(folder / "alpha.png", "Question: how many cats are there? Answer:", image_size=364, max_new_tokens=_NEW_TOKENS),
            Case(None, "the moon over the water", max_new_tokens=_NEW_TOKENS)]


def check(model: Path, scratch: Path, report: Report) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    out = scratch / "transformers.json"
    subprocess.run([sys.executable, "-m", "parity.full_size", str(model), str(out)], check=True)
    theirs = json.loads(out.read_text())
    report.say(f"transformers, float32: loaded in {theirs['load_seconds']:.0f} s, at most {theirs['peak_memory_bytes'] / 1e9:.1f} GB, "
               f"answers {_seconds(theirs['seconds'])}")
    cases = _cases(scratch / "images")
    for dtype in ("float32", "bfloat16"):
        got = ours.run([ours.ask(case) for case in cases], model=model, dtype=dtype, threads=0)
        report.say(f"ours, {dtype}: loaded in {got.load_seconds:.0f} s, at most {got.peak_memory_bytes / 1e9:.1f} GB")
        for case, result in zip(cases, got.results):
            stages = ", ".join(f"{stage} {result['seconds'][stage] * 1000:.0f} ms" for stage in _STAGES)
            report.say(f"ours, {dtype}: {len(result['prompt_ids'])} prompt and {len(result['token_ids'])} new tokens: {stages}")
        same = 0
        for expected, margins, result in zip(theirs["token_ids"], theirs["margins"], got.results):
            ids = result["token_ids"]
            same += ids == expected
            if ids != expected:
                step = next((i for i, (a, b) in enumerate(zip(ids, expected)) if a != b), 0)
                report.say(f"ours, {dtype}: other token at step {step}, where transformers' best two logits differ by {margins[step]:.2g}")
        if dtype == "float32":
            report.add("f32 greedy tokens, full size", f"{same} of {len(cases)} answers identical", "all", same == len(cases),
                       f"{_NEW_TOKENS} tokens each, {len(set(sum(theirs['token_ids'], [])))} different")
        else:
            first = sum(r["token_ids"][:1] == e[:1] for r, e in zip(got.results, theirs["token_ids"]))
            report.say(f"ours, bfloat16, against transformers in float32: first token {first} of {len(cases)}, answers {same}")


def _seconds(values):
    return ", ".join(f"{value:.1f} s" for value in values)


def _run_transformers(model: Path, out: Path) -> None:
    import transformers

    from .reference import Reference
    transformers.utils.logging.disable_progress_bar()
    start = time.monotonic()
    reference = Reference(model)
    load_seconds = time.monotonic() - start
    ids, margins, seconds = [], [], []
    for case in _cases(out.parent / "images"):
        start = time.monotonic()
        answer = reference.generate(case)
        seconds.append(time.monotonic() - start)
        ids.append(answer[0])
        margins.append(answer[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    out.write_text(json.dumps(dict(load_seconds=load_seconds, peak_memory_bytes=peak, seconds=seconds, token_ids=ids, margins=margins)))


if __name__ == "__main__":
    _run_transformers(Path(sys.argv[1]), Path(sys.argv[2]))
