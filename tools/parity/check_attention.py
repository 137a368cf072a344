"""Attention maps and relevance from the services against transformers' output_attentions, in float32."""
import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .check_model import Model
from .reference import Case, Reference
from .report import Report
from .services import Services

TOLERANCE = 1e-4  # of shares, which are at most 1
SUM_TOLERANCE = 1e-5
SHAPES = ("current", "small_patches", "wide_heads", "cross_every_third", "opt_350m", "untied")
QUESTIONS = ("what color is the circle?", "how many cats are there?")


@dataclass
class Worst:
    errors: dict = field(default_factory=dict)
    images: int = 0
    answers: int = 0
    same_answers: int = 0
    wrong_images: int = 0

    def see(self, what: str, error: float) -> None:
        self.errors[what] = max(self.errors.get(what, 0.0), error)

    def compare(self, what: str, actual: torch.Tensor, expected: torch.Tensor) -> None:
        self.see(what, float((actual - expected).abs().max()) if actual.shape == expected.shape else float("inf"))


def check(models: list[Model], demo: Path | None, images: list[Path], report: Report) -> None:
    worst = Worst()
    for model in models:
        if model.shape.name in SHAPES:
            patch = model.shape.vision["patch_size"]
            _check_model(model.folder, images[:4], [0, 6 * patch], worst)
    if demo:
        samples = sorted((demo / "samples").glob("*.png"))[:4]
        _check_model(demo, samples, [0, 224], worst, ("What color is the circle?", "How many shapes are there?"))
    for what, error in worst.errors.items():
        wanted = SUM_TOLERANCE if what.endswith("to one") else TOLERANCE
        report.add(f"f32 {what}, largest error", f"{error:.1e}", f"≤ {wanted:.0e}", error <= wanted,
                   f"{worst.images} images, {worst.answers} answers, through the services")
    report.add("prepared images bit for bit", f"{worst.images - worst.wrong_images} of {worst.images} equal", "all",
               worst.images > 0 and worst.wrong_images == 0)
    report.add("answers that relevance was compared for", f"{worst.same_answers} of {worst.answers} have the same tokens",
               "all", worst.answers > 0 and worst.same_answers == worst.answers)


def _check_model(folder: Path, images: list[Path], sizes: list[int], worst: Worst, questions=QUESTIONS) -> None:
    reference = Reference(folder, attention=True)
    with Services(folder) as services:
        for number, picture in enumerate(images):
            size = sizes[number % len(sizes)]
            question = (None, *questions)[number % (1 + len(questions))]
            text = question and f"Question: {question} Answer:"
            case = Case(picture, text, image_size=size, max_new_tokens=8)
            ids, _ = reference.generate(case)
            expected = reference.attention(case, ids)
            _check_maps(services.analyze(picture, size), reference, case, expected, worst)
            _check_relevance(services.ask(picture, question, size, case.max_new_tokens), reference, ids, expected, worst)


def _check_maps(reply: dict, reference: Reference, case: Case, expected: dict, worst: Worst) -> None:
    worst.images += 1
    worst.compare("class token's attention", _row(reply["cls_attention"]), expected["cls"])
    queries = torch.stack([_row(map) for map in reply["query_attention"]])
    worst.compare("queries' attention", queries, expected["queries"])
    worst.compare("queries' mean attention", _row(reply["mean_query_attention"]), expected["queries"].mean(0))
    worst.see("sums of maps to one", float((torch.cat([queries.sum(1), _row(reply["cls_attention"]).sum()[None]]) - 1).abs().max()))
    vision = reference.taps(case)["vision"][0]
    worst.see("tokens' mean norm (relative)", abs(reply["mean_norm"] / float(vision.norm(dim=1).mean()) - 1))
    config = reference.processor
    pixels = reference.pixels(case.image, case.image_size)[0]
    mean, std = (torch.tensor(value)[:, None, None] for value in (config.image_mean, config.image_std))
    seen = ((pixels * std + mean) / config.rescale_factor).round().permute(1, 2, 0).to(torch.uint8).numpy()
    prepared = np.asarray(Image.open(io.BytesIO(base64.b64decode(reply["prepared_image"]))))
    worst.wrong_images += not np.array_equal(prepared, seen)


def _check_relevance(reply: dict, reference: Reference, ids: list[int], expected: dict, worst: Worst) -> None:
    worst.answers += 1
    tokens = reply["diptych"]["relevance"]
    if reply["choices"][0]["message"]["content"] != reference.decode(ids).strip() or len(tokens) != len(ids):
        return
    worst.same_answers += 1
    worst.compare("relevance", torch.tensor([token["images"][0]["values"] for token in tokens]), expected["relevance"])
    worst.compare("images' share of the decoder's attention", torch.tensor([token["image_share"] for token in tokens]),
                  expected["decoder"].sum(1))


def _row(map: dict) -> torch.Tensor:
    """The class token's share, then the patches'."""
    return torch.tensor([map["class_token"], *map["patches"]["values"]])
