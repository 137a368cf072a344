"""Draws the sample images that ship with the demo model and checks what the model says about them:

    python make_samples.py --checkpoint ../../models/demo

writes CHECKPOINT/samples/*.png and CHECKPOINT/samples.json, and fails if the model answers one of the questions
wrongly, as a bare question or as "Question: ... Answer:", in f32 or in bf16.
"""
import argparse
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

import questions
from answers import Answerer
from scenes import Scene, SceneObject, render

PICTURE_SIZE = 224


@dataclass(frozen=True)
class Sample:
    """An image and questions about it with their true answers. `seed` fixes its noise and jitter.

    The first two questions are the same for all images, so that one table can show them.
    """

    name: str
    seed: int
    background: str
    objects: tuple[SceneObject, ...]
    asked: dict[str, str]

    @property
    def scene(self):
        return Scene(self.background, list(self.objects))


SAMPLES = [
    Sample("red_circle_blue_star", 77, "white",
           (SceneObject(0, "circle", "red", "large"), SceneObject(4, "star", "blue", "small")), {
               "What color is the circle?": "red",
               "How many shapes are there?": "2",
               "What shape is in the top left?": "circle",
               "What color is the star?": "blue",
               "Where is the star?": "in the center",
               "Is there a blue square?": "no",
               "What color is the triangle?": "there is no triangle",
               "Which is bigger, the red circle or the blue star?": "the red circle",
           }),
    Sample("pink_heart_two_green_squares", 78, "black",
           (SceneObject(1, "heart", "pink", "large"), SceneObject(3, "square", "green", "large"),
            SceneObject(5, "square", "green", "small")), {
               "What color is the circle?": "there is no circle",
               "How many shapes are there?": "3",
               "How many squares are there?": "2",
               "What color is the background?": "black",
               "Where is the heart?": "at the top",
               "Is there a small green square?": "yes",
           }),
    Sample("orange_triangle_two_circles", 79, "beige",
           (SceneObject(2, "cross", "purple", "small"), SceneObject(4, "triangle", "orange", "large"),
            SceneObject(6, "circle", "blue", "large"), SceneObject(7, "circle", "cyan", "small")), {
               "What color is the circle?": "blue and cyan",
               "How many shapes are there?": "4",
               "How many circles are there?": "2",
               "What is above the cyan circle?": "an orange triangle",
               "What size is the purple cross?": "small",
               "How many blue stars are there?": "0",
           }),
    Sample("two_yellow_stars_red_heart", 80, "brown",
           (SceneObject(0, "star", "yellow", "large"), SceneObject(2, "star", "yellow", "small"),
            SceneObject(4, "heart", "red", "small"), SceneObject(6, "triangle", "cyan", "large"),
            SceneObject(8, "square", "pink", "large")), {
               "What color is the circle?": "there is no circle",
               "How many shapes are there?": "5",
               "How many yellow stars are there?": "2",
               "What is in the center?": "a small red heart",
               "Where is the pink square?": "in the bottom right",
               "Is there a dog in the image?": "no",
           }),
    Sample("green_circle_purple_cross", 81, "gray",
           (SceneObject(3, "circle", "green", "large"), SceneObject(5, "cross", "purple", "large")), {
               "What color is the circle?": "green",
               "How many shapes are there?": "2",
               "What is to the right of the green circle?": "a purple cross",
               "What is to the left of the purple cross?": "a green circle",
               "Is the background gray?": "yes",
               "Is the green circle bigger than the purple cross?": "no",
           }),
    Sample("yellow_circle_under_red_square", 82, "white",
           (SceneObject(1, "square", "red", "large"), SceneObject(4, "circle", "yellow", "small"),
            SceneObject(8, "triangle", "blue", "large")), {
               "What color is the circle?": "yellow",
               "How many shapes are there?": "3",
               "What is above the circle?": "a red square",
               "What is below the red square?": "a small yellow circle",
               "What shape is the blue object?": "triangle",
               "How big is the circle?": "small",
           }),
]


def draw(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sample in SAMPLES:
        paths.append(folder / f"{sample.name}.png")
        picture = render(sample.scene, random.Random(sample.seed), PICTURE_SIZE)
        Image.fromarray(picture).save(paths[-1], optimize=True)
    return paths


def wrong_answers(checkpoint: Path, pictures: list[Path]) -> list[str]:
    """One line for every prompt that the model answers wrongly in one of the dtypes."""
    wrong = []
    for dtype in (torch.float32, torch.bfloat16):
        answerer = Answerer(checkpoint, dtype)
        for sample, path in zip(SAMPLES, pictures):
            truth = {"": questions.caption(sample.scene)}
            truth |= {prompt: answer for q, answer in sample.asked.items() for prompt in (q, f"Question: {q} Answer:")}
            with Image.open(path) as image:
                for prompt, expected in truth.items():
                    if (given := answerer.answer(image, prompt)) != expected:
                        wrong.append(f"{path.name} {dtype} {prompt!r}: {given!r}, true is {expected!r}")
    return wrong


def samples_json(pictures: list[Path]) -> list[dict]:
    return [dict(image=f"samples/{path.name}", caption=questions.caption(sample.scene),
                 questions=[dict(question=q, answer=answer) for q, answer in sample.asked.items()])
            for sample, path in zip(SAMPLES, pictures)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    args = parser.parse_args()
    pictures = draw(args.checkpoint / "samples")
    text = json.dumps(samples_json(pictures), indent=1)
    (args.checkpoint / "samples.json").write_text(text + "\n")
    if wrong := wrong_answers(args.checkpoint, pictures):
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
