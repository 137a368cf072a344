"""Tokens, tensors and pixels of models against transformers, in float32 and bfloat16."""
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from . import fresh_images, ours, tiny_checkpoint
from .reference import TAPS, Case, Reference
from .report import Report
from .shapes import SHAPES, Shape

CASES = 200
LOGITS_TOLERANCE = 1e-4  # of the largest logit
NUMERIC_TIE = 1e-4  # best two logits closer than this may swap with the order of summation
BF16_AGREEMENT = 0.99
DEMO_QUESTIONS = 300
_TEXTS = (None, "Question: what color is the circle? Answer:", "a photo of", " déjà vu 😀 it's",
          "Question: how many cats are there? Answer: two Question: where are they? Answer:", "\n\n x  y\t")


@dataclass
class Model:
    """A tiny checkpoint and what was asked of it in both implementations."""
    shape: Shape
    folder: Path
    cases: list[Case]
    reference: Reference
    expected: list[tuple[list[int], list[float]]]  # ids, and the margin of each step
    expected_taps: list[dict[str, torch.Tensor]]
    got: ours.Run


def _cases(shape: Shape, count: int, images: dict, rng: random.Random) -> list[Case]:
    forms = rng.sample(list(images), len(images))
    patch = shape.vision["patch_size"]
    cases = []
    for number in range(count):
        case = Case(rng.choice(images[forms[number % len(forms)]]), rng.choice(_TEXTS), max_new_tokens=rng.randint(1, 16))
        if number % 5 == 1:
            case = replace(case, image_size=patch * rng.randint(1, 9))
        if number % 5 == 2:
            case = replace(case, min_new_tokens=rng.randint(1, case.max_new_tokens))
        if number % 5 == 3:
            case = replace(case, repetition_penalty=rng.choice((0.8, 1.2, 1.7)))
        if number % 8 == 7:
            case = replace(case, image=None, image_size=0, text=case.text or _TEXTS[1])
        cases.append(case)
    return cases


