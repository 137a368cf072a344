"""Beam search and sampled answers of the tiny models against transformers."""
import random
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import kstest

from . import ours
from .check_model import Model
from .check_text import probabilities
from .reference import Case, Reference
from .report import Report

_OF_EACH = 8  # cases of each model, of each kind


def check_beam_search(models: list[Model], seed: int, report: Report) -> None:
    same = total = ties = 0
    for model in models:
        rng = random.Random(f"beams {seed} {model.shape.name}")
        cases = [_with_beams(case, rng) for case in rng.choices(model.cases, k=_OF_EACH)]
        exact = None
        for case, result in zip(cases, ours.run([ours.ask(case) for case in cases], model=model.folder).results):
            total += 1
            ids = model.reference.generate(case)[0]
            same += result["token_ids"] == ids
            if result["token_ids"] != ids:
                exact = exact or Reference(model.folder, torch.float64)
                ties += exact.generate(case)[0] != ids  # transformers itself answers otherwise with other rounding
                report.say(f"{model.shape.name}: beams end in {result['token_ids']}, not {ids}, for {case}")
    report.add("f32 beam search, 2 to 8 beams", f"{same} of {total} answers identical", "all", same + ties == total,
               f"{ties} numeric ties" if ties else "")


def _with_beams(case: Case, rng: random.Random) -> Case:
    most = rng.randint(1, 16)
    return replace(case, num_beams=rng.randint(2, 8), length_penalty=rng.choice((-1.5, 0.0, 0.6, 1.0, 1.0, 2.5)), max_new_tokens=most,
                   min_new_tokens=rng.choice((0, 0, rng.randint(0, most))), repetition_penalty=rng.choice((1.0, 1.0, 0.8, 1.4)))


def check_sampled_answers(models: list[Model], seed: int, report: Report) -> None:
    """Each token of our sampled answers against the probabilities that transformers' processors give at that step.

    A token's place in its own distribution (probability of lower ids, and a random share of its own) is uniform
    if it was drawn from that distribution.
    """
    noise = np.random.default_rng(seed)
    outside, places = 0, []
    for model in models:
        rng = random.Random(f"sampled {seed} {model.shape.name}")
        cases = [_sampled(case, rng) for case in rng.choices(model.cases, k=2 * _OF_EACH)]
        ends = model.reference.model.config.text_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else ends
        for case, result in zip(cases, ours.run([ours.ask(case) for case in cases], model=model.folder).results):
            ids = result["token_ids"]
            prompt, logits = model.reference.logits_before(case, ids)
            for step, id in enumerate(ids):
                if step < case.min_new_tokens:
                    logits[step, ends] = -torch.inf
                p = probabilities(logits[step], dict(vars(case), context=prompt + ids[:step]))
                outside += p[id] == 0
                places.append(p[:id].sum() + noise.random() * p[id])
    report.add("sampled answers, excluded tokens", f"{outside} of {len(places)}", "0", outside == 0)
    p_value = kstest(places, "uniform").pvalue
    report.add("sampled answers, p of a Kolmogorov-Smirnov test", f"{p_value:.1e}", "> 1e-6", p_value > 1e-6)


def _sampled(case: Case, rng: random.Random) -> Case:
    return replace(case, max_new_tokens=16, min_new_tokens=rng.choice((0, 6)), temperature=rng.choice((0.5, 1.0, 1.7)),
                   top_k=rng.choice((0, 5, 50)), top_p=rng.choice((0.6, 0.95, 1.0)), repetition_penalty=rng.choice((1.0, 0.8, 1.4)),
                   seed=rng.randrange(2**31))
