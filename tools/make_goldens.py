#!/usr/bin/env python3
"""Makes tests/goldens: tiny checkpoints in every shape of parity/shapes.py, and what transformers computes with them.

    python tools/make_goldens.py [--only SHAPE] [--attention]

Each folder holds `model/`, `golden.json` (cases, prompt and greedy token ids, text) and `golden.safetensors` (the
taps, as "<case>.<tap>"; none of beam searches). The seed of a shape is the first from 1 on whose greedy answers are
varied and free of near ties. `attention.safetensors` holds where the parts look ("<case>.<map>", of
parity/reference.py), also for the demo model; --attention makes only these, with the checkpoints that are there.
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from parity import tiny_checkpoint
from parity.drawn_images import write_golden_images
from parity.reference import Case, Reference, set_end_of_text
from parity.shapes import SHAPES, Shape

GOLDENS = Path(__file__).resolve().parent.parent / "tests" / "goldens"
IMAGES = GOLDENS / "images"
DEMO = GOLDENS.parent.parent / "models" / "demo"
DEMO_QUESTION = "Question: What color is the circle? Answer:"
QUESTION = "Question: what color is the circle? Answer:"
NO_NEAR_TIE = 0.03  # least distance of the best two logits at every step


def cases_of(shape: Shape) -> dict[str, Case]:
    cases = dict(
        caption=Case(IMAGES / "waves.png"),
        question=Case(IMAGES / "photo.jpg", QUESTION),
        text_only=Case(None, "the moon over the water"))
    if shape.name == "current":
        cases |= dict(
            grey=Case(IMAGES / "grey.png", "a photo of"),
            alpha=Case(IMAGES / "alpha.png", QUESTION),
            palette=Case(IMAGES / "palette.png", " déjà vu 😀"),
            interpolated_up=Case(IMAGES / "waves.png", QUESTION, image_size=56),
            interpolated_down=Case(IMAGES / "photo.jpg", image_size=21),
            min_new_tokens=Case(IMAGES / "photo.jpg", QUESTION, min_new_tokens=9, max_new_tokens=14),
            repetition_penalty=Case(IMAGES / "waves.png", QUESTION, repetition_penalty=1.4, max_new_tokens=16))
    return cases


def beam_cases_of(shape: Shape) -> dict[str, Case]:
    if shape.name not in ("current", "opt_350m"):
        return {}
    return dict(
        two_beams=Case(IMAGES / "photo.jpg", QUESTION, num_beams=2, max_new_tokens=14),
        five_beams=Case(IMAGES / "waves.png", num_beams=5, length_penalty=-1.5, min_new_tokens=3, max_new_tokens=14),
        eight_beams=Case(IMAGES / "waves.png", QUESTION, num_beams=8, length_penalty=2.0, repetition_penalty=1.3, max_new_tokens=14),
        beams_text_only=Case(None, "the moon over the water", num_beams=3, length_penalty=0.0, max_new_tokens=14))


def make(shape: Shape) -> None:
    folder = GOLDENS / shape.name
    shutil.rmtree(folder, ignore_errors=True)
    for seed in range(1, 200):
        tiny_checkpoint.make(shape, seed, folder / "model")
        reference = Reference(folder / "model")
        answers = {name: reference.generate(case) for name, case in cases_of(shape).items()}
        eos = choose_end_of_text({name: ids for name, (ids, _) in answers.items()}, shape.eos_ids)
        if eos and is_robust(answers):
            break
    else:
        raise RuntimeError(f"no good seed for {shape.name}")
    set_end_of_text(folder / "model", eos)
    reference, exact = Reference(folder / "model"), Reference(folder / "model", torch.float64)
    tensors, described = {}, []
    for name, case in (cases_of(shape) | beam_cases_of(shape)).items():
        ids, margins = reference.generate(case)
        if case.num_beams > 1 and ids != exact.generate(case)[0]:
            raise RuntimeError(f"{shape.name}, {name}: another answer in float64, so a near tie")
        if case.num_beams == 1:
            tensors |= {f"{name}.{tap}": value.contiguous() for tap, value in reference.taps(case).items()}
        described.append(dict(
            name=name, image=case.image and f"images/{case.image.name}", image_size=case.image_size, text=case.text,
            max_new_tokens=case.max_new_tokens, min_new_tokens=case.min_new_tokens, repetition_penalty=case.repetition_penalty,
            prompt_ids=reference.prompt_ids(case.text, case.image is not None), token_ids=ids,
            ended=ids[-1] in eos, answer=reference.decode(ids),
            **(dict(num_beams=case.num_beams, length_penalty=case.length_penalty) if case.num_beams > 1 else
               dict(least_margin=round(min(margins), 4)))))
    save_file(tensors, folder / "golden.safetensors")
    write_json(folder / "golden.json", dict(
        shape=shape.name, about=shape.about, seed=seed, transformers=transformers.__version__,
        eos_token_ids=eos, image_token_id=reference.image_token_id, cases=described))
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{shape.name}: seed {seed}, ends at {eos}, {size / 1000:.0f} kB", flush=True)


def choose_end_of_text(answers: dict[str, list[int]], count: int) -> list[int]:
    """Ids that end an answer some steps after its first; empty if there are none."""
    chosen = []
    for name in ("question", "caption"):
        ids = answers[name]
        late = [id for step, id in enumerate(ids) if 4 <= step <= 8 and id not in ids[:step] and id > 3 and id not in chosen]
        if not late:
            return []
        chosen.append(late[0])
    return chosen[:count] if not any(id in answers["text_only"][:2] for id in chosen[:count]) else []


def is_robust(answers) -> bool:
    """No near ties, several different ids in each answer, and answers that depend on the image."""
    return (all(min(margins) >= NO_NEAR_TIE and len(set(ids)) >= 3 for ids, margins in answers.values())
            and answers["caption"][0][0] != answers["question"][0][0])


def make_attention(model: Path, cases: dict[str, Case], file: Path) -> None:
    reference, tensors = Reference(model, attention=True), {}
    for name, case in cases.items():
        ids, _ = reference.generate(case)
        tensors |= {f"{name}.{map}": value.contiguous() for map, value in reference.attention(case, ids).items()}
        tensors[f"{name}.ids"] = torch.tensor(ids)
    file.parent.mkdir(exist_ok=True)
    save_file(tensors, file)
    print(f"{file.parent.name}: attention, {file.stat().st_size / 1000:.0f} kB", flush=True)


def make_shape_attention(shape: Shape) -> None:
    cases = {name: case for name, case in cases_of(shape).items() if case.image}
    make_attention(GOLDENS / shape.name / "model", cases, GOLDENS / shape.name / "attention.safetensors")


def make_demo_attention() -> None:
    picture = DEMO / "samples" / "red_circle_blue_star.png"
    cases = dict(question=Case(picture, DEMO_QUESTION, max_new_tokens=20),
                 larger=Case(picture, DEMO_QUESTION, image_size=224, max_new_tokens=20))
    make_attention(DEMO, cases, GOLDENS / "demo" / "attention.safetensors")


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[shape.name for shape in SHAPES])
    parser.add_argument("--attention", action="store_true", help="only attention.safetensors")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    write_golden_images(IMAGES)
    for shape in SHAPES:
        if args.only in (None, shape.name):
            if not args.attention:
                make(shape)
            make_shape_attention(shape)
    if args.only is None:
        make_demo_attention()


if __name__ == "__main__":
    main()