def run_tiny_models(folder: Path, seed: int) -> list[Model]:
    """Every shape with fresh weights and fresh images; CASES cases in all."""
    images = fresh_images.make(folder / "images", seed)
    models = []
    for number, shape in enumerate(SHAPES):
        rng = random.Random(f"{seed} {shape.name}")
        path = folder / shape.name
        tiny_checkpoint.make(shape, rng.randrange(2**31), path, eos=rng.sample(range(260, 318), 25))
        reference = Reference(path)
        cases = _cases(shape, CASES // len(SHAPES) + (number < CASES % len(SHAPES)), images, rng)
        taps = [path / f"taps_{i}.safetensors" for i in range(len(cases))]
        models.append(Model(shape, path, cases, reference, [reference.generate(c) for c in cases],
                            [reference.taps(c) for c in cases],
                            ours.run([ours.ask(c, t) for c, t in zip(cases, taps)], model=path)))
    return models


def check_float32(models: list[Model], report: Report) -> None:
    same = total = ties = 0
    worst = dict.fromkeys(TAPS[1:], 0.0)
    for model in models:
        for case, (ids, margins), taps, result, our_taps in zip(
                model.cases, model.expected, model.expected_taps, model.got.results, model.got.taps):
            total += 1
            our_ids = result["token_ids"]
            prompt = model.reference.prompt_ids(case.text, case.image is not None)
            same += our_ids == ids and result["prompt_ids"] == prompt
            if result["prompt_ids"] != prompt:
                report.say(f"{model.shape.name}: other prompt ids for {case}")
            elif our_ids != ids:
                step = next((i for i, (a, b) in enumerate(zip(our_ids, ids)) if a != b), min(len(our_ids), len(ids)) - 1)
                ties += margins[step] < NUMERIC_TIE
                report.say(f"{model.shape.name}: other token at step {step} (margin {margins[step]:.2g}) for {case}")
            if result["text"] != model.reference.decode(our_ids):
                report.say(f"{model.shape.name}: other text for {our_ids}: {result['text']!r}")
                same -= our_ids == ids
            for tap in worst:
                if tap in taps:
                    worst[tap] = max(worst[tap], _relative_error(our_taps[tap], taps[tap]))
    report.add("f32 greedy tokens, prompts and texts", f"{same} of {total} identical", "all",
               same + ties == total, f"{ties} numeric ties" if ties else "")
    for tap, error in worst.items():
        report.add(f"f32 {tap}, largest relative error", f"{error:.1e}", f"≤ {LOGITS_TOLERANCE:.0e}", error <= LOGITS_TOLERANCE)


def _relative_error(actual, expected) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    return float((actual - expected).abs().max() / expected.abs().max())


def check_pixels(models: list[Model], folder: Path, seed: int, report: Report) -> None:
    """The images of all cases, and fresh ones at the sizes of the published models."""
    same = total = 0
    for model in models:
        for case, taps, our_taps in zip(model.cases, model.expected_taps, model.got.taps):
            if case.image:
                total += 1
                same += _same_pixels(our_taps["pixels"], taps["pixels"], case.image, report)
    model = models[0]
    images = fresh_images.make(folder / "more_images", seed + 1, of_each=3)
    wanted = [(image, size) for form in images.values() for image in form for size in (224, 364)]
    jobs = [dict(kind="pixels", image=str(image), image_size=size, taps=str(folder / f"pixels_{i}.safetensors"))
            for i, (image, size) in enumerate(wanted)]
    for (image, size), taps in zip(wanted, ours.run(jobs, model=model.folder).taps):
        total += 1
        same += _same_pixels(taps["pixels"], model.reference.pixels(image, size), image, report)
    report.add("pixels bit for bit", f"{same} of {total} equal", "all", same == total,
               f"{len(images)} forms of files; {sum(map(len, images.values())) * 2} at 224² and 364²")


def _same_pixels(actual, expected, image, report) -> bool:
    if torch.equal(actual, expected):
        return True
    if actual.shape == expected.shape:
        different = (actual != expected).float().mean().item()
        levels = ((actual - expected).abs().max() * 0.27 * 255).item()
        report.say(f"{image.name} at {expected.shape[-1]}: {different:.1%} of values differ, by up to about {levels:.0f} levels")
    else:
        report.say(f"{image.name}: shapes {tuple(actual.shape)} and {tuple(expected.shape)}")
    return False


def check_bfloat16(models: list[Model], report: Report) -> None:
    """The first token of the tiny models.

    Their weights are noise, so near ties are common, and bfloat16 breaks a near tie by chance. A case counts
    if the best logit in float32 leads by more than twice the error that transformers itself makes in bfloat16.
    """
    decided = agreed = near = near_agreed = 0
    worst = 0.0
    for model in models:
        reference = Reference(model.folder, torch.bfloat16)
        cases = [replace(case, max_new_tokens=1, min_new_tokens=0, repetition_penalty=1.0) for case in model.cases]
        taps = [model.folder / f"bf16_{i}.safetensors" for i in range(len(cases))]
        got = ours.run([ours.ask(c, t) for c, t in zip(cases, taps)], model=model.folder, dtype="bfloat16")
        for case, exact, our_taps in zip(cases, model.expected_taps, got.taps):
            theirs = reference.taps(case)["logits"]
            best = exact["logits"].topk(2).values
            same = bool(our_taps["logits"].argmax() == theirs.argmax())
            worst = max(worst, _relative_error(our_taps["logits"], theirs))
            if best[0] - best[1] > 2 * (theirs - exact["logits"]).abs().max():
                decided, agreed = decided + 1, agreed + same
            else:
                near, near_agreed = near + 1, near_agreed + same
    report.add("bf16 first token, tiny models", f"{agreed} of {decided} agree", f"≥ {BF16_AGREEMENT:.0%}",
               decided > 0 and agreed >= BF16_AGREEMENT * decided, f"of {near} near ties {near_agreed} agree; largest relative error {worst:.1e}")


def check_demo(folder: Path, scratch: Path, seed: int, report: Report) -> None:
    """The trained demo model on fresh scenes, where answers have clear margins."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train_demo"))
    import held_out
    scenes = held_out.make(DEMO_QUESTIONS // 6, kinds_per_scene=4, first_seed=500_000_000 + seed)
    scratch.mkdir(parents=True, exist_ok=True)
    for name, image in scenes.images.items():
        image.save(scratch / name)
    cases = [Case(scratch / q.image, q.question or None, max_new_tokens=24) for q in scenes.questions][:DEMO_QUESTIONS]
    for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        reference = Reference(folder, dtype)
        wanted = cases if dtype == torch.bfloat16 else cases[:60]
        got = ours.run([ours.ask(case) for case in wanted], model=folder, dtype=name)
        expected = [reference.generate(case)[0] for case in wanted]
        first = sum(r["token_ids"][:1] == ids[:1] for r, ids in zip(got.results, expected))
        whole = sum(r["token_ids"] == ids for r, ids in zip(got.results, expected))
        if dtype == torch.float32:
            report.add("f32 greedy tokens, demo model", f"{whole} of {len(wanted)} identical", "all", whole == len(wanted))
        else:
            report.add("bf16 first token, demo model", f"{first} of {len(wanted)} agree", f"≥ {BF16_AGREEMENT:.0%}",
                       first >= BF16_AGREEMENT * len(wanted), f"whole answers: {whole}")
