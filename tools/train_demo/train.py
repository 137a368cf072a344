"""Trains the demo model on CPU, stage after stage (recipe.py):

    python train.py --out run

Each stage leaves OUT/<stage>.pt. `--start-at STAGE` goes on after the stage before it (or from `--start-from FILE`).
"""
import argparse
import contextlib
import json
import math
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from tokenizers import Tokenizer

import data
import model as demo
import questions
from recipe import FIRST_TEXT_LAYERS, RECIPE, Joint, Language, Perception, Stage
from shared_prefix import answer_logits

WARM_UP_STEPS = 200
REPORT_EVERY = 200
SMALLEST_POOL = 300
PERCEPTION_SHARE = 0.1  # of the perception loss in a joint stage


class Run:
    """The state that stages share: weights, tokenizer, pools of scenes, random generator, output folder."""

    def __init__(self, out: Path, seed: int, pool: int, tokenizer: Tokenizer):
        self.out, self.rng, self.tokenizer = out, random.Random(seed), tokenizer
        self._seed, self._pool_size, self._pools = seed, pool, {}
        self.texts = data.TextBatcher(tokenizer)
        self.model = demo.build_model(tokenizer, FIRST_TEXT_LAYERS)
        self.heads = demo.PerceptionHeads()
        monitor = data.ScenePool(256, 987, demo.IMAGE_SIZE)
        self.monitor_scenes = monitor.scenes
        self.monitor_images = demo.normalize(torch.from_numpy(monitor.pixels))

    def pool(self, name: str) -> data.ScenePool:
        """The pool "native", "dense" or "fine" (224 px), rendered when first used."""
        if name not in self._pools:
            sizes = dict(native=(self._pool_size, self._seed, demo.IMAGE_SIZE),
                         dense=(self._pool_size * 9 // 10, self._seed + 700, demo.IMAGE_SIZE, True),
                         fine=(self._pool_size // 5, self._seed + 500, 224))
            self._pools[name] = data.ScenePool(*sizes[name])
        return self._pools[name]

    def forget(self, name: str) -> None:
        self._pools.pop(name, None)

    def load(self, path: Path) -> None:
        state = torch.load(path)
        self._load_weights(state["model"])
        self.heads.load_state_dict(state["heads"])

    def deepen(self, sources: tuple[int, ...]) -> None:
        self._load_weights(demo.deepened(self.model.state_dict(), list(sources)))

    def save(self, name: str, weights: dict | None = None) -> None:
        torch.save(dict(model=weights or self.model.state_dict(), heads=self.heads.state_dict()),
                   self.out / f"{name}.pt")

    def _load_weights(self, state):
        layers = demo.text_layers(state)
        if layers != demo.text_layers(self.model.state_dict()):
            self.model = demo.build_model(self.tokenizer, layers)
        self.model.load_state_dict(state)

    @torch.no_grad()
    def accuracy(self, seed: int = 5) -> dict[str, float]:
        """Share of wholly right answers per kind on the monitoring scenes.

        Teacher-forced: all tokens right given the right ones before is the same as a right greedy answer.
        """
        rng, right, total = random.Random(seed), {}, {}
        for begin in range(0, len(self.monitor_scenes), 64):
            rows = []
            for image, scene in enumerate(self.monitor_scenes[begin:begin + 64]):
                rows += [self.texts.row(*questions.ask(rng, scene, kind), image, kind) for kind in questions.KINDS]
                rows.append(self.texts.row("", questions.caption(scene), image, "caption"))
                rows.append(self.texts.row("Question: Describe the image. Answer:", questions.description(scene),
                                           image, "describe"))
            batch = data.pack(rows)
            _, queries = demo.see(self.model, self.monitor_images[begin:begin + 64])
            logits = answer_logits(self.model, self.model.language_projection(queries), batch.groups)
            wrong = torch.zeros(len(batch.kinds))
            wrong.index_add_(0, batch.row_of_target, (logits.argmax(-1) != batch.targets).float())
            for kind, errors in zip(batch.kinds, wrong.tolist()):
                total[kind] = total.get(kind, 0) + 1
                right[kind] = right.get(kind, 0) + (errors == 0)
        return {kind: round(right[kind] / total[kind], 4) for kind in total}


class MovingAverage:
    """Exponential moving average of a model's weights."""

    _DECAY = 0.995

    def __init__(self, model: nn.Module):
        self._model, self._updates = model, 0
        self._average = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        self._updates += 1
        decay = min(self._DECAY, self._updates / (self._updates + 20))
        for key, value in self._model.state_dict().items():
            self._average[key].lerp_(value, 1 - decay)

    @contextlib.contextmanager
    def applied(self):
        """Inside, the model has the averaged weights."""
        live = {k: v.clone() for k, v in self._model.state_dict().items()}
        self._model.load_state_dict(self._average)
        yield
        self._model.load_state_dict(live)


class Loop:
    """One stage's optimizer, cosine schedule, log and saves.

    With `minutes`, the schedule follows the clock in place of the step count. With an `average`, its weights are
    what is measured and saved.
    """

    def __init__(self, run: Run, stage: Stage, parameters, minutes: float | None, average: MovingAverage | None = None):
        self._run, self._stage, self._minutes, self._average = run, stage, minutes, average
        self._parameters = list(parameters)
        groups = [dict(params=[p for p in self._parameters if p.dim() > 1], weight_decay=0.03),
                  dict(params=[p for p in self._parameters if p.dim() <= 1], weight_decay=0.0)]
        self._optimizer = torch.optim.AdamW(groups, lr=stage.learning_rate, betas=(0.9, 0.98), foreach=True)
        self._step, self._began, self._smooth_loss = 0, time.time(), None

    def steps(self):
        """Yields until the stage is done; reports on held-out scenes and saves on the way."""
        while (progress := self._progress()) < 1:
            warm = min(1.0, (self._step + 1) / WARM_UP_STEPS)
            rate = self._stage.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            yield self._step
            done = self._progress() >= 1
            if done or self._step % REPORT_EVERY == 0:
                with self._average.applied() if self._average else contextlib.nullcontext():
                    self._report()
                    self._run.save(self._stage.name if done else f"{self._stage.name}_unfinished")

    def apply(self, loss: torch.Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0, foreach=True)
        self._optimizer.step()
        self._step += 1
        if self._average:
            self._average.update()
        value = loss.item()
        self._smooth_loss = value if self._smooth_loss is None else 0.98 * self._smooth_loss + 0.02 * value

    def _progress(self):
        if self._minutes:
            return (time.time() - self._began) / (60 * self._minutes)
        return self._step / self._stage.steps

    def _report(self):
        run = self._run
        if isinstance(self._stage, Perception):
            with torch.no_grad():
                _, queries = demo.see(run.model, run.monitor_images)
            measured = run.heads.accuracy(queries, demo.perception_labels(run.monitor_scenes))
        else:
            measured = run.accuracy()
        seconds = round(time.time() - self._began, 1)
        line = dict(stage=self._stage.name, step=self._step, seconds=seconds, loss=round(self._smooth_loss, 5), **measured)
        with open(run.out / "log.jsonl", "a") as log:
            log.write(json.dumps(line) + "\n")
        shown = " ".join(f"{kind}:{100 * share:.1f}" for kind, share in measured.items())
        print(f"{self._stage.name} step {self._step} {seconds:.0f}s loss {self._smooth_loss:.4f} {shown}", flush=True)


def train_perception(run: Run, stage: Perception, minutes: float | None) -> None:
    model = run.model
    parameters = [model.query_tokens, *model.vision_model.parameters(), *model.qformer.parameters(),
                  *run.heads.parameters()]
    loop = Loop(run, stage, parameters, minutes)
    for _ in loop.steps():
        dense = run.rng.random() < stage.dense_share
        images, batch_scenes = run.pool("dense").take(run.rng, stage.batch) if dense else _fresh_batch(run, stage)
        patches, queries = demo.see(model, images)
        loop.apply(run.heads.loss(patches, queries, demo.perception_labels(batch_scenes)))


def train_language(run: Run, stage: Language, minutes: float | None) -> None:
    if stage.layer_sources:
        run.deepen(stage.layer_sources)
    model, pool = run.model, run.pool("native")
    queries = _cached_queries(model, pool)
    loop = Loop(run, stage, [*model.language_model.parameters(), *model.language_projection.parameters()], minutes)
    for _ in loop.steps():
        chosen = run.rng.sample(range(len(pool.scenes)), stage.batch)
        batch = run.texts.batch(run.rng, [pool.scenes[i] for i in chosen], stage.mix)
        logits = answer_logits(model, model.language_projection(queries[chosen]), batch.groups)
        loop.apply(F.cross_entropy(logits, batch.targets))


@torch.no_grad()
def _cached_queries(model, pool):
    """Q-Former outputs of a whole pool, [scenes, Q, D]."""
    parts = [demo.see(model, demo.normalize(torch.from_numpy(pool.pixels[i:i + 250])))[1]
             for i in range(0, len(pool.pixels), 250)]
    return torch.cat(parts)


def train_joint(run: Run, stage: Joint, minutes: float | None) -> None:
    model = run.model
    loop = Loop(run, stage, [*model.parameters(), *run.heads.parameters()], minutes, MovingAverage(model))
    for _ in loop.steps():
        images, batch_scenes = _fresh_batch(run, stage)
        batch = run.texts.batch(run.rng, batch_scenes, stage.mix)
        patches, queries = demo.see(model, images)
        logits = answer_logits(model, model.language_projection(queries), batch.groups)
        perception = run.heads.loss(patches, queries, demo.perception_labels(batch_scenes))
        loop.apply(F.cross_entropy(logits, batch.targets) + PERCEPTION_SHARE * perception)


def _fresh_batch(run, stage):
    """A batch at the native resolution or, by its share, another one: then smaller, as it has more patches."""
    u = run.rng.random()
    for size, share in stage.other_sizes:
        if u < share:
            if size < demo.IMAGE_SIZE:
                return run.pool("native").take(run.rng, stage.batch, size)
            count = max(8, round(stage.batch * (demo.IMAGE_SIZE / size) ** 1.5))
            return run.pool("fine").take(run.rng, count, size)
        u -= share
    return run.pool("native").take(run.rng, stage.batch)


TRAIN = {Perception: train_perception, Language: train_language, Joint: train_joint}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("run"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pool", type=int, default=40000, help="scenes to draw; 38 KB of memory each")
    parser.add_argument("--start-at", choices=[s.name for s in RECIPE], default=RECIPE[0].name)
    parser.add_argument("--start-from", type=Path, help="weights to go on from; default: those of the stage before")
    parser.add_argument("--minutes", type=float, help="run only the stage of --start-at, for so long")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies steps and pool; 0.001 tries the whole path")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    first = [s.name for s in RECIPE].index(args.start_at)
    tokenizer_file = str(args.out / "tokenizer.json")  # weights belong to their tokenizer: a later start keeps it
    tokenizer = Tokenizer.from_file(tokenizer_file) if first else demo.train_tokenizer(tokenizer_file)
    run = Run(args.out, args.seed, max(SMALLEST_POOL, round(args.pool * args.scale)), tokenizer)
    if first:
        run.load(args.start_from or args.out / f"{RECIPE[first - 1].name}.pt")
    else:
        demo.init_vision(run.model, demo.normalize(torch.from_numpy(run.pool("native").pixels[:1500])))
    for stage in RECIPE[first:first + 1] if args.minutes else RECIPE[first:]:
        stage = replace(stage, steps=max(1, round(stage.steps * args.scale)))
        if not isinstance(stage, Perception):
            run.forget("dense")
        began = time.time()
        TRAIN[type(stage)](run, stage, args.minutes)
        print(f"{stage.name} took {time.time() - began:.0f}s", flush=True)


if __name__ == "__main__":
    main()
