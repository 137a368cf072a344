"""Training data: pools of rendered scenes and batches of texts about them."""
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer

import model
import questions
import scenes
from shared_prefix import TextGroup

# How often each kind of question is asked: first evenly enough to learn all, those that need a search most often ...
GENERAL_MIX = dict(
    color_of=2.0, color_at=0.5, shape_at=0.5, what_at=0.5, shape_of=1.1, size_of=1.0, where=2.0, count_all=0.2,
    count_some=2.0, exists=1.4, exists_at=0.4, is_color=1.2, relation=2.2, compare=1.6, background=0.4)
# ... then above all relations, which take two searches.
RELATION_MIX = dict(
    color_of=2.0, color_at=0.5, shape_at=0.5, what_at=0.8, shape_of=1.5, size_of=0.8, where=1.6, count_all=0.3,
    count_some=1.6, exists=1.0, exists_at=0.4, is_color=1.0, relation=10.0, compare=2.0, background=1.2)


@dataclass(frozen=True)
class TextMix:
    """What is asked about each image of a batch."""

    weights: dict = field(default_factory=lambda: GENERAL_MIX)
    questions: int = 12
    caption_share: float = 0.4  # of the images also get a caption or description


class ScenePool:
    """Rendered scenes, taken in random order without end, half of the batches mirrored.

    Scene i is drawn from the seed (seed, i), by `processes` processes. Part of a pool at the native size goes
    through a resize, as a served image does.
    """

    def __init__(self, count: int, seed: int, size: int, dense: bool = False, processes: int = 2):
        self.pixels = _render_pool(count, seed, size, dense, processes)
        self.scenes = [scenes.make_scene(_scene_rng(seed, i), dense) for i in range(count)]
        self._mirrored = [scenes.mirrored(s) for s in self.scenes]
        self._size, self._order = size, []

    def take(self, rng: random.Random, count: int, size: int | None = None):
        """`count` scenes: normalised images [count, 3, size, size] and their Scene objects."""
        chosen = []
        while len(chosen) < count:
            if not self._order:
                self._order = list(range(len(self.scenes)))
                rng.shuffle(self._order)
            chosen.append(self._order.pop())
        mirror = rng.random() < 0.5
        pixels = self.pixels[np.array(chosen)]
        pixels = torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1]) if mirror else pixels)
        if size and size != self._size:
            channels_first = pixels.permute(0, 3, 1, 2).float()
            resized = F.interpolate(channels_first, size=(size, size), mode="bicubic", antialias=True)
            pixels = resized.clamp_(0, 255).permute(0, 2, 3, 1)
        source = self._mirrored if mirror else self.scenes
        return model.normalize(pixels), [source[i] for i in chosen]


def _scene_rng(seed, index):
    return random.Random(seed * 1_000_003 + index)


_shared_pixels = None  # set before the workers fork, so that they write into the parent's memory


def _render_range(job):
    begin, end, seed, size, dense = job
    pixels = np.frombuffer(_shared_pixels, np.uint8).reshape(-1, size, size, 3)
    for i in range(begin, end):
        rng = _scene_rng(seed, i)
        scene = scenes.make_scene(rng, dense)
        u = rng.random()
        if size == model.IMAGE_SIZE and u < 0.35:
            image = Image.fromarray(scenes.render(scene, rng, 224 if u < 0.2 else 168))
            pixels[i] = np.asarray(image.resize((size, size), Image.BICUBIC))
        else:
            pixels[i] = scenes.render(scene, rng, size)


def _render_pool(count, seed, size, dense, processes):
    global _shared_pixels
    _shared_pixels = multiprocessing.RawArray("B", count * size * size * 3)
    jobs = [(i, min(count, i + 500), seed, size, dense) for i in range(0, count, 500)]
    with multiprocessing.get_context("fork").Pool(processes) as workers:
        workers.map(_render_range, jobs, chunksize=1)
    return np.frombuffer(_shared_pixels, np.uint8).reshape(count, size, size, 3)


@dataclass
class TextRow:
    """One tokenised text about an image: prompt and answer, ended by </s>; the answer starts at `answer_at`."""

    ids: list[int]
    answer_at: int
    image: int
    kind: str


@dataclass
class TextBatch:
    """Groups for `answer_logits`, the token ids wanted there, and for each the number of its row."""

    groups: list[TextGroup]
    targets: torch.Tensor
    row_of_target: torch.Tensor
    kinds: list[str]


class TextBatcher:
    """Makes tokenised batches of questions and captions."""

    _CACHED_TEXTS = 400_000

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer, self._cache = tokenizer, {}

    def row(self, prompt: str, answer: str, image: int, kind: str) -> TextRow:
        head = [model.EOS] + self._ids(prompt) if prompt else [model.EOS]
        return TextRow(head + self._ids(" " + answer if prompt else answer) + [model.EOS], len(head), image, kind)

    def batch(self, rng: random.Random, batch_scenes: Sequence[scenes.Scene], mix: TextMix) -> TextBatch:
        kinds, weights = list(mix.weights), list(mix.weights.values())
        rows = []
        for image, scene in enumerate(batch_scenes):
            for kind in rng.choices(kinds, weights, k=mix.questions):
                rows.append(self.row(*questions.ask(rng, scene, kind), image, kind))
            if rng.random() < mix.caption_share:
                kind, prompt, answer = questions.ask_caption(rng, scene)
                rows.append(self.row(prompt, answer, image, kind))
        return pack(rows)

    def _ids(self, text):
        ids = self._cache.get(text)
        if ids is None:
            ids = self._tokenizer.encode(text, add_special_tokens=False).ids
            if len(self._cache) < self._CACHED_TEXTS:
                self._cache[text] = ids
        return ids


def pack(rows: list[TextRow]) -> TextBatch:
    """Sorts rows by length and pads them in five groups: three of questions, two of captions."""
    rows = sorted(rows, key=lambda r: len(r.ids))
    short = sum(r.kind in questions.KINDS for r in rows)
    cuts = [0, short // 3, 2 * short // 3, short, (short + len(rows)) // 2, len(rows)]
    groups, targets, row_of_target = [], [], []
    for begin, end in zip(cuts, cuts[1:]):
        if begin < end:
            groups.append(_pad(rows[begin:end]))
    for number, row in enumerate(rows):
        targets += row.ids[row.answer_at:]
        row_of_target += [number] * (len(row.ids) - row.answer_at)
    return TextBatch(groups, torch.tensor(targets), torch.tensor(row_of_target), [r.kind for r in rows])


def _pad(rows):
    """The last token of a row is only ever a target, so the group is one token shorter than its longest row."""
    ids = torch.full((len(rows), max(len(r.ids) for r in rows) - 1), model.PAD)
    wanted_rows, wanted_columns = [], []
    for number, row in enumerate(rows):
        ids[number, :len(row.ids) - 1] = torch.tensor(row.ids[:-1])
        wanted_rows += [number] * (len(row.ids) - row.answer_at)
        wanted_columns += range(row.answer_at - 1, len(row.ids) - 1)
    return TextGroup(ids, torch.tensor([r.image for r in rows]), torch.tensor(wanted_rows),
                     torch.tensor(wanted_columns))
