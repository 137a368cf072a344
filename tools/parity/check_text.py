"""The tokenizer and the choice of tokens against tokenizers and transformers."""
import json
import random
import shutil
from pathlib import Path

import numpy as np
import torch
from scipy.stats import chisquare
from transformers import (AutoTokenizer, LogitsProcessorList, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
                          TopKLogitsWarper, TopPLogitsWarper)

from . import ours
from .report import Report

_HOSTILE = [
    "", " ", "\n", "\t", "\r\n", "   three   spaces\n\nend ", "...---...", "tab\tand\r\nCRLF", "don't they've we'd 'S I'LL 'll'",
    "1234567 3.14 x² ½ Ⅷ ٣", "2023年、東京 is 日本", "café naïve 😀!", "cafe\u0301", "\u00a0nbsp\u3000x\u2028\u2029\u0085y", "a</s>b <image> c",
    "<pad></s><image><image>", "< /s> </s <image", "<s><unk><mask><|endoftext|>", "\x00\x01\x7f\x1b[31m", "\ufeffBOM", "\ufffd\uffff\U0010ffff",
    "👩‍👩‍👧‍👦🏳️‍🌈", "العربية עברית हिन्दी ไทย", "ÅÄÖåäöß ﬀ ǅ ʰ", "'", "''s", "'s't'", "’s “quoted” — dash…", "\u200b\u200d\u2060zero",
    "supercalifragilisticexpialidocious", "x" * 3000, " " * 500, "\n" * 300, "ab " * 700, "</s>" * 200, "Ġ Ċ ĉ", "\u180e\u1680\u2000\u205f",
    "Question: which city is this? Answer:", "$100 + 5% = €105 (approx.) @you #tag a_b-c/d\\e", "\u0301 combining first", "\u1abe\u20dd",
]
_ALPHABET = (" \n\t'sdmtlrveaZ09.,!?-_<>/|" "</s>" "éßñΩжשع中あ한½²٣_\u00a0\u3000\u2028\u0301\u200d😀👩🏽\x00\x7f\u0378\ue000\U000e0001")


def strings(seed: int, count: int = 1500) -> list[str]:
    rng = random.Random(seed)
    made = list(_HOSTILE)
    for _ in range(count):
        if rng.random() < 0.5:
            made.append("".join(rng.choice(_ALPHABET) for _ in range(rng.randint(1, 60))))
        else:
            made.append("".join(chr(_code_point(rng)) for _ in range(rng.randint(1, 30))))
    return made


def _code_point(rng):
    while True:
        value = rng.randrange(rng.choice((0x80, 0x800, 0x10000, 0x110000)))
        if not 0xD800 <= value < 0xE000:
            return value


def check_tokenizer(name: str, folder: Path, seed: int, report: Report) -> None:
    """`folder` holds a tokenizer, alone or in a checkpoint."""
    reference = AutoTokenizer.from_pretrained(folder)
    texts = strings(seed)
    rng = random.Random(seed)
    sequences = [[rng.randrange(len(reference)) for _ in range(rng.randint(0, 20))] for _ in range(500)]
    jobs = [dict(kind="encode", text=text) for text in texts] + [dict(kind="decode", ids=ids) for ids in sequences]
    results = ours.run(jobs, tokenizer=folder).results
    wrong_ids = [text for text, r in zip(texts, results) if r["ids"] != reference(text).input_ids]
    decode = lambda ids: reference.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    wrong_text = [ids for ids, r in zip(sequences, results[len(texts):]) if r["text"] != decode(ids)]
    for bad in (wrong_ids + wrong_text)[:5]:
        report.say(f"tokenizer of {name}: differs on {json.dumps(bad)[:150]}")
    total = len(texts) + len(sequences)
    same = total - len(wrong_ids) - len(wrong_text)
    report.add(f"tokenizer, {name}", f"{same} of {total} equal", "all", same == total,
               f"{len(texts)} hostile strings, {len(sequences)} id sequences")


def opt_tokenizer(source: Path, folder: Path) -> Path:
    """A folder with OPT's vocab.json and merges.txt from `source` and the configuration that BLIP-2 adds."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(source / file, folder)
    special = dict(bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>")
    added = {"1": ("<pad>", True), "2": ("</s>", True), "50265": ("<image>", False)}
    (folder / "added_tokens.json").write_text('{"<image>": 50265}\n')
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(
        special, tokenizer_class="GPT2Tokenizer", add_bos_token=True, add_prefix_space=False, errors="replace",
        added_tokens_decoder={id: dict(content=content, special=True, normalized=normalized, lstrip=False, rstrip=False,
                                       single_word=False) for id, (content, normalized) in added.items()})) + "\n")
    return folder


def check_sampling(tokenizer: Path, seed: int, report: Report, settings: int = 40, draws: int = 20000) -> None:
    """Draws of ours against the probabilities that transformers' processors leave, by a chi-square test."""
    rng = np.random.default_rng(seed)
    jobs, expected = [], []
    for number in range(settings):
        logits = torch.tensor(rng.normal(0, 3, 60), dtype=torch.float32)
        if number % 4 == 0:  # ties at the border of top-k; at that of top-p, transformers keeps an arbitrary one
            logits = logits.round()
        top_p = 1.0 if number % 4 == 0 else float(rng.choice([0.1, 0.5, 0.9, 1.0]))
        context = rng.integers(0, 60, 12).tolist()
        job = dict(kind="draw", logits=logits.tolist(), context=context, temperature=float(rng.choice([0.3, 0.7, 1.0, 1.8])),
                   top_k=int(rng.choice([0, 1, 5, 20, 50])), top_p=top_p,
                   repetition_penalty=float(rng.choice([1.0, 1.0, 1.5, 0.7])), seed=number, draws=draws)
        jobs.append(job)
        expected.append(probabilities(logits, job))
    outside = 0
    least = 1.0
    for result, p in zip(ours.run(jobs, tokenizer=tokenizer).results, expected):
        counts = np.array(result["counts"])
        outside += int(counts[p == 0].sum())
        least = min(least, _p_value(counts, p))
    report.add("sampling, draws of excluded tokens", str(outside), "0", outside == 0, f"{settings} settings, {draws} draws each")
    report.add("sampling, least p of a chi-square test", f"{least:.1e}", "> 1e-6", least > 1e-6)


def probabilities(logits, job) -> np.ndarray:
    """What transformers' processors leave of logits [V]; `job` as blip2_taps takes it."""
    processors = LogitsProcessorList()
    if job["repetition_penalty"] != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(job["repetition_penalty"]))
    processors.append(TemperatureLogitsWarper(job["temperature"]))
    if job["top_k"]:
        processors.append(TopKLogitsWarper(job["top_k"]))
    if job["top_p"] < 1:
        processors.append(TopPLogitsWarper(job["top_p"]))
    scores = processors(torch.tensor([job["context"]]), logits[None].clone())
    return scores[0].double().softmax(0).numpy()


def _p_value(counts, p) -> float:
    """Rare outcomes are counted together, so that the test's approximation holds."""
    wanted = p * counts.sum()
    common = wanted >= 5
    observed = np.append(counts[common], counts[~common & (p > 0)].sum())
    wanted = np.append(wanted[common], wanted[~common].sum())
    if wanted[-1] < 5:
        observed[-2] += observed[-1]
        wanted[-2] += wanted[-1]
        observed, wanted = observed[:-1], wanted[:-1]
    if len(wanted) < 2:
        return 1.0
    return float(chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue)
