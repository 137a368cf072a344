"""Held-out scenes with questions: made from seeds that training never uses, or read back from a folder.

    python held_out.py --scenes 1000 --out scenes

writes OUT/scene_0000.png ... and OUT/questions.jsonl, one line a question:
{"image": file name, "question": the exact text sent to the model, "kind": ..., "answer": the true answer}.
"""
import argparse
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

import questions
import scenes

FIRST_SEED = 20_000_003
PICTURE_SIZE = 224  # twice the model's, so that an image goes through the processor's resize


@dataclass(frozen=True)
class HeldOutQuestion:
    """`question` is the literal prompt; empty asks for a caption."""

    image: str
    question: str
    kind: str
    answer: str


@dataclass
class HeldOutSet:
    """Images by file name, and the questions about them."""

    images: dict[str, Image.Image]
    questions: list[HeldOutQuestion]


def make(count: int, kinds_per_scene: int | None = None, first_seed: int = FIRST_SEED) -> HeldOutSet:
    """A question of every kind a scene, three captions and a chat; or `kinds_per_scene` random kinds, two captions
    and a chat. A chat is a question of any kind that follows one or two answered ones."""
    result = HeldOutSet({}, [])
    for number in range(count):
        rng = random.Random(first_seed + number)
        scene = scenes.make_scene(rng)
        name = f"scene_{number:04d}.png"
        result.images[name] = Image.fromarray(scenes.render(scene, rng, PICTURE_SIZE))
        for kind in rng.sample(questions.KINDS, kinds_per_scene) if kinds_per_scene else questions.KINDS:
            prompt, answer = questions.ask(rng, scene, kind)
            result.questions.append(HeldOutQuestion(name, prompt, kind, answer))
        captions = [("caption", "", questions.caption(scene)), ("photo_of", "a photo of", questions.caption(scene)),
                    ("describe", "Question: Describe the image. Answer:", questions.description(scene))]
        if kinds_per_scene:
            captions = [captions[0], rng.choice(captions[1:])]
        earlier = rng.choices(questions.KINDS, k=rng.randint(1, 2))
        in_chat = ("in_chat", *questions.ask_in_chat(rng, scene, earlier, rng.choice(questions.KINDS)))
        result.questions += [HeldOutQuestion(name, prompt, kind, answer) for kind, prompt, answer in [*captions, in_chat]]
    return result


def write(held_out: HeldOutSet, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in held_out.images.items():
        image.save(folder / name)
    with open(folder / "questions.jsonl", "w") as lines:
        for question in held_out.questions:
            lines.write(json.dumps(asdict(question)) + "\n")


def read(folder: Path) -> HeldOutSet:
    asked = [HeldOutQuestion(**json.loads(line)) for line in (folder / "questions.jsonl").read_text().splitlines()]
    names = dict.fromkeys(q.image for q in asked)
    return HeldOutSet({name: Image.open(folder / name).convert("RGB") for name in names}, asked)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--kinds-per-scene", type=int, help="default: a question of every kind about every scene")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write(make(args.scenes, args.kinds_per_scene), args.out)


if __name__ == "__main__":
    main()
